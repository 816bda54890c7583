package watcher

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/jobwatcher/jobwatcher/watcher/forecast"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Policy says how often to look and when to give up. Zero values mean the
// defaults of contract section 3, but for Randomization, where zero is a choice.
type Policy struct {
	// InitialInterval is the wait after the first look; each later one is
	// Multiplier times as long, up to MaxInterval.
	InitialInterval time.Duration
	MaxInterval     time.Duration
	Multiplier      float64
	// Randomization is the jitter's share of the interval, 0 to 1, both ways.
	Randomization float64
	// MinInterval is the least wait that jitter may leave.
	MinInterval time.Duration
	// OverdueInterval takes MaxInterval's place once a job is overdue.
	OverdueInterval time.Duration
	// FailedInterval is the wait after a failed look; it doubles up to
	// FailedMaxInterval while looks go on failing.
	FailedInterval    time.Duration
	FailedMaxInterval time.Duration

	// Deadline is when a job becomes overdue, AbandonAfter when it is given up,
	// both from tracking; LostAfter is how long a job must be denied (403, 404).
	Deadline     time.Duration
	AbandonAfter time.Duration
	LostAfter    time.Duration

	// WarnEarly announces, once, that a job will very likely become overdue.
	WarnEarly bool

	// Histories is what past runs of queries of a shape teach; nil, or a nil
	// history: nothing. It must not wait.
	Histories func(job.Shape) *forecast.History

	// Jitter draws from [0, 1); nil: math/rand/v2. The schedule itself has no
	// randomness of its own, so that its tests have none.
	Jitter func() float64
}

// DefaultPolicy is what contract section 3 gives as defaults.
func DefaultPolicy() Policy {
	p := Policy{Randomization: 0.1}
	if err := p.fill(); err != nil {
		panic(err) // a programmer's error: the defaults contradict each other
	}
	return p
}

const (
	defaultInitialInterval = time.Second
	defaultMaxInterval     = 30 * time.Second
	defaultMultiplier      = 1.5
	defaultDeadline        = 6 * time.Hour
	defaultAbandonAfter    = 168 * time.Hour
	defaultLostAfter       = 2 * time.Minute

	// defaultMinInterval is ten looks a second at one job: only jitter as large
	// as the interval itself comes near it.
	defaultMinInterval = 100 * time.Millisecond
	// defaultOverdueInterval: a job past its deadline has run for hours, so that
	// five minutes more are a few per cent; a week of it costs 2,000 looks.
	defaultOverdueInterval = 5 * time.Minute
	// failedMultiplier: Zuora recommends exponential backoff by two
	// (zuora-facts.md section 4); it begins and ends where the ordinary interval
	// does, unless told otherwise.
	failedMultiplier = 2
	// failedRandomization spreads retries more than looks: failures come to many
	// jobs at the same moment.
	failedRandomization = 0.5

	// maxInterval bounds every configured interval: Watch keeps milliseconds in
	// an int32.
	maxInterval = 24 * time.Hour
	// maxHint bounds what a foreign Retry-After can do: the longest window that
	// Zuora has is a day.
	maxHint = 24 * time.Hour
)

