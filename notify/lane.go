package notify

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// lane serves one destination: it claims what is due, sends it with bounded
// concurrency, and has each attempt judged and settled. Lanes share nothing but
// the settler, so that a slow receiver delays nobody else.
type lane struct {
	o       *Options
	settler *settler
	owner   *Dispatcher // knows the other destinations
	dest    Destination
	sender  Sender
	limits  LaneOptions
	log     *zap.Logger
	wake    chan struct{}
	free    chan struct{} // one token for each send that may be in the air

	mu    sync.Mutex
	state job.DestinationState
	run1  time.Time // when the present run of failures began
	began job.Instant
	read  job.Instant // when state was read last
}

// Who paused a destination.
const (
	pausedByOperator = "operator"
	pausedByGone     = "gone"
	pausedByFailing  = "failing"
	pausedByRemoved  = "removed"
)

func newLane(owner *Dispatcher, d Destination, sender Sender) *lane {
	o := &owner.o
	l := &lane{
		o: o, settler: owner.settler, owner: owner, dest: d, sender: sender, wake: make(chan struct{}, 1),
		log: o.Log.With(zap.String("destination", d.Name)), state: job.DestinationState{Name: d.Name},
	}
	if wishes, ok := sender.(LaneSender); ok {
		l.limits = wishes.Lane()
	}
	if l.limits.Concurrency <= 0 {
		l.limits.Concurrency = o.Concurrency
	}
	l.limits.Batch = max(l.limits.Batch, 1)
	if l.limits.Batch > 1 {
		l.limits.Concurrency = 1
	}
	l.free = make(chan struct{}, l.limits.Concurrency)
	for range l.limits.Concurrency {
		l.free <- struct{}{}
	}
	return l
}

func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run is the lane's loop: due, act; deciding and committing happen with each send.
func (l *lane) run(soft, hard context.Context) {
	var sends sync.WaitGroup
	defer sends.Wait()
	l.mu.Lock()
	l.began = job.At(l.o.Now())
	l.mu.Unlock()
	failures := 0
	for soft.Err() == nil {
		if !l.ready(soft) {
			return
		}
		l.load(soft)
		claimed, next, err := l.claim(soft)
		wait := l.until(next)
		switch {
		case err != nil && soft.Err() != nil:
			claimed = nil
		case err != nil:
			claimed = nil // nothing is sent that is not known to be claimed
			if failures++; failures == 1 {
				l.log.Warn("claim deliveries: tried again", zap.Error(err))
			}
			wait = min(time.Second<<min(failures, 5), bound)
		default:
			failures = 0
		}
		for _, batch := range l.batches(claimed) {
			<-l.free
			sends.Go(func() {
				defer func() { l.free <- struct{}{}; l.nudge() }()
				l.deliver(hard, batch)
			})
		}
		if len(claimed) > 0 && wait == 0 {
			continue
		}
		l.sleep(soft, wait)
	}
}

// load reads what is remembered of the destination, now and then: another
// replica may have held or resumed it.
func (l *lane) load(ctx context.Context) {
	now := job.At(l.o.Now())
	l.mu.Lock()
	first := l.read == 0
	due := first || now.Sub(l.read) >= bound
	if due {
		l.read = now
	}
	l.mu.Unlock()
	if !due {
		return
	}
	states, err := l.o.Outbox.Destinations(ctx)
	if err != nil {
		return // claiming respects it all the same
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := states[l.dest.Name]; ok {
		if ours := l.state.Failures; !first || ours > s.Failures {
			s.Failures = ours // ours is newer: it is not stored each time
		}
		l.state = s
	}
}

// ready waits until a send may go out: a free place, and the pace.
func (l *lane) ready(soft context.Context) bool {
	select {
	case <-l.free:
		l.free <- struct{}{}
	case <-soft.Done():
		return false
	}
	if l.limits.Limiter == nil {
		return true
	}
	r := l.limits.Limiter.ReserveN(l.o.Now(), 1)
	wait := r.DelayFrom(l.o.Now())
	r.CancelAt(l.o.Now())
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-soft.Done():
		return false
	}
}

// claim takes as much as can be sent now. A destination that has been failing
// long enough to be held gets one delivery only, as a probe.
func (l *lane) claim(ctx context.Context) ([]job.Outgoing, job.Instant, error) {
	limit := l.limits.Batch
	if limit == 1 {
		limit = max(len(l.free), 1)
	}
	if l.failing() >= l.o.Policy.HoldAfter {
		if limit = 1; len(l.free) < cap(l.free) {
			return nil, 0, nil // a probe is out: its end wakes the lane
		}
	}
	if l.returned() {
		if err := l.change(ctx, func(s *job.DestinationState) { s.Paused, s.PausedBy, s.PausedAt = false, "", 0 }); err != nil {
			return nil, 0, err
		}
		l.log.Info("resumed: the destination is configured again")
	}
	if at, ok := l.probeAt(); ok {
		if now := job.At(l.o.Now()); now < at {
			return nil, at, nil
		}
		if err := l.change(ctx, func(s *job.DestinationState) { s.Paused, s.PausedBy, s.PausedAt = false, "", 0 }); err != nil {
			return nil, 0, err
		}
		limit = 1
	}
	return l.o.Outbox.ClaimDeliveries(ctx, l.o.Replica(), l.dest.Name, limit)
}

