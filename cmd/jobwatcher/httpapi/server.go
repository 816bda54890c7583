package httpapi

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"go.uber.org/zap"
)

// Jobs reads jobs. *store.Store is one.
type Jobs interface {
	// Job reads one job with its history and the counts of its deliveries;
	// job.ErrNotFound when there is none.
	Job(ctx context.Context, tenant string, id job.ID) (job.Job, error)
	// ListJobs reads one page, the newest tracked first, with the head of each
	// query, and the cursor of the next page ("" when there is none).
	ListJobs(ctx context.Context, f job.Filter) (jobs []job.Job, next string, err error)
	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
}

// Ledger is the list of deliveries. *store.Store is one.
type Ledger interface {
	// Deliveries reads one page, newest first, with every attempt.
	Deliveries(ctx context.Context, f job.DeliveryFilter) (deliveries []job.Delivery, next string, err error)
	// Delivery reads one with every attempt; job.ErrNotFound when there is none.
	Delivery(ctx context.Context, id string) (job.Delivery, error)
	// Replay makes these due again under the same ids, except what is being
	// sent, and says how many.
	Replay(ctx context.Context, ids []string) (int, error)
	// ReplayWhere is Replay for all that the filter picks.
	ReplayWhere(ctx context.Context, f job.DeliveryFilter) (int, error)
}

// Watcher watches jobs. *watcher.Watcher is one.
type Watcher interface {
	// Track takes jobs in, all or none, and says for each whether it was new; it
	// returns after they are durable.
	Track(ctx context.Context, specs []job.Spec, source job.Source) ([]bool, error)
	// Untrack lets a job go; job.ErrNotFound, or job.ErrConflict when it has ended.
	Untrack(ctx context.Context, id job.ID) error
	// PollNow makes a job due at once, wherever it is watched; job.ErrNotFound
	// when that is nowhere.
	PollNow(ctx context.Context, id job.ID) error
	// Live is what this replica knows of a job that it watches.
	Live(id job.ID) (job.Watch, bool)
	// Explain says why the next look is when it is, destinations apart.
	Explain(id job.ID) (job.Explanation, bool)
	// Ended gives a channel that is closed when the job ends here.
	Ended(id job.ID) (ended <-chan struct{}, cancel func())
	// Notices are those after the n-th, the number of the newest, whether some
	// after the n-th are forgotten, and a channel closed when there are more.
	Notices(after uint64, limit int) (notices []job.Notice, newest uint64, gap bool, more <-chan struct{})
	// Budget shows the tenant's rate limits and what of them is ours.
	Budget() job.BudgetView
}

// Pulse tells whether the watcher lives. *watcher.Watcher is one.
type Pulse interface {
	// Beat is when the loop last turned.
	Beat() time.Time
	// Health is what the last looks told about the upstream as a whole.
	Health() job.UpstreamHealth
}

