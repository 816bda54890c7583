package zuorasim

import (
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Job is everything the tenant knows about one job. Instants are by Options.Now
// but UpdatedOn, which is by Zuora's own clock.
type Job struct {
	ID        job.ID
	Query     string
	Source    string // LIVE or WAREHOUSE
	Client    string // client id of the owner
	CreatedBy string // his user id; set by the tenant
	Status    job.Status
	IndexJoin bool

	CreatedAt, StartedAt, EndedAt time.Time
	UpdatedOn                     time.Time

	Rows             *int64
	Processing       *time.Duration
	Error            string
	DataFile         string // made up for completed jobs when empty
	RemainingRetries int

	// What callers did: GETs, places in lists, GETs after the end had been told,
	// and when the end was first told.
	Polls, Listed, LatePolls int
	EndSeenAt                time.Time
}

// Submit takes a job in as POST /query/jobs does, but is never refused: what a
// full queue has no place for waits as well. Unknown clients are the first user.
func (t *Tenant) Submit(s Spec) job.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.options.Now()
	t.book.advance(now)
	owner := t.accounts.named(s.Client)
	if owner == nil {
		owner = t.accounts.first()
	}
	return t.book.submit(now.UnixNano(), s, owner).id
}

// Finish ends a job now, whatever was planned for it, with any status; it
// reports false for a job that there is not. Jobs that have ended already change
// their status, which Zuora's never do.
func (t *Tenant) Finish(id job.ID, status job.Status) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.options.Now()
	t.book.advance(now)
	r := t.book.byID[id]
	if r != nil {
		t.book.finish(r, status, now.UnixNano())
	}
	return r != nil
}

// Put files a job just as it is given, in place of one with the same id. It
// takes no slot and stays as it is until Finish or another Put. Absent instants
// are now; what callers did is not taken over.
func (t *Tenant) Put(j Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.options.Now()
	t.book.advance(now)
	orNow := func(at time.Time) int64 {
		if at.IsZero() {
			return now.UnixNano()
		}
		return at.UnixNano()
	}
	r := &record{
		id: j.ID, query: j.Query, text: j.Error, file: j.DataFile, status: j.Status, fate: job.Completed,
		created: orNow(j.CreatedAt), rows: -1, processing: -1, runTime: -1, free: true, indexJoin: j.IndexJoin,
		remaining: int8(j.RemainingRetries),
	}
	if r.owner = t.accounts.named(j.Client); r.owner == nil {
		r.owner = t.accounts.first()
	}
	if j.Source == warehouse.String() {
		r.source = warehouse
	}
	if !j.StartedAt.IsZero() {
		r.started = j.StartedAt.UnixNano()
	}
	if j.Status.Outcome() != job.Undecided {
		r.ended = orNow(j.EndedAt)
	}
	if j.Rows != nil {
		r.rows = *j.Rows
	}
	if j.Processing != nil {
		r.processing = j.Processing.Milliseconds()
	}
	r.updated = orNow(j.UpdatedOn)
	if j.UpdatedOn.IsZero() {
		r.updated = max(r.created, r.started, r.ended) + int64(t.book.skew)
	}
	t.book.add(r)
}

// Forget makes the tenant not know a job: GET answers 404.
func (t *Tenant) Forget(id job.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.options.Now()
	t.book.advance(now)
	r := t.book.byID[id]
	if r != nil {
		t.book.drop(r, now.UnixNano())
	}
	return r != nil
}

// Job returns one job as it is now.
func (t *Tenant) Job(id job.ID) (Job, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book.advance(t.options.Now())
	r := t.book.byID[id]
	if r == nil {
		return Job{}, false
	}
	return r.export(), true
}

// Jobs returns all jobs as they are now, oldest first.
func (t *Tenant) Jobs() []Job {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book.advance(t.options.Now())
	all := make([]Job, 0, len(t.book.byID))
	for _, r := range t.book.order {
		if !r.gone {
			all = append(all, r.export())
		}
	}
	return all
}

func (r *record) export() Job {
	at := func(ns int64) time.Time {
		if ns == 0 {
			return time.Time{}
		}
		return time.Unix(0, ns).UTC()
	}
	j := Job{
		ID: r.id, Query: r.query, Source: r.source.String(), Client: r.owner.ClientID, CreatedBy: r.owner.ID,
		Status: r.status, IndexJoin: r.indexJoin, CreatedAt: at(r.created), StartedAt: at(r.started),
		EndedAt: at(r.ended), UpdatedOn: at(r.updated), DataFile: r.file, RemainingRetries: int(r.remaining),
		Polls: int(r.polls), Listed: int(r.listed), LatePolls: int(r.late), EndSeenAt: at(r.seenEnd),
	}
	switch r.status {
	case job.Completed:
		if r.rows >= 0 {
			j.Rows = new(r.rows)
		}
		if r.processing >= 0 {
			j.Processing = new(time.Duration(r.processing) * time.Millisecond)
		}
	case job.Failed:
		j.Error = r.text
	default:
	}
	return j
}

// Fault puts a rule in force and returns what ends it. It panics when the rule
// does not validate.
func (t *Tenant) Fault(f Fault) (remove func()) {
	if err := f.Validate(); err != nil {
		panic(fmt.Errorf("zuorasim: fault: %w", err))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	name := t.rules.add(t.options.Now(), f)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.rules.remove(name)
	}
}

// ClearFaults ends all rules.
func (t *Tenant) ClearFaults() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules.all = nil
}

// Token issues a token to the client ("" for the first) without a request; ""
// when there is no such client.
func (t *Tenant) Token(clientID string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := t.accounts.named(clientID)
	if u == nil {
		return ""
	}
	text, _ := t.accounts.mint(t.options.Now(), u)
	return text
}

// RevokeTokens makes all tokens worthless, but for Options.BearerToken.
func (t *Tenant) RevokeTokens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accounts.revoke("")
}

// SetUserActive deactivates a user, and with him his client, or lets him back in.
func (t *Tenant) SetUserActive(clientID string, active bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.accounts.named(clientID); u != nil {
		u.deactivated = !active
	}
}

// SetClientSecret changes a client's secret, as a rotation does.
func (t *Tenant) SetClientSecret(clientID, clientSecret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.accounts.named(clientID); u != nil {
		u.ClientSecret = clientSecret
	}
}

// SetClockSkew sets how far Zuora's clock is ahead from now on; what has
// happened keeps its instants.
func (t *Tenant) SetClockSkew(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book.advance(t.options.Now())
	t.book.skew = d
}

// SpendOthers makes other clients of the tenant send perMinute requests a minute
// from now on, and n at once.
func (t *Tenant) SpendOthers(perMinute float64, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.api.spend(t.options.Now(), n)
	t.api.rate = max(0, perMinute)
}
