package watcher

import (
	"math"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// gate stands before every request to the tenant. While it is shut, what is due
// waits; when its time is over, one look goes first as a probe, and only its
// success lets the others follow, at a pace.
//
//	[open] ──fault that means the tenant, or a run of faults──> [shut]
//	[shut] ──its time is over, next look──> [probing] ──answer──> [open]
//	                                            └──fault──> [shut], for longer
type gate struct {
	jitter func() float64
	budget *budget // what may be spent while it is open; nil: anything

	mu    sync.Mutex
	state gateState
	// flying requests are out; most may be, zero: any number.
	flying, most int
	// epoch counts how often the gate was shut: the answer to a look that went
	// out before cannot open it.
	epoch uint32
	until time.Time // shut: not before
	tries int       // probes that failed in this episode
	// run counts faults without an answer between, good is the last answer.
	run  int
	good time.Time
	// The episode under way: why, since when, how many faults.
	reason job.Reason
	since  time.Time
	faults int
	told   bool // that a human must act
	// After an episode, looks are let through every step until paced.
	step  time.Duration
	nextQ time.Time
	paced time.Time
}

type gateState uint8

const (
	gateOpen gateState = iota
	gateShut
	gateProbing
)

// pass is the leave to make one request; it must be given back, by report or
// by abandon.
type pass struct {
	epoch uint32
	probe bool
}

// turn is a change of the gate's state that a person should hear of.
type turn struct {
	shut, opened bool
	reason       job.Reason // why it is shut, or was
	human        bool       // it does not mend itself: a human must act
	faults       int        // how many the episode had
	took         time.Duration
	until        time.Time
}

const (
	// runLength is how many faults in a row mean the tenant and not one unlucky
	// request: at 5 % faults it happens by chance once in three million looks.
	runLength = 5
	// quiet is how long after the last answer a single fault is believed: twice
	// the largest interval, after which every job has been asked about. At the
	// start there has been no answer, so that the first fault is believed.
	quiet = time.Minute
)

// How long the gate stays shut when the answer did not say: least and most,
// doubling between.
func shutFor(r job.Reason) (least, most time.Duration) {
	switch r {
	case job.ReasonAuth:
		// Refused credentials do not mend themselves; each try is a call to the
		// token endpoint, which allows 100 a minute from one address.
		return 15 * time.Second, 5 * time.Minute
	case job.ReasonRateLimited:
		// Zuora's own sample caps at 60 s (zuora-facts.md section 4).
		return 2 * time.Second, time.Minute
	default:
		return time.Second, 30 * time.Second
	}
}

// needsHuman reports whether a fault does not mend itself: credentials that are
// refused, or that we could not even read.
func needsHuman(r job.Reason) bool { return r == job.ReasonAuth || r == job.ReasonInternal }

func newGate(jitter func() float64, b *budget) *gate { return &gate{jitter: jitter, budget: b} }

// admit asks for leave to make a request now.
func (g *gate) admit(now time.Time) (pass, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.most > 0 && g.flying >= g.most {
		return pass{}, false
	}
	switch g.state {
	case gateProbing:
		return pass{}, false
	case gateShut:
		if now.Before(g.until) || !g.spend(now) {
			return pass{}, false
		}
		g.state = gateProbing
		g.flying++
		return pass{epoch: g.epoch, probe: true}, true
	case gateOpen:
	}
	if g.step > 0 && now.Before(g.nextQ) || !g.spend(now) {
		return pass{}, false
	}
	if g.step > 0 {
		if now.After(g.paced) {
			g.step = 0
		} else {
			g.nextQ = now.Add(time.Duration(float64(g.step) * 2 * g.jitter()))
		}
	}
	g.flying++
	return pass{epoch: g.epoch}, true
}

// share divides the requests in flight among the replicas that are alive. Each
// may have one: with more replicas than requests they are more than was asked for.
func (g *gate) share(all, replicas int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = max(all/max(replicas, 1), 1)
}

// spend takes one request out of the budget, if that has one.
func (g *gate) spend(now time.Time) bool {
	if g.budget == nil {
		return true
	}
	_, ok := g.budget.admit(now)
	return ok
}

// opensAt is when admit can next say yes; the zero time means now, and far away
// that a request must come back first.
func (g *gate) opensAt(now time.Time) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := time.Time{}
	switch {
	case g.state == gateProbing, g.most > 0 && g.flying >= g.most:
		return now.Add(time.Hour) // whoever comes back goes on by itself
	case g.state == gateShut:
		at = g.until
	case g.step > 0:
		at = g.nextQ
	}
	if g.budget != nil {
		// Only what lies ahead: "now", rounded up to a millisecond, never comes.
		if opens := g.budget.opens(now); opens.After(now) {
			at = later(at, opens)
		}
	}
	return at
}

