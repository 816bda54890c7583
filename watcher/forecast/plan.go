package forecast

import (
	"math"
	"time"
)

// Backoff is the schedule that an operator has configured: what is used without
// a history, and the promptness that a plan must match.
type Backoff struct {
	Initial, Max time.Duration
	Multiplier   float64
}

// after is the interval that follows one of so many seconds; zero before the first.
func (b Backoff) after(interval float64) float64 {
	if interval == 0 {
		return b.Initial.Seconds()
	}
	return min(interval*b.Multiplier, b.Max.Seconds())
}

// coarsest is the interval that a long run comes to in reasonable time.
func (b Backoff) coarsest() float64 {
	if b.Multiplier < 1.05 {
		return b.Initial.Seconds()
	}
	return b.Max.Seconds()
}

// patience is how many of the configured largest intervals may lie between two
// planned looks: a run that is unlike all before it is then noticed late, but
// not very late.
const patience = 10

// Plan says when to look at a run so that the fewest calls buy the same mean
// delay of detection as the configured backoff.
type Plan struct {
	model *Model
	at    []float32 // seconds that have passed
	next  []float32 // when to look then
	price float64   // calls that a second of delay is worth
}

// planFrom is how many past runs a plan takes: with fewer it may be worse than
// the backoff for some histories (TestSchedules).
const planFrom = 20

// NewPlan finds the schedule with the fewest expected calls among those whose
// mean delay is that of the backoff; nil when history is too short for one, when
// there is none (intervals finer than the model's grid), or it would be no better.
func NewPlan(m *Model, b Backoff) *Plan {
	if m == nil || m.runs < planFrom {
		return nil
	}
	if b.coarsest() < m.t[len(m.t)-1]-m.t[len(m.t)-2] {
		return nil // looks closer together than the grid's points
	}
	theirs, target := m.cost(func(_, interval float64) float64 { return b.after(interval) })
	p := m.planFor(target, b.Initial.Seconds(), patience*b.Max.Seconds())
	if p == nil {
		return nil
	}
	if ours, _ := m.cost(p.gap); ours > theirs {
		return nil
	}
	return p
}

// planFor finds the price at which the best schedule has that mean delay.
func (m *Model) planFor(delay, least, most float64) *Plan {
	low, high := math.Log(1e-6), math.Log(1e4)
	var found *Plan
	for range 22 {
		price := (low + high) / 2
		p := m.best(math.Exp(price), least, most)
		if _, d := m.cost(p.gap); d > delay {
			low = price
		} else {
			found, high = p, price
		}
		if high-low < 0.02 && found != nil {
			break
		}
	}
	return found
}

// best is the schedule with the least calls + price·delay, by dynamic
// programming backwards over the grid: a look at i that finds the run going on
// is followed by the one at j for which
//
//	P(runs at i) + price·∫ᵢʲ (tⱼ-u) f(u) du + cost from j on
//
// is least.
func (m *Model) best(price, least, most float64) *Plan {
	n := len(m.t)
	p := &Plan{model: m, price: price, at: make([]float32, n), next: make([]float32, n)}
	cost := make([]float64, n)
	for i := n - 1; i >= 0; i-- {
		p.at[i] = float32(m.t[i])
		if i == n-1 {
			p.next[i] = p.at[i]
			continue
		}
		alive := 1 - m.done[i]
		lowest, chosen := math.Inf(1), n-1
		for j := i + 1; j < n; j++ {
			gap := m.t[j] - m.t[i]
			if gap < least && j < n-1 {
				continue
			}
			if gap > most && chosen < n-1 {
				break
			}
			until := alive + price*(m.t[j]*(m.done[j]-m.done[i])-(m.first[j]-m.first[i]))
			if until >= lowest {
				break // it only grows with j
			}
			if c := until + cost[j]; c < lowest {
				lowest, chosen = c, j
			}
		}
		cost[i], p.next[i] = lowest, float32(m.t[chosen])
	}
	return p
}

// cost is how many calls a schedule makes and how late it sees the end, on
// average, until the end of the grid. gap is the schedule's: how long after a
// look at a time comes the next, given the last gap.
func (m *Model) cost(gap func(at, last float64) float64) (calls, delay float64) {
	end := m.t[len(m.t)-1]
	for at, last := 0.0, 0.0; at < end; {
		last = gap(at, last)
		next := min(at+last, end)
		before, after := m.ended(at), m.ended(next)
		calls += 1 - before
		delay += next*(after-before) - (m.until(next) - m.until(at))
		at = next
	}
	return calls, delay
}

// until is first, between the points of the grid.
func (m *Model) until(t float64) float64 {
	i := m.at(t)
	if i+1 >= len(m.t) {
		return m.first[len(m.t)-1]
	}
	return m.first[i] + (m.first[i+1]-m.first[i])*(t-m.t[i])/(m.t[i+1]-m.t[i])
}

// gap is how long to wait after a look at so many seconds.
func (p *Plan) gap(at, _ float64) float64 {
	i := p.model.at(at)
	if i+1 < len(p.at) && at-float64(p.at[i]) > float64(p.at[i+1])-at {
		i++
	}
	return max(float64(p.next[i])-at, gridFirst)
}

// Next is how long to wait after a look at a run that has lasted elapsed, and is
// not over; false when it has outlived the history, which is no guide any more.
func (p *Plan) Next(elapsed time.Duration) (time.Duration, bool) {
	e := max(elapsed.Seconds(), 0)
	if e >= float64(p.at[len(p.at)-1]) || 1-p.model.ended(e) < certain/2 {
		return 0, false
	}
	return seconds(p.gap(e, 0)), true
}

// Price is how many seconds of mean delay one more call would have to save to be
// worth it.
func (p *Plan) Price() time.Duration { return seconds(1 / p.price) }