// Dispatcher tells destinations. *notify.Dispatcher is one. The methods that
// take a name answer job.ErrNotFound for one that is not configured.
type Dispatcher interface {
	Views(ctx context.Context) ([]job.DestinationView, error)
	Pause(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	// Test sends a test event at once; an error means that it could not be tried.
	Test(ctx context.Context, name string) (job.Attempt, error)
	// Wake says that deliveries are due; without names, anywhere.
	Wake(destinations ...string)
	ExplainRoute(j job.Job) []job.RouteReason
}

// Options are the parts of the API. Those up to Dispatcher are required.
type Options struct {
	Tenant     string
	Jobs       Jobs
	Ledger     Ledger
	Watcher    Watcher
	Pulse      Pulse
	Dispatcher Dispatcher

	// Check says what is wrong with a spec beyond its syntax, as a
	// *job.InvalidError: a destination that nobody configured. Nil: nothing is.
	Check func(job.Spec) error
	// Metrics answers /metrics; nil: nobody does.
	Metrics http.Handler
	// WriteToken may do everything, ReadToken may read. Without either, only
	// this machine is answered (see auth.go).
	WriteToken secret.Source
	ReadToken  secret.Source
	// Hosts are names beyond localhost under which this machine may call us
	// without a token.
	Hosts []string
	// Draining is closed when the daemon begins to stop: readiness ends, and so
	// does every long poll. Nil: it never does.
	Draining <-chan struct{}
	// Observe is told the status code of every answer, Panicked of every panic.
	Observe  func(code int)
	Panicked func(loop string)
	// Log takes audit lines (info), requests (debug) and faults (error).
	Log *zap.Logger
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Recommended limits of the server that serves the handler. It must set none on
// whole requests and answers (ReadTimeout, WriteTimeout): tracking may stream
// for minutes and a long poll hangs. The handler bounds each of them itself.
const (
	ReadHeaderTimeout = 10 * time.Second
	IdleTimeout       = 2 * time.Minute
	MaxHeaderBytes    = 64 << 10
)

// server answers requests.
type server struct {
	o    Options
	auth auth
	mux  *http.ServeMux
	// life names this process in the ids of events, streams counts their readers.
	life    string
	streams chan struct{}
}

// handler answers one request or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// methods are what one path does.
type methods map[string]handler

// New makes the handler of the whole API, health and metrics included.
func New(o Options) (http.Handler, error) {
	if o.Tenant == "" || o.Jobs == nil || o.Ledger == nil || o.Watcher == nil || o.Pulse == nil || o.Dispatcher == nil {
		return nil, fmt.Errorf("new HTTP API: tenant, jobs, ledger, watcher, pulse and dispatcher are required: %w", job.ErrInvalid)
	}
	s := newServer(o)
	routes := s.openRoutes()
	maps.Copy(routes, map[string]methods{
		"/openapi.yaml":                  {http.MethodGet: serveOpenAPI},
		"/v1/jobs":                       {http.MethodGet: s.listJobs, http.MethodPost: s.trackMany},
		"/v1/jobs/{id}":                  {http.MethodGet: s.showJob, http.MethodPut: s.track, http.MethodDelete: s.untrack},
		"/v1/jobs/{id}/wait":             {http.MethodGet: s.wait},
		"/v1/jobs/{id}/explain":          {http.MethodGet: s.explain},
		"/v1/jobs/{id}/poll":             {http.MethodPost: s.pollNow},
		"/v1/deliveries":                 {http.MethodGet: s.listDeliveries},
		"/v1/deliveries/replay":          {http.MethodPost: s.replayWhere},
		"/v1/deliveries/{id}":            {http.MethodGet: s.showDelivery},
		"/v1/deliveries/{id}/replay":     {http.MethodPost: s.replay},
		"/v1/events":                     {http.MethodGet: s.events},
		"/v1/budget":                     {http.MethodGet: s.budget},
		"/v1/destinations":               {http.MethodGet: s.listDestinations},
		"/v1/destinations/{name}/test":   {http.MethodPost: s.testDestination},
		"/v1/destinations/{name}/pause":  {http.MethodPost: s.pauseDestination},
		"/v1/destinations/{name}/resume": {http.MethodPost: s.resumeDestination},
	})
	s.handle(routes)
	return s, nil
}

// MetricsOnly makes the handler of a second listener: metrics and health alone.
func MetricsOnly(o Options) (http.Handler, error) {
	if o.Jobs == nil || o.Pulse == nil {
		return nil, fmt.Errorf("new metrics listener: jobs and pulse are required: %w", job.ErrInvalid)
	}
	s := newServer(o)
	s.handle(s.openRoutes())
	return s, nil
}

func newServer(o Options) *server {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.Log = o.Log.Named("api")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Check == nil {
		o.Check = func(job.Spec) error { return nil }
	}
	if o.Observe == nil {
		o.Observe = func(int) {}
	}
	if o.Panicked == nil {
		o.Panicked = func(string) {}
	}
	return &server{o: o, auth: newAuth(o.WriteToken, o.ReadToken, o.Hosts), mux: http.NewServeMux(), life: strings.ToLower(rand.Text()[:10]), streams: make(chan struct{}, maxStreams)}
}

// openRoutes are answered to anybody: a probe and a scraper have no token, and
// none of these tells what a job is about.
func (s *server) openRoutes() map[string]methods {
	routes := map[string]methods{
		"/livez":   {http.MethodGet: s.livez},
		"/healthz": {http.MethodGet: s.livez},
		"/readyz":  {http.MethodGet: s.readyz},
	}
	if s.o.Metrics != nil {
		routes["/metrics"] = methods{http.MethodGet: func(w http.ResponseWriter, r *http.Request) error {
			writeSoon(w)
			s.o.Metrics.ServeHTTP(w, r)
			return nil
		}}
	}
	return routes
}

// isOpen reports whether a path is answered without asking who calls.
func isOpen(path string) bool {
	switch path {
	case "/livez", "/healthz", "/readyz", "/openapi.yaml", "/metrics":
		return true
	}
	return false
}

// handle enters the routes. Patterns are registered without methods, so that
// the answer to a wrong one is a problem like every other.
func (s *server) handle(routes map[string]methods) {
	for pattern, m := range routes {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			callOf(r).route = pattern
			h, known := m.of(r.Method)
			if !known {
				h = m.refuse
			}
			if err := h(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &problem{Status: http.StatusNotFound, Code: codeNotFound, Detail: "there is nothing here; /openapi.yaml lists what there is"})
	})
}

// of finds the handler of a method; HEAD is GET without its body.
func (m methods) of(method string) (handler, bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	h, known := m[method]
	return h, known
}

// refuse answers a method that the path does not have.
func (m methods) refuse(w http.ResponseWriter, _ *http.Request) error {
	all := slices.Sorted(maps.Keys(m))
	if _, reads := m[http.MethodGet]; reads {
		all = append(all, http.MethodHead)
	}
	allow := strings.Join(all, ", ")
	w.Header().Set("Allow", allow)
	return &problem{Status: http.StatusMethodNotAllowed, Code: codeMethodNotAllowed, Detail: "this path answers " + allow}
}

//go:embed openapi.yaml
var openAPI []byte

func serveOpenAPI(w http.ResponseWriter, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	writeSoon(w)
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	_, _ = w.Write(openAPI)                            // the caller has gone if this fails
	return nil
}

// writeTimeout bounds the writing of one answer, or of one part of a stream: a
// caller that does not read holds no connection for longer.
const writeTimeout = 30 * time.Second

// writeSoon gives what is written next a time limit. A server that knows no
// deadlines (a test's recorder) needs none.
func writeSoon(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	writeSoon(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the caller has gone if this fails
	return nil
}
