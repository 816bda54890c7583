package notify

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// schedule is contract section 6: attempts at about these times after the
// first, so that the last comes a day after it. The table holds offsets, which
// operators can read; the wait after the n-th attempt is the difference.
var schedule = []time.Duration{
	0, 5 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute,
	2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// Policy is how attempts are judged. Zero values mean the defaults.
type Policy struct {
	// Schedule are the attempts' times after the first; nil means the contract's.
	Schedule []time.Duration
	// MaxRetryAfter bounds what a receiver's Retry-After can do; 0 means a day.
	MaxRetryAfter time.Duration
	// HoldAfter is how many failures in a row, HoldSpan over how long at least,
	// hold a destination; 0 means 20 and ten minutes.
	HoldAfter int
	HoldSpan  time.Duration
	// ProbeEvery is how often a destination that is held for failing is tried
	// with one delivery; 0 means five minutes.
	ProbeEvery time.Duration
	// Jitter draws from [0, 1).
	Jitter func() float64
}

const (
	// jitterShare stretches each wait by up to a tenth, so that what failed
	// together does not come back together.
	jitterShare          = 0.1
	defaultMaxRetryAfter = 24 * time.Hour
	defaultHoldAfter     = 20
	defaultHoldSpan      = 10 * time.Minute
	defaultProbeEvery    = 5 * time.Minute
)

func (p Policy) complete() Policy {
	if p.Schedule == nil {
		p.Schedule = schedule
	}
	if p.MaxRetryAfter == 0 {
		p.MaxRetryAfter = defaultMaxRetryAfter
	}
	if p.HoldAfter == 0 {
		p.HoldAfter = defaultHoldAfter
	}
	if p.HoldSpan == 0 {
		p.HoldSpan = defaultHoldSpan
	}
	if p.ProbeEvery == 0 {
		p.ProbeEvery = defaultProbeEvery
	}
	if p.Jitter == nil {
		p.Jitter = func() float64 { return 0 }
	}
	return p
}

// Verdict is what one attempt means for its delivery and its destination.
type Verdict struct {
	State  job.DeliveryState
	NextAt job.Instant // with DeliveryPending
	// NotBefore stops the whole destination until then; zero does not.
	NotBefore job.Instant
	// Clamped says that the receiver asked for more than we obey.
	Clamped bool
	// Gone says that the destination is to be paused: the receiver answered 410.
	Gone bool
}

// Judge says what one attempt means. tries is how many the delivery has had
// since it was created or replayed, this one included. It has no clock, no I/O
// and no randomness but p.Jitter.
func Judge(tries int, reason job.Reason, retryAfter time.Duration, at time.Time, p Policy) Verdict {
	if reason == job.NoReason {
		return Verdict{State: job.DeliveryDelivered}
	}
	v := Verdict{State: job.DeliveryPending}
	if retryAfter > p.MaxRetryAfter {
		retryAfter, v.Clamped = p.MaxRetryAfter, true
	}
	if retryAfter > 0 {
		v.NotBefore = job.At(at.Add(retryAfter))
	}
	if reason == job.ReasonGone {
		return Verdict{State: job.DeliveryHeld, Gone: true}
	}
	if tries >= len(p.Schedule) {
		v.State = job.DeliveryExhausted
		return v
	}
	tries = max(tries, 1)
	wait := p.Schedule[tries] - p.Schedule[tries-1]
	wait += time.Duration(float64(wait) * jitterShare * p.Jitter())
	v.NextAt = max(job.At(at.Add(wait)), v.NotBefore)
	return v
}
