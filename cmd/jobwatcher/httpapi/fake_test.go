package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// world is store, watcher and dispatcher in memory. It holds opinions: whoever
// calls it in a way that the real ones would not bear fails the test.
type world struct {
	t *testing.T

	mu           sync.Mutex
	clock        time.Time
	jobs         map[job.ID]job.Job
	live         map[job.ID]job.Watch
	ended        map[job.ID][]chan struct{}
	waiting      int
	deliveries   map[string]job.Delivery
	destinations []job.DestinationView
	woken        []string
	tracked      [][]job.ID
	asked        []job.ID
	read         int
	fail         error // what every call answers
	failAfter    int   // Track: this many calls go well before fail counts
	panics       bool
	notices      []job.Notice
	forgotten    uint64
	more         chan struct{}
	beat         time.Time
	health       job.UpstreamHealth
	filter       job.Filter
	ledgerFilter job.DeliveryFilter
}

const tenant = "rest.zuora.com"

func newWorld(t *testing.T) *world {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := &world{
		t: t, clock: now, beat: now,
		jobs: map[job.ID]job.Job{}, live: map[job.ID]job.Watch{}, ended: map[job.ID][]chan struct{}{},
		deliveries: map[string]job.Delivery{}, health: job.UpstreamHealth{Reachable: true},
		destinations: []job.DestinationView{
			{Name: "loader", Kind: "webhook", Include: []string{"query"}, Deliveries: map[job.DeliveryState]int64{job.DeliveryPending: 2}},
			{
				Name: "slack", Kind: "slack", On: []string{"failed"}, Match: map[string]string{"team": "finance"},
				Paused: true, PausedBy: "gone", PausedAt: job.At(now), NotBefore: job.At(now), Failures: 3,
			},
		},
	}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting != 0 {
			t.Errorf("channels of Ended that were never cancelled: got %d, want 0", w.waiting)
		}
	})
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// enter locks the world, and says whether everything is broken.
func (w *world) enter() error {
	w.mu.Lock()
	if w.panics {
		w.mu.Unlock()
		panic("the fake was told to")
	}
	return w.fail
}

// put stores a job.
func (w *world) put(j job.Job) job.Job {
	w.mu.Lock()
	defer w.mu.Unlock()
	j.Tenant = tenant
	j.Source = cmp.Or(j.Source, job.SourceAPI)
	j.State = cmp.Or(j.State, job.Watching)
	j.TrackedAt = cmp.Or(j.TrackedAt, job.At(w.clock)+job.Instant(len(w.jobs)))
	j.DeadlineAt = cmp.Or(j.DeadlineAt, j.TrackedAt.Add(time.Hour))
	j.History = append([]job.Change{{At: j.TrackedAt, Kind: job.KindTracked}}, j.History...)
	w.jobs[j.ID] = j
	if j.State == job.Watching {
		w.live[j.ID] = job.Watch{ID: j.ID, Status: j.Status, TrackedAt: j.TrackedAt, DeadlineAt: j.DeadlineAt, NextPollAt: j.NextPollAt}
	}
	return j
}

// end finishes a job; here says that this replica saw it.
func (w *world) end(id job.ID, here bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[id]
	j.State, j.Status, j.Outcome, j.FinishedAt = job.Finished, job.Completed, job.OutcomeCompleted, job.At(w.clock)
	w.jobs[id] = j
	if !here {
		return
	}
	delete(w.live, id)
	for _, c := range w.ended[id] {
		close(c)
	}
	delete(w.ended, id)
}

func (w *world) Ping(context.Context) error {
	err := w.enter()
	defer w.mu.Unlock()
	return err
}

func (w *world) Job(_ context.Context, asked string, id job.ID) (job.Job, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return job.Job{}, err
	}
	w.read++
	if asked != tenant {
		w.t.Errorf("tenant: got %q, want %q", asked, tenant)
	}
	j, ok := w.jobs[id]
	if !ok {
		return j, fmt.Errorf("job %s: %w", id, job.ErrNotFound)
	}
	return j, nil
}

func (w *world) ListJobs(_ context.Context, f job.Filter) ([]job.Job, string, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return nil, "", err
	}
	w.filter = f
	if f.Tenant != tenant || f.Limit < 1 || f.Limit > 1000 {
		w.t.Errorf("filter of a list: got tenant %q and limit %d", f.Tenant, f.Limit)
	}
	var all []job.Job
	for _, j := range w.jobs {
		if len(f.States) == 0 || slices.Contains(f.States, j.State) {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(a, b job.Job) int { return cmp.Compare(b.TrackedAt, a.TrackedAt) })
	return cut(all, f.Limit, f.Cursor)
}

