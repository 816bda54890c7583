package watcher

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// look is one poll from due to decided: ask, decide, and back into the queue
// when there is nothing to store, which costs no write.
func (w *Watcher) look(ctx context.Context, t ticket, p pass, sent time.Time) {
	w.o.Metrics.PollLag(sent.Sub(t.watch.NextPollAt.Time()))
	seen, err := w.ask(ctx, t.watch.ID)
	at := w.o.Now()
	if err != nil && ctx.Err() != nil {
		// We broke it off ourselves: the drain's limit, or a lost claim. Either
		// way nobody will look at this queue again.
		w.gate.abandon(p, at)
		return
	}
	d := Decide(t.watch, seen, err, at, w.o.Policy)
	w.o.Metrics.Poll("get", d.Fault.Reason, at)
	w.judge(p, d.Fault, err, at)
	if d.Unknown {
		w.unknown(t.watch.ID, d.Watch.Status)
	}
	if ce := w.o.Log.Check(zap.DebugLevel, "look"); ce != nil {
		ce.Write(zap.Stringer("job_id", t.watch.ID), zap.String("status", string(d.Watch.Status)),
			zap.String("reason", string(d.Fault.Reason)), zap.Duration("took", at.Sub(sent)),
			zap.Stringer("next_at", d.Watch.NextPollAt), zap.Error(err))
	}
	if !d.Save() {
		w.queue.requeue(t, &d.Watch)
		return
	}
	kept := seen // only here, so that an unchanged look allocates nothing
	w.settle(ctx, t, &d, &kept, err == nil, at)
}

// settle hands what a look changed to the committer. Until it is stored the job
// is out of the queue: nothing can be announced before anyway.
func (w *Watcher) settle(ctx context.Context, t ticket, d *Decision, seen *job.Observation, answered bool, at time.Time) {
	parked := d.Watch
	parked.NextPollAt, parked.Cause = t.watch.NextPollAt, job.CauseUncommitted
	if d.Outcome == job.Undecided {
		parked.Cause = d.Watch.Cause
	}
	if !w.queue.park(t, &parked) {
		return // untracked meanwhile
	}
	c := &change{ticket: t, decision: *d, update: updateOf(w.o.Tenant, t.watch, d, at)}
	if answered {
		c.update.Seen = seen
		c.serverTime = seen.ServerTime
		if delay, known := detectionDelay(&t.watch, d, seen, at); known {
			c.update.Delay = &delay
		}
	}
	w.commits.hand(ctx, c)
}

// ask makes the request. A panic in it is that look's fault and nobody else's.
func (w *Watcher) ask(ctx context.Context, id job.ID) (seen job.Observation, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = w.recovered("look", r)
		}
	}()
	seen, err = w.o.Upstream.Get(ctx, id)
	if err == nil && seen.ID != id && seen.ID != (job.ID{}) {
		return job.Observation{}, &faultError{job.ReasonMalformed, fmt.Errorf("asked for %s, was told of %s", id, seen.ID)}
	}
	return seen, err
}

// recovered turns a panic into an error, counted and with its stack in the log.
func (w *Watcher) recovered(loop string, r any) error {
	w.o.Metrics.Panicked(loop)
	err := fmt.Errorf("panic: %v", r)
	w.o.Log.Error(loop+": recovered from a panic", zap.Error(fmt.Errorf("%w\n%s", err, debug.Stack())))
	return &faultError{job.ReasonInternal, err}
}

// faultError is a [Fault] that we found ourselves.
type faultError struct {
	reason job.Reason
	err    error
}

func (f *faultError) Error() string                  { return f.err.Error() }
func (f *faultError) Unwrap() error                  { return f.err }
func (f *faultError) FaultReason() job.Reason        { return f.reason }
func (f *faultError) FaultRetryAfter() time.Duration { return 0 }
func (f *faultError) FaultTenantWide() bool          { return false }

// judge tells the gate what became of a request, and a person when the gate
// shuts or opens: once an episode, whatever its length.
func (w *Watcher) judge(p pass, f Failing, err error, at time.Time) {
	t := w.gate.report(p, f, at)
	switch {
	case t.opened:
		n := w.queue.backlog(job.At(at))
		w.gate.pace(n, w.o.Policy.spreadWindow(n), at)
		w.o.Log.Warn(fmt.Sprintf("upstream: recovered after %d failed requests", t.faults),
			zap.String("reason", string(t.reason)), zap.Duration("took", t.took))
		w.queue.rest()
	case t.shut && t.human:
		w.o.Log.Error("upstream: the credentials do not work; check them, they are tried again slowly",
			zap.String("reason", string(t.reason)), zap.Time("next_at", t.until), zap.Error(err))
	case t.shut:
		w.o.Log.Warn("upstream: all requests wait",
			zap.String("reason", string(t.reason)), zap.Time("next_at", t.until), zap.Error(err))
	case p.probe:
		w.queue.rest()
	}
}

// unknown counts a status that Zuora does not document and logs it once.
func (w *Watcher) unknown(id job.ID, s job.Status) {
	w.o.Metrics.UnknownStatus()
	if w.queue.learn(s) {
		w.o.Log.Warn("unknown status: kept, and watched on", zap.Stringer("job_id", id), zap.String("status", string(s)))
	}
}

// Health is what the last looks told about the upstream as a whole.
func (w *Watcher) Health() job.UpstreamHealth { return w.gate.health() }
