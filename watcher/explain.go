package watcher

import (
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Explain says why the next look at a job is when it is; false when the job is
// not watched here.
func (w *Watcher) Explain(id job.ID) (job.Explanation, bool) {
	watch, p, hidden, ok := w.queue.get(id)
	if !ok {
		return job.Explanation{}, false
	}
	waits := w.gate.waits()
	e := job.Explanation{
		ID: id, State: job.Watching, Status: watch.Status, NextPollAt: watch.NextPollAt,
		Interval: float64(watch.IntervalMS) / 1000, Polls: int64(watch.Polls), Failures: int(watch.Failures),
		LastReason: reasonOf(watch.Reason), TenantWait: job.At(waits),
		DeadlineAt: watch.DeadlineAt, AbandonAt: watch.AbandonAt, Destinations: []job.RouteReason{},
	}
	switch {
	case p == looking:
		e.Why = "a look is under way"
	case p == committing && watch.Cause == job.CauseUncommitted:
		e.Why = "the job has ended, and waits for the store to take it"
	case p == committing:
		e.Why = "the last look brought a change that waits for the store to take it"
	default:
		e.Why = w.why(&watch) + "; " + w.sweeps.why(hidden, w.o.Now())
		if e.TenantWait > watch.NextPollAt {
			e.Why += fmt.Sprintf("; all requests to the tenant wait until %s (%s)", e.TenantWait, w.gate.health().Reason)
		}
		if now := w.o.Now(); w.budget.opens(now).After(now) {
			e.Why += fmt.Sprintf("; the tenant's budget lets the next request out at %s", job.At(w.budget.opens(now)))
		}
	}
	return e, true
}

// why is the sentence of a cause, for a job in the queue.
func (w *Watcher) why(watch *job.Watch) string {
	p, interval := &w.o.Policy, time.Duration(watch.IntervalMS)*time.Millisecond
	switch watch.Cause {
	case job.CauseTracked:
		return "just tracked: looked at as soon as a worker is free; many jobs tracked together are spread"
	case job.CauseRestart:
		return "taken over after a start: what is due is spread, so that the tenant is not met by all at once"
	case job.CauseHistory:
		h := p.history(watch.Shape)
		return fmt.Sprintf("not ended yet: by %d past runs of queries like it the next look pays %s after the last; another call would have to save %s of mean delay",
			h.Runs(), interval.Round(time.Millisecond), h.Price().Round(time.Millisecond))
	case job.CauseBackoff:
		return fmt.Sprintf("not ended yet: looks grow %g times apart, from %s up to %s, and are %s apart now",
			p.Multiplier, p.InitialInterval, p.MaxInterval, interval)
	case job.CauseDeadline:
		return "not ended yet: the next look is placed exactly on the job's deadline"
	case job.CauseOverdue:
		return fmt.Sprintf("overdue, and watched on slowly: looks are %s apart now, and %s at most", interval, p.OverdueInterval)
	case job.CauseFailed:
		return fmt.Sprintf("the last look failed (%s, %d in a row) and told nothing about the job: tried again with a backoff of its own",
			reasonOf(watch.Reason), watch.Failures)
	case job.CauseDenied:
		return fmt.Sprintf("Zuora says %s, %d times since %s: believed when it lasts %s and has been said %d times",
			reasonOf(watch.Reason), watch.Denied, watch.DeniedSince, p.LostAfter, lostAnswers)
	case job.CauseTenant:
		return fmt.Sprintf("the last answer (%s) was meant for the tenant as a whole, which waits", reasonOf(watch.Reason))
	case job.CauseAsked:
		return "somebody asked for a look now"
	case job.CauseUncommitted:
		return "ended, but the store has not taken it yet"
	}
	return "unknown"
}
