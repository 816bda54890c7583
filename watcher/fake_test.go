package watcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// memory is a store with opinions: it fails the test on a commit by a dead
// owner, on an event whose bytes change, and on a job that finishes twice with
// different outcomes. Faults can be put before and after every operation.
type memory struct {
	t  testing.TB
	mu sync.Mutex
	// fault is asked before each operation; stored says that the operation is
	// carried out although err is returned.
	fault func(op string) (err error, stored bool)

	jobs     map[job.ID]*record
	replicas map[job.ReplicaID]*lease
	events   map[string]job.Event
	owed     map[string][]string // event id → destinations
	ops      map[string]int
	writes   int
	commits  []int // sizes
	purged   int
	took     map[string]time.Duration // by operation
}

type record struct {
	job   job.Job
	owner job.ReplicaID
}

type lease struct {
	holder job.ReplicaID
	beat   time.Time
	jobs   int
}

func newMemory(t testing.TB) *memory {
	return &memory{
		t: t, jobs: map[job.ID]*record{}, replicas: map[job.ReplicaID]*lease{},
		events: map[string]job.Event{}, owed: map[string][]string{}, ops: map[string]int{},
	}
}

// do runs one operation under the lock, with its faults.
func (m *memory) do(ctx context.Context, op string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if took := m.took[op]; took > 0 {
		pause(ctx, took)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops[op]++
	if m.fault != nil {
		if err, stored := m.fault(op); err != nil {
			if stored {
				if inner := f(); inner != nil {
					return inner
				}
			}
			return err
		}
	}
	return f()
}

// holds lists the rows that replica may act for.
func (m *memory) holds(replica job.ReplicaID) []job.ReplicaID {
	var rows []job.ReplicaID
	for id, l := range m.replicas {
		if l.holder == replica {
			rows = append(rows, id)
		}
	}
	return rows
}

func (m *memory) Register(ctx context.Context, r job.Replica, term time.Duration, alone bool) error {
	return m.do(ctx, "register", func() error {
		if m.replicas[r.ID] != nil {
			return fmt.Errorf("replica %s is registered already: %w", r.ID, job.ErrConflict)
		}
		m.replicas[r.ID] = &lease{holder: r.ID, beat: time.Now()}
		m.inherit(r.ID, term, alone)
		m.writes++
		return nil
	})
}

func (m *memory) inherit(by job.ReplicaID, term time.Duration, all bool) (n int) {
	for id, l := range m.replicas {
		if id == by || l.holder == by {
			continue
		}
		holder := m.replicas[l.holder]
		if all || l.holder == "" || holder == nil || time.Since(holder.beat) > term {
			l.holder = by
			n++
		}
	}
	return n
}

func (m *memory) Heartbeat(ctx context.Context, id job.ReplicaID, term time.Duration, jobs int) (p job.Pulse, err error) {
	err = m.do(ctx, "heartbeat", func() error {
		l := m.replicas[id]
		if l == nil || l.holder != id {
			return job.ErrOwnerLost
		}
		l.beat, l.jobs = time.Now(), jobs
		p.Inherited = m.inherit(id, term, false)
		for name, other := range m.replicas {
			if name == other.holder && time.Since(other.beat) < 2*term {
				p.Replicas++
				p.Jobs += other.jobs
			}
		}
		for _, r := range m.jobs {
			if r.owner == "" && r.job.State == job.Watching {
				p.Free++
			}
		}
		return nil
	})
	return p, err
}

func (m *memory) HandBack(ctx context.Context, id job.ReplicaID, _ string, ids []job.ID) error {
	return m.do(ctx, "hand back", func() error {
		rows := m.holds(id)
		if len(rows) == 0 {
			return job.ErrOwnerLost
		}
		for _, one := range ids {
			if r := m.jobs[one]; r != nil && slices.Contains(rows, r.owner) {
				r.owner = ""
			}
		}
		return nil
	})
}

func (m *memory) Release(ctx context.Context, id job.ReplicaID) error {
	return m.do(ctx, "release", func() error {
		for _, row := range m.holds(id) {
			m.replicas[row].holder = ""
		}
		return nil
	})
}

func (m *memory) Purge(ctx context.Context, before job.Instant, limit int) (n int, err error) {
	err = m.do(ctx, "purge", func() error {
		for id, r := range m.jobs {
			if n < limit && r.job.State == job.Finished && r.job.FinishedAt < before {
				delete(m.jobs, id)
				n++
			}
		}
		m.purged += n
		return nil
	})
	return n, err
}

func (m *memory) Track(ctx context.Context, replica job.ReplicaID, items []job.Tracking) (fresh []bool, err error) {
	err = m.do(ctx, "track", func() error {
		if len(m.holds(replica)) == 0 {
			return job.ErrOwnerLost
		}
		for i := range items {
			it := &items[i]
			_, known := m.jobs[it.ID]
			fresh = append(fresh, !known)
			if known {
				continue
			}
			m.writes++
			m.jobs[it.ID] = &record{owner: replica, job: job.Job{
				Tenant: it.Tenant, ID: it.ID, State: job.Watching, Source: it.Source, Labels: it.Labels,
				Destinations: it.Destinations, TrackedAt: it.TrackedAt, DeadlineAt: it.DeadlineAt,
				AbandonAt: it.AbandonAt, NextPollAt: it.TrackedAt,
				History: []job.Change{{At: it.TrackedAt, Kind: job.KindTracked}},
			}}
		}
		return nil
	})
	return fresh, err
}

func (m *memory) Untrack(ctx context.Context, _ string, id job.ID) error {
	return m.do(ctx, "untrack", func() error {
		r, ok := m.jobs[id]
		if !ok {
			return job.ErrNotFound
		}
		if r.job.State == job.Finished {
			return job.ErrConflict
		}
		delete(m.jobs, id)
		m.writes++
		return nil
	})
}

func (m *memory) Owned(ctx context.Context, replica job.ReplicaID, _ string, yield func(job.Watch) error) error {
	return m.do(ctx, "owned", func() error {
		rows := m.holds(replica)
		if len(rows) == 0 {
			return job.ErrOwnerLost
		}
		for _, r := range m.jobs {
			if r.job.State != job.Watching || !slices.Contains(rows, r.owner) {
				continue
			}
			if err := yield(watchOf(&r.job)); err != nil {
				return err
			}
		}
		return nil
	})
}

func watchOf(j *job.Job) job.Watch {
	return job.Watch{
		ID: j.ID, Status: j.Status, TrackedAt: j.TrackedAt, DeadlineAt: j.DeadlineAt, AbandonAt: j.AbandonAt,
		NextPollAt: j.NextPollAt, StatusSince: j.StatusSince, Polls: int32(j.Polls), Overdue: j.Overdue,
	}
}

func (m *memory) Claim(ctx context.Context, replica job.ReplicaID, _ string, limit int) (free []job.Watch, err error) {
	err = m.do(ctx, "claim", func() error {
		if len(m.holds(replica)) == 0 {
			return job.ErrOwnerLost
		}
		for _, r := range m.jobs {
			if r.owner == "" && r.job.State == job.Watching && len(free) < limit {
				r.owner = replica
				free = append(free, watchOf(&r.job))
			}
		}
		return nil
	})
	return free, err
}

func (m *memory) Jobs(ctx context.Context, _ string, ids []job.ID) (found map[job.ID]job.Job, err error) {
	found = map[job.ID]job.Job{}
	err = m.do(ctx, "jobs", func() error {
		for _, id := range ids {
			if r, ok := m.jobs[id]; ok {
				found[id] = r.job
			}
		}
		return nil
	})
	return found, err
}

func (m *memory) Runs(ctx context.Context, _ string, shape job.Shape, limit int) (runs []job.Run, err error) {
	err = m.do(ctx, "runs", func() error {
		for _, r := range m.jobs {
			if r.job.Shape == shape && r.job.State == job.Finished && len(runs) < limit {
				runs = append(runs, job.Run{
					Took: r.job.Took, Processing: r.job.ProcessingTime, Rows: r.job.OutputRows,
					Completed: r.job.Outcome == job.OutcomeCompleted,
				})
			}
		}
		return nil
	})
	return runs, err
}

func (m *memory) Commit(ctx context.Context, replica job.ReplicaID, updates []job.Update) (results []error, err error) {
	results = make([]error, len(updates))
	err = m.do(ctx, "commit", func() error {
		rows := m.holds(replica)
		if len(rows) == 0 {
			return job.ErrOwnerLost
		}
		m.writes++
		m.commits = append(m.commits, len(updates))
		for i := range updates {
			results[i] = m.commit(rows, &updates[i])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (m *memory) commit(rows []job.ReplicaID, u *job.Update) error {
	r, ok := m.jobs[u.ID]
	if !ok {
		return job.ErrNotFound
	}
	if !slices.Contains(rows, r.owner) {
		return job.ErrConflict
	}
	if r.job.State == job.Finished {
		if u.Outcome != r.job.Outcome {
			m.t.Errorf("job %s finished as %s, then as %q", u.ID, r.job.Outcome, u.Outcome)
		}
		return nil
	}
	applied(&r.job, u)
	if u.Outcome != job.Undecided && u.Event == nil {
		m.t.Errorf("job %s ends as %s without an event", u.ID, u.Outcome)
	}
	if e := u.Event; e != nil {
		if old, known := m.events[e.ID]; known && string(old.Data) != string(e.Data) {
			m.t.Errorf("event %s changed:\n%s\n%s", e.ID, old.Data, e.Data)
		}
		m.events[e.ID] = *e
		m.owed[e.ID] = u.Destinations
	}
	return nil
}

// job reads one job; events lists what was announced, by type.
func (m *memory) job(id job.ID) job.Job {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.jobs[id]; ok {
		return r.job
	}
	return job.Job{}
}

func (m *memory) announced() map[string]job.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.events)
}

func (m *memory) deleted() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.purged
}

func (m *memory) transactions() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.commits)
}

