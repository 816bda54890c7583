package watcher

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Decision is what one look means for one job: either an outcome, or a next
// time with its cause.
type Decision struct {
	// Watch is what is known of the job from now on. Its NextPollAt is zero when
	// watching has ended.
	Watch job.Watch
	// Outcome ends watching, at FinishedAt; Undecided goes on.
	Outcome    job.Outcome
	FinishedAt job.Instant
	// Changed: the status is another one than before. Overdue: the job became
	// overdue with this look, which is to be announced.
	Changed bool
	Overdue bool
	// Warned: it will very likely become overdue, which is to be announced.
	Warned bool
	// Took is how long the run took, when it ended and its start is known.
	Took time.Duration
	// Unknown: the look showed a status that Zuora does not document.
	Unknown bool
	// Fault is why the look failed.
	Fault Failing
}

// Failing is an error in the terms that retry, gate, log and metric share.
type Failing struct {
	Reason job.Reason // NoReason: the look succeeded
	// Hint is how long the answer asked us to wait, capped at a day.
	Hint time.Duration
	// TenantWide: it means the tenant and says nothing about the job.
	TenantWide bool
}

// Save reports whether there is anything to store: an unchanged answer and a
// failed look cost no write.
func (d *Decision) Save() bool {
	return d.Outcome != job.Undecided || d.Changed || d.Overdue || d.Warned
}

// lostAnswers is how many 403s or 404s in a row it takes at least to believe
// them, and how many failed looks to give up a job whose time is over: after a
// long absence of ours one refused look is no reason to forget a job that may
// well have ended.
const lostAnswers = 3

// Decide says what one look means for one job: what was seen when err is nil,
// otherwise only that the look failed. It has no clock, no I/O and no
// randomness but p.Jitter.
//
// A failed look never changes what is known of a job. It can end watching in
// two ways only: as lost, when the job has been denied for long enough, and as
// abandoned, when its time is over.
func Decide(w job.Watch, seen job.Observation, err error, at time.Time, p Policy) Decision {
	if w.Polls < math.MaxInt32 {
		w.Polls++
	}
	if err != nil {
		return decideFailed(w, classify(err), at, &p)
	}
	now := job.At(at)
	d := Decision{}
	w.Failures, w.Reason, w.Denied, w.DeniedSince = 0, 0, 0, 0
	status := seen.Status
	if status != job.Unseen && !status.Known() {
		status = job.ParseStatus(string(status))
		d.Unknown = !status.Known()
	}
	if status != job.Unseen && status != w.Status {
		w.Status, w.StatusSince, d.Changed = status, now, true
	}
	if outcome := status.Outcome(); outcome != job.Undecided {
		d.Took = took(&w, &seen, at)
		shape(&w, &seen)
		return d.end(w, outcome, endedAt(&seen, at))
	}
	began(&w, &seen, at)
	if due(w.AbandonAt, now) {
		return d.end(w, job.OutcomeAbandoned, now)
	}
	if !w.Overdue && due(w.DeadlineAt, now) {
		w.Overdue, d.Overdue = true, true
	}

	history := p.history(w.Shape)
	d.foresee(&w, history, at, &p)
	limit, marks := p.MaxInterval, [...]job.Instant{w.AbandonAt, w.DeadlineAt}
	w.Cause = job.CauseBackoff
	if w.Overdue {
		limit, marks[1], w.Cause = p.OverdueInterval, 0, job.CauseOverdue
	}
	interval := grow(time.Duration(w.IntervalMS)*time.Millisecond, p.InitialInterval, limit, p.Multiplier)
	wait := p.wait(interval, limit, p.Randomization, 0)
	if planned, ok := history.Next(at.Sub(w.StartedAt.Time())); ok && !w.Overdue {
		// No jitter: the runs' own times spread the looks.
		interval, w.Cause = max(planned, p.MinInterval), job.CauseHistory
		wait = interval
	}
	w.IntervalMS = int32(max(interval.Milliseconds(), 1))
	next, mark := place(at, wait, 0, marks[:]...)
	if mark >= 0 {
		w.Cause = job.CauseDeadline
	}
	w.NextPollAt = next
	d.Watch = w
	return d
}

