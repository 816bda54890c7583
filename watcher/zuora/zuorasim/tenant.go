package zuorasim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Tenant is one simulated Zuora tenant. It has no goroutine and needs no
// closing: its state is brought up to the clock at each request.
type Tenant struct {
	options  Options
	controls http.Handler // nil unless Options.Control

	mu       sync.Mutex // never held across a wait or a write
	book     *book      // jobs and their queues
	accounts *accounts  // users and tokens
	api      *meter     // the tenant's windows
	rules    *rules     // faults
	journal  *journal   // what was asked of us
}

// Streams of randomness: each kind of draw has its own, so that a request more
// does not change the next job's run time.
const (
	streamJob uint64 = iota + 1
	streamRequest
	streamToken
	streamUser
	streamFault
	streamArrival
)

// New makes a tenant. It panics when the options do not validate; programs that
// take them from a user call Validate first.
func New(o Options) *Tenant {
	if err := o.Validate(); err != nil {
		panic(fmt.Errorf("zuorasim: %w", err))
	}
	o = filled(o)
	now := o.Now()
	t := &Tenant{
		options:  o,
		accounts: newAccounts(&o, now),
		api:      newMeter(now, o.Plan.Windows),
		rules:    &rules{seed: o.Seed},
		journal:  newJournal(o.Seed, o.Log),
	}
	t.api.rate = o.Others
	t.book = newBook(&t.options, now, t.accounts.first())
	if o.Control {
		t.controls = t.newControls()
	}
	return t
}

// Endpoint names an operation in logs and counters.
type Endpoint string

// The operations; Other is any path or method that Zuora does not know.
const (
	EndpointToken  Endpoint = "token"
	EndpointSubmit Endpoint = "submit"
	EndpointGet    Endpoint = "get"
	EndpointList   Endpoint = "list"
	EndpointCancel Endpoint = "cancel"
	EndpointOther  Endpoint = "other"
)

const jobsPath = "/query/jobs"

// endpoint tells the operation and, where the path names one, the job as it is
// spelled there.
func endpoint(r *http.Request) (e Endpoint, name string) {
	switch rest, ok := strings.CutPrefix(r.URL.Path, jobsPath+"/"); {
	case r.URL.Path == "/oauth/token":
		return EndpointToken, ""
	case r.URL.Path == jobsPath && r.Method == http.MethodPost:
		return EndpointSubmit, ""
	case r.URL.Path == jobsPath && r.Method == http.MethodGet:
		return EndpointList, ""
	case ok && rest != "" && !strings.Contains(rest, "/"):
		switch r.Method {
		case http.MethodGet:
			return EndpointGet, rest
		case http.MethodDelete:
			return EndpointCancel, rest
		}
		return EndpointOther, rest
	}
	return EndpointOther, ""
}

// exchange is one request on its way through the tenant.
type exchange struct {
	*Tenant
	w    http.ResponseWriter
	r    *http.Request
	at   time.Time
	id   string // Zuora-Request-Id
	log  *Request
	job  job.ID
	user *account
	mis  misbehaviour
	// over says which limit the request exceeds; "" when none.
	over Limit
}

// ServeHTTP implements [http.Handler].
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if t.controls != nil && strings.HasPrefix(r.URL.Path, controlPrefix) {
		t.controls.ServeHTTP(w, r)
		return
	}
	x := t.begin(w, r)
	defer x.end()
	if !x.delay() {
		return // the caller has gone
	}
	x.send(x.answer())
}

// begin counts the request against every limit and decides which faults hit it.
func (t *Tenant) begin(w http.ResponseWriter, r *http.Request) *exchange {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := &exchange{Tenant: t, w: w, r: r, at: t.options.Now()}
	t.book.advance(x.at)
	kind, name := endpoint(r)
	x.job, _ = job.ParseID(name)
	x.user = t.accounts.bearer(x.at, r)
	x.id, x.log = t.journal.begin(x, kind)
	if kind == EndpointToken {
		// Token calls are exempt from the tenant's limits and have their own.
		if !t.accounts.admit(x.at, host(r.RemoteAddr)) {
			x.over = LimitToken
		}
	} else {
		if !t.api.take(x.at) {
			x.over = LimitWindow
		} else if t.options.Concurrency > 0 && t.journal.inFlight > t.options.Concurrency {
			x.over = LimitConcurrency
		}
		if rec := t.book.byID[x.job]; rec != nil && kind == EndpointGet {
			rec.polls++
			if rec.seenEnd != 0 {
				rec.late++
				t.journal.stats.PollsAfterEnd++
			}
		}
	}
	if x.over != "" {
		t.journal.stats.Limited[x.over]++
		return x
	}
	x.mis = t.rules.choose(x, kind)
	return x
}

func (x *exchange) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.journal.end(x.log, x.options.Now())
}

// answer decides what Zuora would say, unless a fault says something else.
func (x *exchange) answer() *answer {
	if x.over != "" {
		return x.refuse()
	}
	if a := x.misbehave(); a != nil {
		return a
	}
	if !validTrackID(x.r.Header.Get("Zuora-Track-Id")) {
		return failure(http.StatusBadRequest, http.StatusBadRequest, "Invalid Zuora-Track-Id header")
	}
	if x.log.Endpoint == EndpointToken {
		return x.token()
	}
	if x.user == nil {
		return signInAgain("Authentication error")
	}
	if a := x.entity(); a != nil {
		return a
	}
	switch x.log.Endpoint {
	case EndpointSubmit:
		return x.submit()
	case EndpointGet:
		return x.get()
	case EndpointList:
		return x.list()
	case EndpointCancel:
		return x.cancel()
	case EndpointToken, EndpointOther:
	}
	if _, name := endpoint(x.r); name != "" || x.r.URL.Path == jobsPath {
		return failure(http.StatusMethodNotAllowed, http.StatusMethodNotAllowed, "HTTP 405 Method Not Allowed")
	}
	return failure(http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found")
}

// entity refuses entities that the tenant does not have. Zuora only says that
// the operation fails; the status is ours.
func (x *exchange) entity() *answer {
	id := x.r.Header.Get("Zuora-Entity-Ids")
	if id == "" || len(x.options.Entities) == 0 {
		return nil
	}
	for _, known := range x.options.Entities {
		if strings.EqualFold(id, known) {
			return nil
		}
	}
	return failure(http.StatusForbidden, http.StatusForbidden, "Entity is not accessible")
}

// validTrackID holds callers to the published rule: at most 64 ASCII characters
// without colon, semicolon and quotes. What Zuora does with others is not known.
func validTrackID(s string) bool {
	const longest = 64
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || strings.IndexByte(`:;"'`, s[i]) >= 0 {
			return false
		}
	}
	return len(s) <= longest
}

// dice is an independent stream of randomness for the n-th thing of its kind.
func dice(seed, stream, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed^n*0x9e3779b97f4a7c15, stream)) // a Weyl step keeps neighbours apart
}

// uuid draws a version 4 UUID.
func uuid(d *rand.Rand) job.ID {
	var id job.ID
	for i := range id {
		id[i] = byte(d.UintN(256))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
