package forecast

import (
	"math"
	"sort"
	"time"
)

const (
	// The grid on which everything is computed: its steps are a share of the
	// time that has passed, so that short runs are resolved as well as long ones.
	gridShare = 0.015
	gridFirst = 0.05 // seconds
	// longestRun is the end of all grids: no query of Zuora's takes a day
	// (zuora-facts.md section 2: four hours of processing, and its time in the queue).
	longestRun = 24 * 3600.0
	// resolution is how many grid points the largest configured interval has at
	// least, since delays are about half of it.
	resolution = 10
)

// Model is what past runs of one query say about the next.
type Model struct {
	runs  int
	t     []float64 // seconds, from 0
	done  []float64 // the chance that a run has ended by then
	first []float64 // ∫ u·f(u) du until then, for mean delays
}

// Fit makes a model from the run times of past runs, the newest last; nil when
// they are fewer than [Enough]. step is the coarsest of its grid's: a fraction of
// the delays that matter.
func Fit(runs []time.Duration, step time.Duration) *Model {
	if len(runs) < Enough {
		return nil
	}
	runs = runs[max(len(runs)-Most, 0):]
	k := density(runs)
	return tabulate(k.cdf, min(k.end(), longestRun), step.Seconds(), len(runs))
}

// gridPoints bounds the coarse part of a grid, and so what a model costs.
const gridPoints = 1200

func tabulate(cdf func(float64) float64, end, step float64, runs int) *Model {
	m := &Model{runs: runs}
	coarsest := max(step, end/gridPoints)
	for t := 0.0; ; {
		m.add(t, cdf(t))
		if t >= end {
			return m
		}
		t += min(max(t*gridShare, min(gridFirst, coarsest)), coarsest)
	}
}

func (m *Model) add(t, done float64) {
	n, first := len(m.t), 0.0
	if n > 0 {
		done = max(done, m.done[n-1])
		first = m.first[n-1] + (done-m.done[n-1])*(t+m.t[n-1])/2
	}
	m.t, m.done, m.first = append(m.t, t), append(m.done, done), append(m.first, first)
}

// at is the last grid point that is not after t.
func (m *Model) at(t float64) int { return max(sort.SearchFloat64s(m.t, t+1e-9)-1, 0) }

// ended is the chance that a run has ended after so many seconds.
func (m *Model) ended(t float64) float64 {
	i := m.at(t)
	if i+1 >= len(m.t) {
		return m.done[len(m.t)-1]
	}
	return m.done[i] + (m.done[i+1]-m.done[i])*(t-m.t[i])/(m.t[i+1]-m.t[i])
}

// certain is the least chance of running on that is still worth a forecast: a
// job that has outlived nearly all before it is like none of them.
const certain = 0.02

// Likely is how long a run will have taken when it ends, by the median of those
// that took longer than elapsed; false when hardly any did.
func (m *Model) Likely(elapsed time.Duration) (time.Duration, bool) {
	e := m.ended(elapsed.Seconds())
	if 1-e < certain {
		return 0, false
	}
	half := e + (1-e)/2
	i := sort.SearchFloat64s(m.done, half)
	if i >= len(m.t) {
		return 0, false
	}
	t := m.t[i]
	if i > 0 && m.done[i] > m.done[i-1] {
		t = m.t[i-1] + (m.t[i]-m.t[i-1])*(half-m.done[i-1])/(m.done[i]-m.done[i-1])
	}
	return max(seconds(t), elapsed), true
}

// Exceeds is the chance that a run which has lasted elapsed takes longer than
// limit; false when history has nothing to say about runs as long as this one.
func (m *Model) Exceeds(limit, elapsed time.Duration) (float64, bool) {
	left := 1 - m.ended(elapsed.Seconds())
	if left < certain {
		return 0, false
	}
	return math.Min((1-m.ended(limit.Seconds()))/left, 1), true
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
