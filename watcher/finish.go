package watcher

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// updateOf is what the store is told about a decision that is worth storing,
// all but the event.
func updateOf(tenant string, before job.Watch, d *Decision, at time.Time) job.Update {
	now := job.At(at)
	u := job.Update{
		Tenant: tenant, ID: before.ID, At: now,
		Status: d.Watch.Status, StatusSince: d.Watch.StatusSince,
		Outcome: d.Outcome, FinishedAt: d.FinishedAt, Overdue: d.Watch.Overdue,
		NextPollAt: d.Watch.NextPollAt, Interval: time.Duration(d.Watch.IntervalMS) * time.Millisecond,
		Polls: int64(d.Watch.Polls), Warned: d.Watch.Warned,
		Shape: d.Watch.Shape, StartedAt: d.Watch.StartedAt, Took: d.Took,
	}
	entry := job.Change{At: now, Status: u.Status, Polls: u.Polls}
	if d.Outcome != job.Undecided {
		entry.Kind, entry.Outcome = job.KindFinished, d.Outcome
		u.History = append(u.History, entry)
		return u
	}
	if d.Changed {
		entry.Kind = job.KindStatus
		u.History = append(u.History, entry)
	}
	if d.Overdue {
		entry.Kind = job.KindOverdue
		u.History = append(u.History, entry)
	}
	if d.Warned {
		entry.Kind = job.KindWarned
		u.History = append(u.History, entry)
	}
	return u
}

// prepare drops changes whose job is no longer ours, and builds the events of
// those that announce something. A change that had been tried before is looked
// up as well, because a commit that failed may have been stored all the same:
// then it is settled here and not written again.
func (c *committer) prepare(ctx context.Context, batch []*change) ([]*change, error) {
	var ids []job.ID
	ours := make([]*change, 0, len(batch))
	for _, ch := range batch {
		if !c.w.queue.good(ch.ticket) {
			continue
		}
		ours = append(ours, ch)
		if ch.tries > 0 || ch.unbuilt() {
			ids = append(ids, ch.update.ID)
		}
	}
	if len(ids) == 0 {
		return ours, nil
	}
	jobs, err := c.w.o.Store.Jobs(ctx, c.w.o.Tenant, ids)
	if err != nil {
		return ours, fmt.Errorf("read jobs that have changed: %w", err)
	}
	c.w.unusual(ctx, ours)
	left := make([]*change, 0, len(ours))
	for i, ch := range ours {
		j, found := jobs[ch.update.ID]
		switch {
		case found && ch.tries > 0 && isStored(&j, &ch.update):
			c.w.stored(ch, nil)
			c.w.o.Wake(slices.Concat(ch.update.Destinations, ch.update.GroupDestinations)...)
		case !found && ch.unbuilt():
			// Gone, or gone and back: what is ours is read again.
			c.w.stored(ch, job.ErrNotFound)
			c.w.claim.doubt()
		case ch.unbuilt():
			if err := c.w.announce(ch, j); err != nil {
				return append(left, ours[i:]...), err
			}
			left = append(left, ch)
		default:
			left = append(left, ch)
		}
	}
	return left, nil
}

// unbuilt reports whether the change owes an event that has not been built.
func (c *change) unbuilt() bool {
	d := &c.decision
	return (d.Outcome != job.Undecided || d.Overdue || d.Warned) && !c.built
}

// isStored reports whether the store shows that an update which goes on
// watching has arrived. One that ends watching is simply committed again:
// finishing twice is finishing once.
func isStored(j *job.Job, u *job.Update) bool {
	return u.Outcome == job.Undecided &&
		j.Status == u.Status && j.StatusSince == u.StatusSince && j.Overdue == u.Overdue && j.Warned == u.Warned
}

