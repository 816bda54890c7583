package zuorasim

import (
	"maps"
	"math/rand/v2"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Limit is a limit that a request can exceed; every one answers 429.
type Limit string

// The limits. LimitFault counts 429s that a fault made up: they are nobody's
// doing.
const (
	LimitWindow      Limit = "window"
	LimitConcurrency Limit = "concurrency"
	LimitToken       Limit = "token"
	LimitFault       Limit = "fault"
)

// Request is what is remembered of one request.
type Request struct {
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took_ns"` // zero while in flight
	Endpoint Endpoint      `json:"endpoint"`
	Method   string        `json:"method"`
	Path     string        `json:"path"`
	Query    string        `json:"query,omitempty"`
	JobID    job.ID        `json:"job_id,omitzero"`
	// Who asked.
	Client   string `json:"client,omitempty"`
	Remote   string `json:"remote,omitempty"`
	TrackID  string `json:"track_id,omitempty"`
	EntityID string `json:"entity_id,omitempty"`
	OrgIDs   string `json:"org_ids,omitempty"`
	// What he was told.
	ID     string     `json:"request_id"`
	Code   int        `json:"code"` // zero while in flight, or when dropped
	Status job.Status `json:"status,omitempty"`
	Listed int        `json:"listed,omitempty"`
	Faults []Kind     `json:"faults,omitempty"`
	// Gone: the answer did not reach the caller whole.
	Gone bool `json:"gone,omitempty"`
}

// Stats counts everything since the tenant was made.
type Stats struct {
	Now       time.Time          `json:"now"`
	Requests  map[Endpoint]int64 `json:"requests"`
	Codes     map[int]int64      `json:"codes"`
	Limited   map[Limit]int64    `json:"limited"` // 429s by their cause
	Faults    map[Kind]int64     `json:"faults"`
	Jobs      map[string]int64   `json:"jobs"` // by status
	Windows   []WindowState      `json:"windows"`
	Tokens    int64              `json:"tokens"` // issued
	InFlight  int                `json:"in_flight"`
	MaxFlight int                `json:"max_in_flight"` // token calls excepted
	// PollsAfterEnd are GETs of jobs whose end had been told before.
	PollsAfterEnd int64 `json:"polls_after_end"`
	// EndsUnseen are ended jobs that nobody has been told of.
	EndsUnseen int64 `json:"ends_unseen"`
}

// TooMany is how many 429s the callers have brought upon themselves.
func (s Stats) TooMany() int64 {
	return s.Limited[LimitWindow] + s.Limited[LimitConcurrency] + s.Limited[LimitToken]
}

// journal is the request log and the counters.
type journal struct {
	ids      *rand.Rand
	ring     []*Request // the newest cap(ring); next is the oldest once full
	size     int
	next     int
	inFlight int // token calls excepted: they are exempt from the limit
	stats    Stats
}

func newJournal(seed uint64, size int) *journal {
	return &journal{ids: dice(seed, streamRequest, 0), size: size, stats: Stats{
		Requests: map[Endpoint]int64{}, Codes: map[int]int64{}, Limited: map[Limit]int64{}, Faults: map[Kind]int64{},
	}}
}

// begin notes a request and gives it an id.
func (j *journal) begin(x *exchange, e Endpoint) (string, *Request) {
	h := x.r.Header
	q := &Request{
		At: x.at, Endpoint: e, Method: x.r.Method, Path: x.r.URL.Path, Query: x.r.URL.RawQuery, JobID: x.job,
		Remote: x.r.RemoteAddr, TrackID: h.Get("Zuora-Track-Id"), EntityID: h.Get("Zuora-Entity-Ids"),
		OrgIDs: h.Get("Zuora-Org-Ids"), ID: uuid(j.ids).String(),
	}
	if x.user != nil {
		q.Client = x.user.ClientID
	}
	j.stats.Requests[e]++
	if e != EndpointToken {
		j.inFlight++
		j.stats.MaxFlight = max(j.stats.MaxFlight, j.inFlight)
	}
	switch {
	case j.size <= 0:
	case len(j.ring) < j.size:
		j.ring = append(j.ring, q)
	default:
		j.ring[j.next] = q
		j.next = (j.next + 1) % j.size
	}
	return q.ID, q
}

func (j *journal) end(q *Request, now time.Time) {
	if q.Endpoint != EndpointToken {
		j.inFlight--
	}
	q.Took = max(1, now.Sub(q.At))
	j.stats.Codes[q.Code]++
}

// each visits what is remembered, oldest first.
func (j *journal) each(visit func(*Request)) {
	for i := range j.ring {
		visit(j.ring[(j.next+i)%len(j.ring)])
	}
}

// Requests returns the remembered requests, oldest first.
func (t *Tenant) Requests() []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Request, 0, len(t.journal.ring))
	t.journal.each(func(q *Request) { all = append(all, *q) })
	return all
}

// ForgetRequests empties the log; counters go on.
func (t *Tenant) ForgetRequests() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.journal.ring, t.journal.next = nil, 0
}

// PollsOf returns the remembered GETs of one job, oldest first. Their track ids
// tell who made them.
func (t *Tenant) PollsOf(id job.ID) []Request {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Request
	t.journal.each(func(q *Request) {
		if q.Endpoint == EndpointGet && q.JobID == id {
			all = append(all, *q)
		}
	})
	return all
}

// Count is how many requests there were for an operation.
func (t *Tenant) Count(e Endpoint) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.journal.stats.Requests[e]
}

// Stats returns all counters and the state of windows and jobs.
func (t *Tenant) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.options.Now()
	t.book.advance(now)
	s := t.journal.stats
	s.Now = now.Add(t.book.skew).UTC()
	s.Requests, s.Codes = maps.Clone(s.Requests), maps.Clone(s.Codes)
	s.Limited, s.Faults = maps.Clone(s.Limited), maps.Clone(s.Faults)
	s.Jobs = map[string]int64{}
	for _, st := range job.Statuses() {
		s.Jobs[string(st)] = 0
	}
	for _, r := range t.book.byID {
		s.Jobs[string(r.status)]++
		if r.ended != 0 && r.seenEnd == 0 {
			s.EndsUnseen++
		}
	}
	s.Windows = t.api.states(now)
	s.Tokens = int64(t.accounts.minted)
	s.InFlight = t.journal.inFlight
	return s
}