// decideFailed is Decide for a look that failed.
func decideFailed(w job.Watch, f Failing, at time.Time, p *Policy) Decision {
	now := job.At(at)
	d := Decision{Fault: f}
	if w.Failures < math.MaxUint16 {
		w.Failures++
	}
	w.Reason = reasonIndex(f.Reason)
	w.Cause = job.CauseFailed
	// What the whole tenant is refused says nothing about this job. Other faults
	// neither lengthen nor break a run of denials: they tell nothing either.
	denied := !f.TenantWide && (f.Reason == job.ReasonForbidden || f.Reason == job.ReasonNotFound)
	var believedAt job.Instant
	if denied {
		w.Cause = job.CauseDenied
		if w.Denied == 0 {
			w.DeniedSince = now
		}
		if w.Denied < math.MaxUint16 {
			w.Denied++
		}
		believedAt = w.DeniedSince.Add(p.LostAfter)
		if w.Denied >= lostAnswers && now >= believedAt {
			return d.end(w, job.OutcomeLost, now)
		}
	}
	if f.TenantWide {
		w.Cause = job.CauseTenant
	}
	if due(w.AbandonAt, now) && w.Failures >= lostAnswers {
		return d.end(w, job.OutcomeAbandoned, now)
	}
	marks := [...]job.Instant{w.AbandonAt, w.DeadlineAt, believedAt}
	if w.Overdue {
		marks[1] = 0
	}
	wait := p.wait(p.afterFailures(w.Failures), p.FailedMaxInterval, failedRandomization, f.Hint)
	w.NextPollAt, _ = place(at, wait, f.Hint, marks[:]...)
	d.Watch = w
	return d
}

// end finishes the decision with an outcome.
func (d *Decision) end(w job.Watch, o job.Outcome, finishedAt job.Instant) Decision {
	w.NextPollAt = 0
	d.Watch, d.Outcome, d.FinishedAt = w, o, finishedAt
	return *d
}

// due reports whether an instant that is set has come.
func due(mark, now job.Instant) bool { return mark != 0 && now >= mark }

// maxAhead is how far Zuora's updatedOn may lie after its own Date header
// (which has whole seconds) before we stop believing it.
const maxAhead = time.Minute

// endedAt is when the job ended, by Zuora's clock as far as it tells: updatedOn
// of the final state, or else the moment of the answer.
func endedAt(seen *job.Observation, at time.Time) job.Instant {
	clock := seen.ServerTime
	if clock.IsZero() {
		clock = at
	}
	if u := seen.UpdatedAt; u.Unix() > 0 && (seen.ServerTime.IsZero() || u.Sub(seen.ServerTime) <= maxAhead) {
		return job.At(u)
	}
	return job.At(clock)
}

// classify reads an Upstream's error. What does not say what it is counts as a
// network fault, or as a time-out when it is one.
func classify(err error) Failing {
	if fault, ok := errors.AsType[Fault](err); ok {
		f := Failing{
			Reason: fault.FaultReason(), TenantWide: fault.FaultTenantWide(),
			Hint: min(max(fault.FaultRetryAfter(), 0), maxHint),
		}
		if reasonIndex(f.Reason) == 0 {
			f.Reason = job.ReasonInternal
		}
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Failing{Reason: job.ReasonTimeout}
	}
	return Failing{Reason: job.ReasonNetwork}
}

// pollReasons gives Watch.Reason its meaning: an index plus one.
var pollReasons = job.PollReasons()

func reasonIndex(r job.Reason) uint8 {
	for i, known := range pollReasons {
		if known == r {
			return uint8(i + 1)
		}
	}
	return 0
}

// reasonOf is the reason that Watch.Reason stands for.
func reasonOf(index uint8) job.Reason {
	if index == 0 || int(index) > len(pollReasons) {
		return job.NoReason
	}
	return pollReasons[index-1]
}
