package forecast

import (
	"math"
	"time"
)

const (
	// judged is the share of the history, at its end, by which the rest of it is
	// judged, when the rest is enough for a plan.
	judged = 4
	// tolerated is how much worse than the backoff a plan may be.
	tolerated = 0.05
)

// misleads reports whether a plan made from the older three quarters of past
// runs would have done worse than the backoff on the newest quarter.
func misleads(runs []time.Duration, b Backoff) bool {
	n := len(runs)
	p := NewPlan(Fit(runs[:n-n/judged], b.Max/resolution), b)
	return p != nil && p.misled(runs[n-n/judged:], b)
}

// misled reports whether runs show the plan to be worse than the backoff by more
// than is tolerated, and by more than chance explains.
func (p *Plan) misled(runs []time.Duration, b Backoff) bool {
	var sum, squares, theirs float64
	for _, r := range runs {
		r = min(r, seconds(longestRun))
		calls, delay := p.replay(r, b)
		ours := float64(calls) + p.price*delay.Seconds()
		calls, delay = b.Replay(r)
		backoff := float64(calls) + p.price*delay.Seconds()
		sum, squares, theirs = sum+ours-backoff, squares+(ours-backoff)*(ours-backoff), theirs+backoff
	}
	n := float64(len(runs))
	mean := sum / n
	chance := math.Sqrt(max(squares/n-mean*mean, 0) / n)
	return mean > tolerated*theirs/n+chance
}

// replay is Plan.Next for a whole run: how many looks it takes to see the end,
// and how late it is seen. After the history's end the backoff goes on from its
// largest interval.
func (p *Plan) replay(run time.Duration, b Backoff) (calls int, delay time.Duration) {
	var at, last time.Duration
	for at < run {
		gap, ok := p.Next(at)
		if !ok {
			gap = seconds(b.after(last.Seconds()))
		}
		at, last, calls = at+gap, gap, calls+1
	}
	return calls, at - run
}

// Replay is the backoff for a whole run: how many looks it takes to see the end,
// and how late it is seen.
func (b Backoff) Replay(run time.Duration) (calls int, delay time.Duration) {
	var at time.Duration
	for last := 0.0; at < run; calls++ {
		last = b.after(last)
		at += seconds(last)
	}
	return calls, at - run
}