// probeAt is when a destination that is held for failing is tried again.
func (l *lane) probeAt() (job.Instant, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.state.Paused || l.state.PausedBy != pausedByFailing {
		return 0, false
	}
	return l.state.PausedAt.Add(l.o.Policy.ProbeEvery), true
}

func (l *lane) failing() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Failures
}

// batches groups what was claimed into messages.
func (l *lane) batches(claimed []job.Outgoing) [][]job.Outgoing {
	var all [][]job.Outgoing
	for start := 0; start < len(claimed); start += l.limits.Batch {
		all = append(all, claimed[start:min(start+l.limits.Batch, len(claimed))])
	}
	return all
}

// until is how long to sleep for the next delivery.
func (l *lane) until(next job.Instant) time.Duration {
	if next == 0 {
		return bound
	}
	return min(max(next.Sub(job.At(l.o.Now())), 0), bound)
}

func (l *lane) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(max(d, time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.wake:
	case <-ctx.Done():
	}
}

// deliver sends one message and settles the deliveries in it.
func (l *lane) deliver(hard context.Context, batch []job.Outgoing) {
	replica := l.o.Replica()
	if l.limits.Limiter != nil {
		if err := l.limits.Limiter.Wait(hard); err != nil {
			l.settler.settle(hard, replica, handedBack(batch, l.o.Now()))
			return
		}
	}
	probing := l.failing() >= l.o.Policy.HoldAfter
	attempt, failed := l.attempt(hard, batch)
	if hard.Err() != nil && failed != nil {
		// We broke it off ourselves; nobody knows whether it arrived, so it goes out
		// again under the same id. That is no failure of the receiver.
		l.settler.settle(hard, replica, handedBack(batch, l.o.Now()))
		return
	}
	now := l.o.Now()
	var retryAfter time.Duration
	if failed != nil {
		retryAfter = failed.RetryAfter
	}
	settled := make([]job.Settlement, len(batch))
	var last Verdict
	var told []string // destinations that hear of what is exhausted
	for i := range batch {
		one, tries := attempt, batch[i].Tries+1
		if probing && failed != nil {
			// A delivery must not run out because it was the one that went first.
			tries = 1
		}
		last = Judge(tries, one.Reason, retryAfter, now, l.o.Policy)
		one.NextAt = last.NextAt
		settled[i] = job.Settlement{
			DeliveryID: batch[i].ID, State: last.State, NextAttemptAt: last.NextAt, Attempt: &one, Probe: probing && failed != nil,
		}
		if last.State == job.DeliveryExhausted {
			settled[i].Event, settled[i].Destinations = l.owner.exhausted(&batch[i], &one, now)
			told = append(told, settled[i].Destinations...)
		}
		l.count(&batch[i], &one, last, now)
	}
	l.remember(hard, attempt.Reason, last, failed)
	l.settler.settle(hard, replica, settled)
	if len(told) > 0 {
		l.owner.Wake(told...)
	}
}

// attempt makes one try; a panic in a sender is that try's failure.
func (l *lane) attempt(ctx context.Context, batch []job.Outgoing) (a job.Attempt, failed *SendError) {
	ctx, cancel := context.WithTimeout(ctx, l.o.Timeout)
	defer cancel()
	began := l.o.Now()
	answer, err := l.send(ctx, batch)
	a = job.Attempt{
		At: job.At(began), Took: l.o.Now().Sub(began), Code: answer.Code, Answer: answer.Head, Key: answer.Key,
	}
	if answer.Note != "" {
		l.log.Warn(answer.Note, zap.String("event_id", batch[0].EventID))
		a.Answer = job.Cut(strings.TrimSpace(a.Answer+" ["+answer.Note+"]"), maxAnswer)
	}
	if err == nil {
		return a, nil
	}
	if !errors.As(err, &failed) {
		failed = &SendError{Reason: ClassifyError(err), Err: err}
	}
	a.Reason = failed.Reason
	if a.Answer == "" && failed.Err != nil {
		a.Answer = job.Cut(failed.Err.Error(), maxAnswer)
	}
	return a, failed
}

// maxAnswer bounds what is kept of an answer or of the error in its place.
const maxAnswer = 512

func (l *lane) send(ctx context.Context, batch []job.Outgoing) (answer Answer, err error) {
	defer func() {
		if r := recover(); r != nil {
			l.o.Metrics.Panicked("send")
			err = &SendError{Reason: job.ReasonInternal, Err: fmt.Errorf("panic: %v", r)}
			l.log.Error("recovered", zap.String("name", "send"), zap.Error(fmt.Errorf("panic: %v\n%s", r, debug.Stack())))
		}
	}()
	return l.sender.Send(ctx, batch)
}

