package zuorasim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Kind is what a fault does.
type Kind string

// The kinds. Latency, Drip, Cut and Word change how the true answer arrives and
// may be combined; the others replace it, the first that hits wins.
const (
	// KindLatency answers Delay later, give or take Jitter.
	KindLatency Kind = "latency"
	// KindHang never answers; it ends when the caller gives up.
	KindHang Kind = "hang"
	// KindStatus answers Status, with a body as Zuora's for that status.
	KindStatus Kind = "status"
	// KindJunk answers with a body that is not what was asked for; see Junk.
	KindJunk Kind = "junk"
	// KindCut ends the connection after Bytes of the body, or half-way.
	KindCut Kind = "cut"
	// KindDrop does what was asked and ends the connection without an answer.
	KindDrop Kind = "drop"
	// KindDrip sends Bytes (1 when zero) at a time with Delay between them.
	KindDrip Kind = "drip"
	// KindExpire makes the presented token worthless, which answers 401.
	KindExpire Kind = "expire"
	// KindWord puts Word in place of the queryStatus.
	KindWord Kind = "word"
	// KindRedirect answers Status (302 when zero) with Location.
	KindRedirect Kind = "redirect"
)

// Junk is a body that KindJunk sends.
type Junk string

// The junk bodies; all but JunkHTML and JunkText claim to be JSON.
const (
	JunkText      Junk = "text"      // plain text under 200
	JunkHTML      Junk = "html"      // a proxy's page under 200
	JunkEmpty     Junk = "empty"     // nothing
	JunkNull      Junk = "null"      // null
	JunkArray     Junk = "array"     // an array where an object belongs
	JunkTypes     Junk = "types"     // data with every field of a wrong type
	JunkNoData    Junk = "nodata"    // an object without data
	JunkRefused   Junk = "refused"   // success:false under 200
	JunkCodes     Junk = "codes"     // reasons with string codes under 200
	JunkTruncated Junk = "truncated" // JSON that stops in the middle
	JunkOther     Junk = "other"     // another job than the one asked for
	JunkHuge      Junk = "huge"      // Bytes (64 MiB when zero) of one endless query
)

var (
	kinds = []Kind{
		KindLatency, KindHang, KindStatus, KindJunk, KindCut, KindDrop, KindDrip, KindExpire, KindWord, KindRedirect,
	}
	junks = []Junk{
		JunkText, JunkHTML, JunkEmpty, JunkNull, JunkArray, JunkTypes, JunkNoData, JunkRefused, JunkCodes, JunkTruncated,
		JunkOther, JunkHuge,
	}
)

// Fault is one rule: which requests it hits, how often, and what then happens.
type Fault struct {
	Kind Kind `json:"kind"`

	// Method and Path select requests; empty matches any. Path is a pattern of
	// path.Match ("/query/jobs/*" is a GET of one job); empty matches everything
	// but /oauth/token, which must be named.
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	// Job selects requests about one job. With KindWord it also selects that
	// job's place in lists.
	Job job.ID `json:"job,omitzero"`
	// Client selects requests with a token of that client id.
	Client string `json:"client,omitempty"`
	// Match, in programs, selects by anything else.
	Match func(*http.Request) bool `json:"-"`

	// Probability of hitting a request that matches; zero means always.
	Probability float64 `json:"probability,omitempty"`
	// Skip lets that many matching requests pass first; Count ends the rule
	// after that many hits; zero means no end.
	Skip  int `json:"skip,omitempty"`
	Count int `json:"count,omitempty"`
	// For ends the rule that long after it was made; zero means no end.
	For time.Duration `json:"-"`

	Status int `json:"status,omitempty"`
	// Message replaces the text of a Zuora-shaped error body.
	Message string `json:"message,omitempty"`
	// Body replaces the whole body; HTML sends a proxy's page instead.
	Body string `json:"body,omitempty"`
	HTML bool   `json:"html,omitempty"`
	// RetryAfter is sent as it is: seconds, a date, or nonsense.
	RetryAfter string `json:"retry_after,omitempty"`
	// Exhausted says RateLimit-Remaining: 0, as somebody else's 429 does.
	Exhausted bool `json:"exhausted,omitempty"`
	// Reset is the RateLimit-Reset sent with Exhausted; the true one when zero.
	Reset int `json:"reset,omitempty"`

	Junk     Junk          `json:"junk,omitempty"`
	Delay    time.Duration `json:"-"`
	Jitter   time.Duration `json:"-"`
	Bytes    int           `json:"bytes,omitempty"`
	Word     string        `json:"word,omitempty"`
	Location string        `json:"location,omitempty"`
}