// fill puts defaults in and refuses what makes no sense.
func (p *Policy) fill() error {
	p.InitialInterval = orDefault(p.InitialInterval, defaultInitialInterval)
	p.MaxInterval = orDefault(p.MaxInterval, max(defaultMaxInterval, p.InitialInterval))
	if p.Multiplier == 0 {
		p.Multiplier = defaultMultiplier
	}
	p.MinInterval = orDefault(p.MinInterval, min(defaultMinInterval, p.InitialInterval))
	p.OverdueInterval = orDefault(p.OverdueInterval, max(defaultOverdueInterval, p.MaxInterval))
	p.FailedInterval = orDefault(p.FailedInterval, p.InitialInterval)
	p.FailedMaxInterval = orDefault(p.FailedMaxInterval, max(p.MaxInterval, p.FailedInterval))
	p.Deadline = orDefault(p.Deadline, defaultDeadline)
	p.AbandonAfter = orDefault(p.AbandonAfter, defaultAbandonAfter)
	p.LostAfter = orDefault(p.LostAfter, defaultLostAfter)
	if p.Jitter == nil {
		p.Jitter = rand.Float64
	}
	for _, f := range []struct {
		name   string
		v      time.Duration
		lo, hi time.Duration
	}{
		{"initial interval", p.InitialInterval, time.Millisecond, maxInterval},
		{"largest interval", p.MaxInterval, p.InitialInterval, maxInterval},
		{"least interval", p.MinInterval, time.Millisecond, p.InitialInterval},
		{"overdue interval", p.OverdueInterval, p.InitialInterval, maxInterval},
		{"interval after a failure", p.FailedInterval, time.Millisecond, maxInterval},
		{"largest interval after failures", p.FailedMaxInterval, p.FailedInterval, maxInterval},
		{"deadline", p.Deadline, job.MinDeadline, job.MaxDeadline},
		{"time until a job is abandoned", p.AbandonAfter, job.MinDeadline, job.MaxDeadline},
		{"time until a job is lost", p.LostAfter, time.Millisecond, job.MaxDeadline},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("%s is %s, allowed is %s to %s: %w", f.name, f.v, f.lo, f.hi, job.ErrInvalid)
		}
	}
	if !(p.Multiplier >= 1 && p.Multiplier <= 100) {
		return fmt.Errorf("multiplier is %g, allowed is 1 to 100: %w", p.Multiplier, job.ErrInvalid)
	}
	if !(p.Randomization >= 0 && p.Randomization <= 1) {
		return fmt.Errorf("randomization is %g, allowed is 0 to 1: %w", p.Randomization, job.ErrInvalid)
	}
	return nil
}

// grow is the backoff's next interval after present, which is zero before the
// first. The library is used as a formula and never as a sleeper: it is fresh
// each time, never stops (MaxElapsedTime 0) and has no jitter of its own, since
// it would come after the clamp and from a source that cannot be seeded.
func grow(present, initial, limit time.Duration, multiplier float64) time.Duration {
	if present <= 0 {
		return min(initial, limit)
	}
	b := backoff.ExponentialBackOff{
		InitialInterval: min(present, limit), Multiplier: multiplier, MaxInterval: limit,
		MaxElapsedTime: 0, RandomizationFactor: 0, Stop: backoff.Stop, Clock: backoff.SystemClock,
	}
	b.Reset()
	b.NextBackOff() // the present one
	return min(b.NextBackOff(), limit)
}

// afterFailures is the interval after the n-th failed look in a row.
func (p *Policy) afterFailures(n uint16) time.Duration {
	var interval time.Duration
	for range n {
		interval = grow(interval, p.FailedInterval, p.FailedMaxInterval, failedMultiplier)
		if interval == p.FailedMaxInterval {
			break
		}
	}
	return interval
}

// wait draws a wait around interval: jittered, then clamped, then raised to the
// hint, which is the one floor that nothing undercuts.
func (p *Policy) wait(interval, limit time.Duration, randomization float64, hint time.Duration) time.Duration {
	spread := randomization * (2*p.Jitter() - 1)
	wait := interval + time.Duration(float64(interval)*spread)
	return max(min(max(wait, p.MinInterval), limit), hint)
}

// place says when the look comes that would be due wait after at: earlier when
// one of the marks lies between, but never before the hint is over. ok tells
// which mark it was.
func place(at time.Time, wait, hint time.Duration, marks ...job.Instant) (next job.Instant, mark int) {
	next, mark = instantAfter(at, wait), -1
	floor, now := instantAfter(at, hint), instantAfter(at, 0)
	for i, m := range marks {
		if m > now && m < next && m >= floor {
			next, mark = m, i
		}
	}
	return next, mark
}

// instantAfter is the first whole millisecond that is not before at plus d.
func instantAfter(at time.Time, d time.Duration) job.Instant {
	return job.At(at.Add(d + time.Millisecond - 1))
}

// The window over which many looks that are due at once are spread.
const (
	// atOnce is how many need no spreading: the most jobs that a tenant can have
	// unfinished, 15 live and 45 warehouse (zuora-facts.md section 4).
	atOnce = 64
	// spreadRate is the pace beyond that, in looks a second: what the smallest
	// tenant allows, 2,500 a minute (API Sandbox).
	spreadRate = 40
)

// spreadWindow is how long the looks at n jobs that are due together may take:
// none for a few, never longer than the largest interval, after which they
// would be due again anyway.
func (p *Policy) spreadWindow(n int) time.Duration {
	if n <= atOnce {
		return 0
	}
	return min(time.Duration(n)*time.Second/spreadRate, p.MaxInterval)
}