// announce builds the event of a change, once: a commit that is repeated
// repeats the same bytes.
func (w *Watcher) announce(c *change, j job.Job) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = w.recovered("announce", r)
		}
	}()
	applied(&j, &c.update)
	kind, at := job.EventOverdue, job.At(c.serverTime)
	if c.decision.Warned {
		kind = job.EventOverdueExpected
	}
	if c.update.Outcome != job.Undecided {
		kind, at = c.update.Outcome.EventType(), c.update.FinishedAt
		j.DetectedAt = c.update.At
	}
	if at.IsZero() {
		at = c.update.At
	}
	e := job.Event{
		ID:   job.EventID(w.o.Tenant, j.ID.String(), kind),
		Type: kind, Tenant: w.o.Tenant, Subject: j.ID.String(), JobID: j.ID,
		Time: at, CreatedAt: c.update.At, Job: &j,
	}
	names := distinct(w.o.Route(e))
	// The snapshot is taken before anything is sent.
	j.Deliveries.Pending += int64(len(names))
	e.Data, err = json.Marshal(struct {
		Job job.View `json:"job"`
	}{j.View()})
	if err != nil {
		return fmt.Errorf("build event: %w", err)
	}
	c.update.KeepDataFile = c.update.Seen != nil && w.o.KeepDataFile(j)
	c.update.Event, c.update.Destinations = &e, names
	if c.update.Outcome != job.Undecided && j.Group != "" {
		// Whether this end decides the group, the store finds out when it commits.
		c.update.GroupDestinations = distinct(w.o.Route(job.Event{
			Type: job.EventGroupFinished, Tenant: w.o.Tenant, Subject: j.Group, Time: at, CreatedAt: c.update.At, Job: &j,
		}))
	}
	c.job, c.built = j, true
	return nil
}

// applied is the job as it is once the update is stored.
func applied(j *job.Job, u *job.Update) {
	j.Status, j.StatusSince, j.Overdue, j.Warned = u.Status, u.StatusSince, u.Overdue, u.Warned
	j.NextPollAt, j.Polls = u.NextPollAt, u.Polls
	if u.Outcome != job.Undecided {
		j.State, j.Outcome, j.FinishedAt, j.NextPollAt = job.Finished, u.Outcome, u.FinishedAt, 0
	}
	if s := u.Seen; s != nil {
		j.Query, j.SourceData, j.CreatedBy = s.Query, s.SourceData, s.CreatedBy
		j.OutputRows, j.ProcessingTime, j.RemainingRetries = s.OutputRows, s.ProcessingTime, s.RemainingRetries
		j.Error, j.DataFile, j.UpdatedAt = s.Error, s.DataFile, job.At(s.UpdatedAt)
		j.Shape, j.StartedAt, j.Took, j.Anomaly = u.Shape, u.StartedAt, u.Took, u.Anomaly
		j.Delay = u.Delay
	}
	j.History = append(slices.Clip(j.History), u.History...)
}

// detectionDelay is our first sight of an end minus Zuora's own time of it, both
// by Zuora's clock. There is none when Zuora did not say, or when the job had
// ended before it was tracked: then the delay is not ours. Only spans of one
// clock are compared, so that ours may be wrong.
func detectionDelay(before *job.Watch, d *Decision, seen *job.Observation, at time.Time) (time.Duration, bool) {
	if d.Outcome == job.Undecided || d.Outcome == job.OutcomeAbandoned || seen.ServerTime.IsZero() || seen.UpdatedAt.Unix() <= 0 {
		return 0, false
	}
	// The Date header has whole seconds: it can lie one second back.
	delay := max(seen.ServerTime.Sub(seen.UpdatedAt), 0)
	if delay > job.At(at).Sub(before.TrackedAt)+time.Second {
		return 0, false
	}
	return delay, true
}

func distinct[T cmp.Ordered](names []T) []T {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// endings are the callers that wait for jobs to end.
type endings struct {
	mu      sync.Mutex
	waiting map[job.ID]map[chan struct{}]struct{}
}

func newEndings() *endings { return &endings{waiting: map[job.ID]map[chan struct{}]struct{}{}} }

func (e *endings) wait(id job.ID) (<-chan struct{}, func()) {
	c := make(chan struct{})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting[id] == nil {
		e.waiting[id] = map[chan struct{}]struct{}{}
	}
	e.waiting[id][c] = struct{}{}
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.waiting[id], c)
		if len(e.waiting[id]) == 0 {
			delete(e.waiting, id)
		}
	}
}

func (e *endings) close(id job.ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.waiting[id] {
		close(c)
	}
	delete(e.waiting, id)
}

// Ended is closed when watching of the job ends here, by an outcome or because
// it is untracked. Ask for it before reading the job's state, or the end may
// fall between. Call cancel when it is no longer wanted.
func (w *Watcher) Ended(id job.ID) (ended <-chan struct{}, cancel func()) { return w.ends.wait(id) }