// cut is one page; the fake's cursor is a number.
func cut[T any](all []T, limit int, cursor string) ([]T, string, error) {
	from := 0
	if cursor != "" {
		n, err := strconv.Atoi(cursor)
		if err != nil || n < 0 {
			return nil, "", &job.InvalidError{Field: "cursor", Value: job.Cut(cursor, 80), Allowed: "the next_cursor of a page of this list"}
		}
		from = n
	}
	from = min(from, len(all))
	to := min(from+limit, len(all))
	next := ""
	if to < len(all) {
		next = strconv.Itoa(to)
	}
	return all[from:to], next, nil
}

func (w *world) Deliveries(_ context.Context, f job.DeliveryFilter) ([]job.Delivery, string, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return nil, "", err
	}
	w.ledgerFilter = f
	if f.Limit < 1 || f.Limit > 1000 {
		w.t.Errorf("limit of a list of deliveries: got %d, want 1 to 1000", f.Limit)
	}
	return cut(w.pick(f), f.Limit, f.Cursor)
}

func (w *world) pick(f job.DeliveryFilter) []job.Delivery {
	var all []job.Delivery
	for _, id := range slices.Sorted(maps.Keys(w.deliveries)) {
		d := w.deliveries[id]
		if (len(f.States) == 0 || slices.Contains(f.States, d.State)) && (f.Destination == "" || f.Destination == d.Destination) &&
			(f.Job == job.ID{} || f.Job == d.JobID) && d.CreatedAt >= f.Since {
			all = append(all, d)
		}
	}
	return all
}

func (w *world) Delivery(_ context.Context, id string) (job.Delivery, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return job.Delivery{}, err
	}
	d, ok := w.deliveries[id]
	if !ok {
		return d, fmt.Errorf("delivery %s: %w", id, job.ErrNotFound)
	}
	return d, nil
}

func (w *world) Replay(_ context.Context, ids []string) (int, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, id := range ids {
		d, ok := w.deliveries[id]
		if !ok {
			w.t.Errorf("replay of %q, which nobody looked up", id)
			return 0, job.ErrNotFound
		}
		if d.State != job.DeliverySending {
			d.State = job.DeliveryPending
			w.deliveries[id] = d
			n++
		}
	}
	return n, nil
}

func (w *world) ReplayWhere(_ context.Context, f job.DeliveryFilter) (int, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	w.ledgerFilter = f
	if len(f.States) == 0 && f.Since == 0 || slices.Contains(f.States, job.DeliverySending) {
		w.t.Errorf("replay of states %v", f.States)
	}
	return len(w.pick(f)), nil
}

func (w *world) Track(_ context.Context, specs []job.Spec, source job.Source) ([]bool, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if w.failAfter > 0 {
		w.failAfter--
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if source != job.SourceAPI || len(specs) == 0 || len(specs) > 10_000 {
		w.t.Errorf("track: %d jobs of source %q", len(specs), source)
	}
	fresh := make([]bool, len(specs))
	ids, seen := make([]job.ID, len(specs)), make(map[job.ID]bool, len(specs))
	for i, s := range specs {
		if err := s.Validate(); err != nil {
			w.t.Errorf("track of a job that nobody checked: %v", err)
		}
		if seen[s.ID] {
			w.t.Errorf("track: %s is there twice", s.ID)
		}
		ids[i], seen[s.ID] = s.ID, true
		if _, known := w.jobs[s.ID]; known {
			continue
		}
		fresh[i] = true
		at := job.At(w.clock) + job.Instant(len(w.jobs))
		w.jobs[s.ID] = job.Job{
			Tenant: tenant, ID: s.ID, State: job.Watching, Source: source, Labels: s.Labels, Destinations: s.Destinations, Group: s.Group,
			TrackedAt: at, DeadlineAt: at.Add(cmp.Or(s.Deadline, time.Hour)), History: []job.Change{{At: at, Kind: job.KindTracked}},
		}
		w.live[s.ID] = job.Watch{ID: s.ID, TrackedAt: at, NextPollAt: at, DeadlineAt: at.Add(time.Hour)}
	}
	w.tracked = append(w.tracked, ids)
	return fresh, nil
}

func (w *world) Untrack(_ context.Context, id job.ID) error {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return err
	}
	j, ok := w.jobs[id]
	switch {
	case !ok:
		return fmt.Errorf("untrack: %w", job.ErrNotFound)
	case j.State == job.Finished:
		return fmt.Errorf("untrack: %w", job.ErrConflict)
	}
	delete(w.jobs, id)
	delete(w.live, id)
	for _, c := range w.ended[id] {
		close(c)
	}
	delete(w.ended, id)
	return nil
}

