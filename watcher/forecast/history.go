package forecast

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// History is what past runs of one query teach. The nil History teaches nothing.
type History struct {
	runs  []job.Run
	model *Model
	plan  *Plan
}

// Learn makes a history from past runs, the newest last. When they mislead,
// they say nothing about the next run's time.
func Learn(runs []job.Run, b Backoff) *History {
	h := &History{runs: runs}
	past := times(runs)
	if !misleads(past, b) {
		h.model = Fit(past, b.Max/resolution)
		h.plan = NewPlan(h.model, b)
	}
	return h
}

// times are how long past runs took, those of which that is known.
func times(runs []job.Run) []time.Duration {
	all := make([]time.Duration, 0, len(runs))
	for _, r := range runs {
		if r.Took > 0 {
			all = append(all, r.Took)
		}
	}
	return all[max(len(all)-Most, 0):]
}

// Next is [Plan.Next]; false without a plan.
func (h *History) Next(elapsed time.Duration) (time.Duration, bool) {
	if h == nil || h.plan == nil {
		return 0, false
	}
	return h.plan.Next(elapsed)
}

// Likely is [Model.Likely]; false without a model.
func (h *History) Likely(elapsed time.Duration) (time.Duration, bool) {
	if h == nil || h.model == nil {
		return 0, false
	}
	return h.model.Likely(elapsed)
}

// Exceeds is [Model.Exceeds]; false without a model.
func (h *History) Exceeds(limit, elapsed time.Duration) (float64, bool) {
	if h == nil || h.model == nil {
		return 0, false
	}
	return h.model.Exceeds(limit, elapsed)
}

// Anomaly is [Anomaly] against these runs.
func (h *History) Anomaly(run job.Run) []string {
	if h == nil {
		return Anomaly(run, nil)
	}
	return Anomaly(run, h.runs)
}

// Runs is how many past runs there are.
func (h *History) Runs() int {
	if h == nil {
		return 0
	}
	return len(h.runs)
}

// Price is how much mean delay one more call must save to be worth it; zero
// without a plan.
func (h *History) Price() time.Duration {
	if h == nil || h.plan == nil {
		return 0
	}
	return h.plan.Price()
}
