package watcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// change is one look's result on its way into the store.
type change struct {
	ticket   ticket
	decision Decision
	update   job.Update
	// serverTime is Zuora's clock at the look.
	serverTime time.Time
	// event is the update's event before it has been built for the first time;
	// built says that it has.
	built bool
	job   job.Job
	// tries counts failed commits; again is when the next one may be made, for a
	// change that failed while others of its batch did not.
	tries int
	again time.Time
}

// weight is what a change may keep in memory while the store is away.
func (c *change) weight() int {
	n := 1024
	if s := c.update.Seen; s != nil {
		n += len(s.Query) + len(s.Error)
	}
	return n
}

const (
	// maxBatch is how many changes go into one transaction. Measured for
	// performance.md: past some hundred rows a commit's cost no longer shows.
	maxBatch = 500
	// maxWaiting bounds what waits for a store that is away; then workers wait
	// too, since what they would find could not be kept.
	maxWaiting    = 64 << 20
	commitTimeout = 30 * time.Second
	commitLeast   = 100 * time.Millisecond
	commitMost    = 5 * time.Second
	// aWhile is how long the store may be away before a human must know.
	aWhile = time.Minute
)

// committer takes changes from the workers and stores all that wait in one
// transaction, so that many jobs that end together cost few commits. A commit
// that failed is made again from memory: Zuora is not asked twice.
type committer struct {
	w    *Watcher
	more chan struct{}

	mu      sync.Mutex
	waiting []*change
	weight  int           // of these and of the batch under way
	room    chan struct{} // closed when something has left
	closed  bool

	// Touched by run alone.
	batch    int // how many at a time; halves while commits fail
	failures int
	since    time.Time
	again    time.Time
	loud     bool
}

func newCommitter(w *Watcher) *committer {
	return &committer{w: w, more: make(chan struct{}, 1), room: make(chan struct{})}
}

// begin opens the committer for a session.
func (c *committer) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.batch, c.failures, c.again, c.loud = false, maxBatch, 0, time.Time{}, false
}

// hand gives a change to the committer; it waits while too much waits already.
func (c *committer) hand(ctx context.Context, ch *change) {
	for {
		c.mu.Lock()
		if c.weight < maxWaiting {
			c.waiting = append(c.waiting, ch)
			c.weight += ch.weight()
			c.mu.Unlock()
			c.nudge()
			return
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return // stays watched in the store; the next start looks again
		}
	}
}

func (c *committer) nudge() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// close says that nothing more comes: run ends when all is stored.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.nudge()
}

// clear drops everything: the claim under which it was found has ended.
func (c *committer) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting, c.weight = nil, 0
	close(c.room)
	c.room = make(chan struct{})
}