// count tells metrics and log what became of one delivery.
func (l *lane) count(o *job.Outgoing, a *job.Attempt, v Verdict, now time.Time) {
	l.o.Metrics.Attempt(l.dest.Name, a.Reason)
	log := l.log.With(zap.String("delivery_id", o.ID), zap.String("event_id", o.EventID), zap.Int("attempt", o.Tries+1),
		zap.Duration("took", a.Took))
	if o.JobID != (job.ID{}) {
		log = log.With(zap.Stringer("job_id", o.JobID))
	}
	switch v.State {
	case job.DeliveryDelivered:
		end := time.Duration(-1)
		if o.Event.Time != 0 {
			end = max(now.Sub(o.Event.Time.Time()), 0)
		}
		l.o.Metrics.Delivered(l.dest.Name, now.Sub(o.CreatedAt.Time()), end)
		log.Info("delivered")
	case job.DeliveryExhausted:
		l.o.Metrics.Exhausted(l.dest.Name)
		log.Error("exhausted: given up after the last attempt, kept for replay", zap.String("reason", string(a.Reason)), zap.String("error", a.Answer))
	case job.DeliveryPending, job.DeliveryHeld, job.DeliverySending:
		log.Debug("attempt failed", zap.String("reason", string(a.Reason)), zap.Stringer("next_at", v.NextAt))
	}
}

// remember keeps what an attempt tells about the destination as a whole.
func (l *lane) remember(ctx context.Context, reason job.Reason, v Verdict, failed *SendError) {
	now := l.o.Now()
	if reason == job.NoReason {
		l.recovered(ctx, now)
		return
	}
	if v.Clamped {
		l.log.Warn(fmt.Sprintf("the destination asks to wait %s, which is longer than we obey", failed.RetryAfter), zap.String("reason", string(reason)), zap.Stringer("next_at", v.NotBefore))
	}
	l.mu.Lock()
	l.state.Failures++
	n := l.state.Failures
	if n == 1 {
		l.run1 = now
	}
	failing := n >= l.o.Policy.HoldAfter && now.Sub(l.run1) >= l.o.Policy.HoldSpan
	l.mu.Unlock()
	if n == 1 {
		l.log.Warn("attempt failed: tried again", zap.String("reason", string(reason)), zap.Error(failed))
	}
	if !v.Gone && !failing && v.NotBefore == 0 {
		return
	}
	err := l.change(context.WithoutCancel(ctx), func(s *job.DestinationState) {
		s.NotBefore = max(s.NotBefore, v.NotBefore)
		switch {
		case v.Gone:
			s.Paused, s.PausedBy, s.PausedAt = true, pausedByGone, job.At(now)
		case failing:
			s.Paused, s.PausedBy, s.PausedAt = true, pausedByFailing, job.At(now)
		}
	})
	switch {
	case err != nil:
		l.log.Error("remember destination", zap.Error(err))
	case v.Gone:
		l.log.Error("paused: the receiver says that it is gone (410); its deliveries are held", zap.String("reason", string(reason)))
	case failing:
		l.log.Error("held: too many failures in a row; probed now and then", zap.String("reason", string(reason)), zap.Int("count", n))
	}
}

// recovered ends a run of failures.
func (l *lane) recovered(ctx context.Context, now time.Time) {
	l.mu.Lock()
	n, began := l.state.Failures, l.run1
	l.mu.Unlock()
	if n == 0 {
		return
	}
	if err := l.change(context.WithoutCancel(ctx), func(s *job.DestinationState) { s.Failures, s.NotBefore = 0, 0 }); err != nil {
		l.log.Error("remember destination", zap.Error(err))
		return
	}
	l.log.Warn(fmt.Sprintf("recovered after %d failed attempts", n), zap.Duration("took", now.Sub(began)))
}

// change alters what is remembered of the destination, here and in the store.
func (l *lane) change(ctx context.Context, f func(*job.DestinationState)) error {
	l.mu.Lock()
	next := l.state
	l.mu.Unlock()
	if states, err := l.o.Outbox.Destinations(ctx); err != nil {
		return fmt.Errorf("read destination: %w", err)
	} else if s, ok := states[l.dest.Name]; ok {
		failures := next.Failures // ours is newer: it is not stored each time
		next = s
		next.Failures = max(failures, 0)
	}
	f(&next)
	if err := l.o.Outbox.SetDestination(ctx, next); err != nil {
		return fmt.Errorf("store destination: %w", err)
	}
	l.mu.Lock()
	l.state = next
	l.mu.Unlock()
	l.nudge()
	return nil
}

// handedBack makes deliveries pending again that were not tried.
func handedBack(batch []job.Outgoing, now time.Time) []job.Settlement {
	settled := make([]job.Settlement, len(batch))
	for i := range batch {
		settled[i] = job.Settlement{DeliveryID: batch[i].ID, State: job.DeliveryPending, NextAttemptAt: job.At(now)}
	}
	return settled
}