// report gives a pass back with what came of it.
func (g *gate) report(p pass, f Failing, now time.Time) turn {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flying--
	if !meansTenant(f) {
		g.run, g.good = 0, now
		if !p.probe || p.epoch != g.epoch {
			return turn{}
		}
		return g.open(now)
	}
	g.run++
	switch {
	case g.state == gateOpen && p.epoch != g.epoch && f.Hint == 0:
		// It went out before an episode that is over.
		return turn{}
	case g.state == gateOpen:
		hard := f.TenantWide || f.Reason == job.ReasonAuth || f.Reason == job.ReasonRateLimited
		if !hard && g.run < runLength && now.Sub(g.good) < quiet {
			return turn{}
		}
		g.tries, g.faults, g.since, g.reason, g.told = 0, 1, now, f.Reason, needsHuman(f.Reason)
		g.shut(f, now)
		return turn{shut: true, reason: f.Reason, human: g.told, until: g.until}
	case p.probe && p.epoch == g.epoch:
		g.faults++
		g.tries++
		tell := needsHuman(f.Reason) && !g.told
		g.reason, g.told = f.Reason, g.told || tell
		g.shut(f, now)
		return turn{shut: tell, reason: g.reason, human: tell, until: g.until}
	default:
		// It went out before the gate was shut: what it asks for counts, its
		// failure has been counted.
		g.faults++
		if floor := now.Add(f.Hint); floor.After(g.until) {
			g.until = floor
		}
		return turn{}
	}
}

// abandon gives a pass back unused.
func (g *gate) abandon(p pass, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flying--
	if p.probe && p.epoch == g.epoch && g.state == gateProbing {
		g.state, g.until = gateShut, now
	}
}

// meansTenant reports whether a fault says something about the upstream as a
// whole. A denied job or an answer that we do not understand is an answer.
func meansTenant(f Failing) bool {
	switch f.Reason {
	case job.ReasonAuth, job.ReasonRateLimited, job.ReasonTimeout, job.ReasonNetwork, job.ReasonServer:
		return true
	default:
		return f.TenantWide
	}
}

func (g *gate) shut(f Failing, now time.Time) {
	g.state = gateShut
	g.epoch++
	least, most := shutFor(f.Reason)
	wait := min(time.Duration(float64(least)*math.Pow(2, float64(min(g.tries, 30)))), most)
	wait = wait/2 + time.Duration(float64(wait)/2*g.jitter())
	if f.Hint > 0 {
		// Not all replicas at the first permitted moment.
		wait = max(wait, f.Hint) + time.Duration(float64(min(f.Hint/4, time.Second))*g.jitter())
	}
	if until := now.Add(wait); until.After(g.until) {
		g.until = until
	}
}

func (g *gate) open(now time.Time) turn {
	t := turn{opened: true, reason: g.reason, faults: g.faults, took: now.Sub(g.since)}
	g.state, g.tries, g.faults, g.reason, g.since, g.until = gateOpen, 0, 0, job.NoReason, time.Time{}, time.Time{}
	return t
}

// pace lets n looks that have piled up through within the window, so that a
// tenant which has just come back is not met by all of them.
func (g *gate) pace(n int, window time.Duration, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n > 0 && window > 0 {
		g.step, g.nextQ, g.paced = window/time.Duration(n), now, now.Add(window)
	}
}

// waits says until when the tenant as a whole waits; zero when it does not.
func (g *gate) waits() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gateOpen {
		return time.Time{}
	}
	return g.until
}

// heard reports whether there has been any answer.
func (g *gate) heard() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.good.IsZero()
}

// health is the gate's view of the upstream: as long as nothing has been asked,
// it is not reached yet. A tenant that asks us to wait can be reached.
func (g *gate) health() job.UpstreamHealth {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gateOpen {
		return job.UpstreamHealth{Reachable: !g.good.IsZero()}
	}
	return job.UpstreamHealth{
		Reachable: g.reason == job.ReasonRateLimited, Reason: g.reason, Since: job.At(g.since),
	}
}