// run stores until it is closed and empty, or ctx ends.
func (c *committer) run(ctx context.Context) {
	for ctx.Err() == nil {
		batch, wait, done := c.next()
		if done {
			return
		}
		if len(batch) > 0 {
			c.store(ctx, batch)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-c.more:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// next takes the changes that may be tried now, or says how long to wait.
func (c *committer) next() (batch []*change, wait time.Duration, done bool) {
	now := c.w.o.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed && len(c.waiting) == 0 {
		return nil, 0, true
	}
	if now.Before(c.again) {
		return nil, c.again.Sub(now), false
	}
	wait = time.Hour
	var kept []*change
	for i, ch := range c.waiting {
		if len(batch) == c.batch {
			kept = append(kept, c.waiting[i:]...)
			break
		}
		if now.Before(ch.again) {
			wait = min(wait, ch.again.Sub(now))
			kept = append(kept, ch)
			continue
		}
		batch = append(batch, ch)
	}
	c.waiting = kept
	return batch, wait, false
}

// settle takes a batch's weight off; what was put back has been added again.
func (c *committer) settle(batch []*change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range batch {
		c.weight -= ch.weight()
	}
	close(c.room)
	c.room = make(chan struct{})
}

// store commits one batch and settles each change of it.
func (c *committer) store(ctx context.Context, batch []*change) {
	defer c.settle(batch)
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	replica := c.w.Replica()
	batch, err := c.prepare(ctx, batch)
	if len(batch) == 0 {
		return
	}
	var results []error
	if err == nil {
		updates := make([]job.Update, len(batch))
		for i, ch := range batch {
			updates[i] = ch.update
		}
		results, err = c.w.o.Store.Commit(ctx, replica, updates)
		if err == nil && len(results) != len(batch) {
			err = fmt.Errorf("commit: %d results for %d updates: %w", len(results), len(batch), job.ErrConflict)
		}
	}
	switch {
	case errors.Is(err, job.ErrOwnerLost):
		c.w.claim.lose(replica)
		return
	case err != nil:
		c.failed(batch, err)
		return
	}
	c.succeeded()
	var again []*change
	var woken []string
	for i, ch := range batch {
		if c.w.stored(ch, results[i]) {
			again = append(again, ch)
		} else if results[i] == nil {
			woken = append(append(woken, ch.update.Destinations...), ch.update.GroupDestinations...)
		}
	}
	c.putBack(again)
	if len(woken) > 0 {
		c.w.o.Wake(distinct(woken)...)
	}
}

// failed keeps the batch for another try. It goes to the back and is halved, so
// that one change which the store cannot take ends up alone and stops no other.
func (c *committer) failed(batch []*change, err error) {
	now := c.w.o.Now()
	if c.failures == 0 {
		c.since = now
		c.w.o.Log.Warn("commit: the store did not take it; kept in memory and tried again", zap.Error(err))
	}
	c.failures++
	if !c.loud && now.Sub(c.since) >= aWhile {
		c.loud = true
		c.w.o.Log.Error("commit: the store has been away for a while; ended jobs wait in memory", zap.Error(err))
	}
	c.again = now.Add(c.w.retry(c.failures))
	c.batch = max(1, min(c.batch, len(batch))/2)
	for _, ch := range batch {
		ch.tries++
	}
	c.putBack(batch)
}

func (c *committer) succeeded() {
	if c.failures > 0 {
		c.w.o.Log.Warn(fmt.Sprintf("commit: recovered after %d failed tries", c.failures), zap.Duration("took", c.w.o.Now().Sub(c.since)))
	}
	c.failures, c.loud, c.again = 0, false, time.Time{}
	c.batch = min(c.batch*2, maxBatch)
}

func (c *committer) putBack(changes []*change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, changes...)
	for _, ch := range changes {
		c.weight += ch.weight()
	}
}

// retry is the wait after the n-th failure of the store.
func (w *Watcher) retry(n int) time.Duration {
	wait := commitLeast << min(n-1, 10)
	wait = min(wait, commitMost)
	return wait/2 + time.Duration(float64(wait)/2*w.o.Policy.Jitter())
}

// stored settles one change by the store's answer; again asks for another try.
func (w *Watcher) stored(c *change, result error) (again bool) {
	id := zap.Stringer("job_id", c.update.ID)
	switch {
	case result == nil:
		w.landed(c)
		return false
	case errors.Is(result, job.ErrNotFound):
		// Untracked meanwhile: nothing is announced.
		w.queue.finish(c.ticket)
		w.ends.close(c.update.ID)
		return false
	case errors.Is(result, job.ErrConflict):
		w.o.Log.Warn("another replica watches this job now", id, zap.Error(result))
		w.queue.finish(c.ticket)
		return false
	}
	if c.tries == 0 {
		w.o.Log.Error("commit: the store refuses this job; kept in memory and tried again", id, zap.Error(result))
	}
	c.tries++
	c.again = w.o.Now().Add(w.retry(c.tries))
	return true
}

// landed is what follows once a change is durable.
func (w *Watcher) landed(c *change) {
	d := &c.decision
	fields := []zap.Field{zap.Stringer("job_id", c.update.ID), zap.String("status", string(d.Watch.Status))}
	if c.update.Event != nil {
		fields = append(fields, zap.String("event_id", c.update.Event.ID))
	}
	if d.Outcome == job.Undecided {
		w.queue.requeue(c.ticket, &d.Watch)
		if d.Changed {
			w.happened(c.update.At, job.KindStatus, c.update.ID)
		}
		if d.Overdue {
			w.happened(c.update.At, job.KindOverdue, c.update.ID)
			w.o.Log.Info("job overdue", fields...)
		}
		if d.Warned {
			w.happened(c.update.At, job.KindWarned, c.update.ID)
			w.o.Log.Info("job will likely become overdue", fields...)
		}
		return
	}
	w.queue.finish(c.ticket)
	w.histories.ended(c.update.Shape)
	w.ends.close(c.update.ID)
	w.happened(c.update.At, job.KindFinished, c.update.ID)
	w.o.Metrics.JobFinished(&c.job)
	if c.update.Delay != nil {
		w.o.Metrics.Detected(*c.update.Delay)
	}
	w.o.Log.Info("job finished", append(fields, zap.String("outcome", string(d.Outcome)))...)
}