func (w *world) PollNow(_ context.Context, id job.ID) error {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return err
	}
	watch, ok := w.live[id]
	if !ok {
		return fmt.Errorf("poll now: %w", job.ErrNotFound)
	}
	watch.NextPollAt = job.At(w.clock)
	w.live[id] = watch
	w.asked = append(w.asked, id)
	return nil
}

func (w *world) Live(id job.ID) (job.Watch, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	watch, ok := w.live[id]
	return watch, ok
}

func (w *world) Explain(id job.ID) (job.Explanation, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	watch, ok := w.live[id]
	return job.Explanation{ID: id, State: job.Watching, Status: watch.Status, NextPollAt: watch.NextPollAt, Why: "just tracked"}, ok
}

func (w *world) Notices(after uint64, limit int) (notices []job.Notice, newest uint64, gap bool, more <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.more == nil {
		w.more = make(chan struct{})
	}
	newest = uint64(len(w.notices))
	if after > newest || after < w.forgotten {
		return nil, newest, true, w.more
	}
	rest := w.notices[after:]
	return rest[:min(limit, len(rest))], newest, false, w.more
}

// happens tells whoever looks on.
func (w *world) happens(kind string, ids ...job.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		w.notices = append(w.notices, job.Notice{N: uint64(len(w.notices) + 1), At: job.At(w.clock), Kind: kind, ID: id})
	}
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
}

func (w *world) Budget() job.BudgetView {
	share := 0.5
	return job.BudgetView{Tenant: tenant, Share: &share, Windows: []job.BudgetWindowView{{
		Window: "1m", Limit: 2500, Used: 100, Left: 2400, Ours: 1250, Spent: 40, ResetsAt: job.At(w.clock), NextAt: job.At(w.clock),
	}}}
}

func (w *world) Ended(id job.ID) (<-chan struct{}, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{})
	w.ended[id] = append(w.ended[id], c)
	w.waiting++
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waiting--
		w.ended[id] = slices.DeleteFunc(w.ended[id], func(one chan struct{}) bool { return one == c })
	}
}

func (w *world) Beat() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.beat
}

func (w *world) Health() job.UpstreamHealth {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.health
}

func (w *world) Views(context.Context) ([]job.DestinationView, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return w.destinations, nil
}

func (w *world) destination(name string) (int, error) {
	i := slices.IndexFunc(w.destinations, func(d job.DestinationView) bool { return d.Name == name })
	if i < 0 {
		return 0, fmt.Errorf("destination %s: %w", name, job.ErrNotFound)
	}
	return i, nil
}

func (w *world) hold(name string, paused bool) error {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return err
	}
	i, err := w.destination(name)
	if err == nil {
		w.destinations[i].Paused = paused
	}
	return err
}

func (w *world) Pause(_ context.Context, name string) error  { return w.hold(name, true) }
func (w *world) Resume(_ context.Context, name string) error { return w.hold(name, false) }

func (w *world) Test(_ context.Context, name string) (job.Attempt, error) {
	err := w.enter()
	defer w.mu.Unlock()
	if err != nil {
		return job.Attempt{}, err
	}
	if _, err := w.destination(name); err != nil {
		return job.Attempt{}, err
	}
	a := job.Attempt{N: 1, At: job.At(w.clock), Took: 42 * time.Millisecond, Code: 200, Answer: "ok", Key: "k1"}
	if name == "slack" {
		a.Code, a.Reason, a.Answer = 404, job.ReasonNotFound, "no_service"
	}
	return a, nil
}

func (w *world) Wake(destinations ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(destinations) == 0 {
		destinations = []string{"*"}
	}
	w.woken = append(w.woken, destinations...)
}

func (w *world) ExplainRoute(job.Job) []job.RouteReason {
	return []job.RouteReason{
		{Destination: "loader", Matches: true, On: []string{"completed", "failed"}, Why: "matches every job"},
		{Destination: "slack", Why: `label team is not "finance"`},
	}
}