func (m *memory) count(op string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops[op]
}

func (m *memory) written() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

var errInjected = errors.New("injected")

// tenant is a fake Upstream: what it says of a job is a function of time.
type tenant struct {
	t    testing.TB
	mu   sync.Mutex
	says map[job.ID]func(at time.Time) (job.Observation, error)
	all  func(id job.ID, at time.Time) (job.Observation, error) // when says has none
	list func(size int) ([]job.Observation, error)
	took time.Duration
	gets map[job.ID][]time.Time
	at   []time.Time
	size []int // pages asked for
	busy int
	peak int

	speaks sync.Mutex
}

func newTenant(t testing.TB) *tenant {
	return &tenant{t: t, says: map[job.ID]func(time.Time) (job.Observation, error){}, gets: map[job.ID][]time.Time{}}
}

func (u *tenant) Get(ctx context.Context, id job.ID) (job.Observation, error) {
	u.mu.Lock()
	u.busy++
	u.peak = max(u.peak, u.busy)
	u.gets[id] = append(u.gets[id], time.Now())
	u.at = append(u.at, time.Now())
	say := u.says[id]
	if say == nil && u.all != nil {
		say = func(at time.Time) (job.Observation, error) { return u.all(id, at) }
	}
	took := u.took
	u.mu.Unlock()
	defer func() { u.mu.Lock(); u.busy--; u.mu.Unlock() }()
	if took > 0 {
		pause(ctx, took)
		if err := ctx.Err(); err != nil {
			return job.Observation{}, err
		}
	}
	if say == nil {
		return job.Observation{}, &fault{reason: job.ReasonNotFound}
	}
	// Under a lock, so that what it says may depend on what it has said.
	u.speaks.Lock()
	defer u.speaks.Unlock()
	seen, err := say(time.Now())
	if err == nil {
		seen.ID = id
	}
	return seen, err
}