// Validate reports every mistake in the rule.
func (f *Fault) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !slices.Contains(kinds, f.Kind) {
		bad("kind %q is not one of %v", f.Kind, kinds)
	}
	if _, err := path.Match(f.Path, "/"); err != nil {
		bad("path %q is not a pattern", f.Path)
	}
	if math.IsNaN(f.Probability) || f.Probability < 0 || f.Probability > 1 {
		bad("probability %v is not between 0 and 1", f.Probability)
	}
	if f.Skip < 0 || f.Count < 0 || f.For < 0 || f.Delay < 0 || f.Jitter < 0 || f.Bytes < 0 || f.Reset < 0 {
		bad("skip, count, for, delay, jitter, bytes and reset must not be negative")
	}
	if f.Kind == KindStatus && (f.Status < 200 || f.Status > 599) {
		bad("status %d is not between 200 and 599", f.Status)
	}
	if f.Kind == KindRedirect && (f.Location == "" || f.Status != 0 && (f.Status < 300 || f.Status > 399)) {
		bad("a redirect needs a location and no status or one of the 300s")
	}
	if f.Kind == KindJunk && !slices.Contains(junks, f.Junk) {
		bad("junk %q is not one of %v", f.Junk, junks)
	}
	if f.Kind == KindWord && f.Word == "" {
		bad("word is empty")
	}
	return errors.Join(faults...)
}

// rule is a fault in force.
type rule struct {
	Fault
	name  string
	until time.Time // zero: no end
	seen  int
	hits  int
	dice  *rand.Rand
}

type rules struct {
	seed  uint64
	count uint64
	all   []*rule
}

func (s *rules) add(now time.Time, f Fault) string {
	s.count++
	r := &rule{Fault: f, name: "flt_" + strconv.FormatUint(s.count, 10), dice: dice(s.seed, streamFault, s.count)}
	if f.For > 0 {
		r.until = now.Add(f.For)
	}
	s.all = append(s.all, r)
	return r.name
}

func (s *rules) remove(name string) bool {
	n := len(s.all)
	s.all = slices.DeleteFunc(s.all, func(r *rule) bool { return r.name == name })
	return len(s.all) < n
}

// matches reports whether the rule is about this request at all.
func (r *rule) matches(x *exchange, e Endpoint) bool {
	if r.Method != "" && r.Method != x.r.Method {
		return false
	}
	if r.Path == "" && e == EndpointToken {
		return false
	}
	if ok, _ := path.Match(r.Path, x.r.URL.Path); r.Path != "" && !ok {
		return false
	}
	if r.Client != "" && (x.user == nil || x.user.ClientID != r.Client) {
		return false
	}
	if r.Job != (job.ID{}) && r.Job != x.job && (r.Kind != KindWord || e != EndpointList) {
		return false
	}
	return r.Match == nil || r.Match(x.r)
}

// hit decides by skip, count, time and dice.
func (r *rule) hit(now time.Time) bool {
	if !r.until.IsZero() && !now.Before(r.until) || r.Count > 0 && r.hits >= r.Count {
		return false
	}
	r.seen++
	if r.seen <= r.Skip || r.Probability > 0 && r.dice.Float64() >= r.Probability {
		return false
	}
	r.hits++
	return true
}

// choose collects the rules that hit this request.
func (s *rules) choose(x *exchange, e Endpoint) misbehaviour {
	var m misbehaviour
	for _, r := range s.all {
		if !r.matches(x, e) || m.replaced != nil && r.replaces() || !r.hit(x.at) {
			continue
		}
		x.log.Faults = append(x.log.Faults, r.Kind)
		x.journal.stats.Faults[r.Kind]++
		if r.replaces() {
			m.replaced = &r.Fault
			continue
		}
		m.take(&r.Fault, r.dice)
	}
	return m
}

// replaces reports whether the fault leaves nothing of the true answer.
func (f *Fault) replaces() bool {
	switch f.Kind {
	case KindHang, KindStatus, KindJunk, KindExpire, KindRedirect:
		return true
	case KindLatency, KindCut, KindDrop, KindDrip, KindWord:
	}
	return false
}