func (u *tenant) List(_ context.Context, _ job.Status, size int, yield func(job.Observation) bool) error {
	u.mu.Lock()
	u.size = append(u.size, size)
	u.at = append(u.at, time.Now())
	list := u.list
	u.mu.Unlock()
	if list == nil {
		return &fault{reason: job.ReasonForbidden}
	}
	jobs, err := list(size)
	if err != nil {
		return err
	}
	for _, o := range jobs[:min(size, len(jobs))] {
		if !yield(o) {
			break
		}
	}
	return nil
}

// lists changes the list, takes how long an answer takes; pages are those asked for.
func (u *tenant) lists(list func(size int) ([]job.Observation, error)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = list
}

func (u *tenant) takes(d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.took = d
}

func (u *tenant) pages() []int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.size)
}

func (u *tenant) looks(id job.ID) []time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.gets[id])
}

func (u *tenant) requests() []time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.at)
}

// set changes what is said of a job.
func (u *tenant) set(id job.ID, say func(at time.Time) (job.Observation, error)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.says[id] = say
}

func (u *tenant) setAll(say func(id job.ID, at time.Time) (job.Observation, error)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.all = say
}

// runs is a job that is in progress until end and completed from then on.
func runs(end time.Time) func(time.Time) (job.Observation, error) {
	return func(at time.Time) (job.Observation, error) {
		if at.Before(end) {
			return job.Observation{Status: job.InProgress, UpdatedAt: end.Add(-time.Hour), ServerTime: at}, nil
		}
		rows, took := int64(7), 3*time.Second
		return job.Observation{
			Status: job.Completed, UpdatedAt: end, ServerTime: at, Query: "SELECT 1",
			OutputRows: &rows, ProcessingTime: &took,
		}, nil
	}
}

// always says the same.
func always(s job.Status) func(time.Time) (job.Observation, error) {
	return func(at time.Time) (job.Observation, error) {
		return job.Observation{Status: s, UpdatedAt: at, ServerTime: at}, nil
	}
}

// fails always fails the same way.
func fails(f *fault) func(time.Time) (job.Observation, error) {
	return func(time.Time) (job.Observation, error) { return job.Observation{}, f }
}

// fault is an upstream error as watcher/zuora makes them.
type fault struct {
	reason job.Reason
	after  time.Duration
	wide   bool
}

func (f *fault) Error() string                  { return "fault: " + string(f.reason) }
func (f *fault) FaultReason() job.Reason        { return f.reason }
func (f *fault) FaultRetryAfter() time.Duration { return f.after }
func (f *fault) FaultTenantWide() bool          { return f.wide }

// idOf makes a job id from a number.
func idOf(n int) job.ID {
	return job.MustParseID(fmt.Sprintf("%08x-96e7-486b-ae02-%012x", n, n))
}
