package watcher

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/forecast"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// likely is the chance from which on a job is expected to become overdue, and
	// veryLikely the one from which on that is announced, if it is asked for: a
	// warning that is often wrong is soon ignored.
	likely     = 0.5
	veryLikely = 0.9

	// maxAge bounds when a job may have begun: Zuora forgets it after 30 days
	// (zuora-facts.md section 3).
	maxAge = 31 * 24 * time.Hour
)

func (p *Policy) history(s job.Shape) *forecast.History {
	if p.Histories == nil || s == 0 {
		return nil
	}
	return p.Histories(s)
}

// shape fingerprints a job's query when it is seen for the first time.
func shape(w *job.Watch, seen *job.Observation) {
	if w.Shape == 0 && seen.Query != "" {
		w.Shape = job.ShapeOf(seen.Query, seen.SourceData)
	}
}

// began notes what a look at a running job tells of its start: by createdOn, or
// else by the change of the status that is shown first. Only spans of Zuora's
// clock are carried over to ours, so that the two may differ.
func began(w *job.Watch, seen *job.Observation, at time.Time) {
	shape(w, seen)
	if !w.StartedAt.IsZero() {
		return
	}
	w.StartedAt = w.TrackedAt
	born, exact := seen.CreatedAt, true
	if born.Unix() <= 0 {
		born, exact = seen.UpdatedAt, false
	}
	age := seen.ServerTime.Sub(born)
	if seen.ServerTime.IsZero() || born.Unix() <= 0 || age < 0 || age > maxAge {
		return
	}
	if start := job.At(at.Add(-age)); exact || start < w.TrackedAt {
		w.StartedAt = start
	}
}

// took is how long a run took: from its start to the end by Zuora's clock. For a
// job that had ended before we came it is Zuora's processing time; zero when
// that is not known either.
func took(w *job.Watch, seen *job.Observation, at time.Time) time.Duration {
	var late time.Duration
	if !seen.ServerTime.IsZero() && seen.UpdatedAt.Unix() > 0 {
		late = max(seen.ServerTime.Sub(seen.UpdatedAt), 0)
	}
	if seen.CreatedAt.Unix() > 0 && seen.UpdatedAt.After(seen.CreatedAt) && seen.UpdatedAt.Sub(seen.CreatedAt) < maxAge {
		return seen.UpdatedAt.Sub(seen.CreatedAt)
	}
	start := w.StartedAt
	if start.IsZero() {
		start = w.TrackedAt
	}
	if d := at.Sub(start.Time()) - late; d > 0 {
		return d
	}
	if seen.ProcessingTime != nil {
		return max(*seen.ProcessingTime, 0)
	}
	return 0
}

// foresee says when the job will likely end, and whether that is too late.
func (d *Decision) foresee(w *job.Watch, h *forecast.History, at time.Time, p *Policy) {
	w.Late, w.ETA = false, 0
	start := w.StartedAt.Time()
	if took, known := h.Likely(at.Sub(start)); known {
		w.ETA = w.StartedAt.Add(took)
	}
	if w.Overdue || w.DeadlineAt.IsZero() {
		return
	}
	chance, known := h.Exceeds(w.DeadlineAt.Time().Sub(start), at.Sub(start))
	w.Late = known && chance >= likely
	if p.WarnEarly && !w.Warned && known && chance >= veryLikely {
		w.Warned, d.Warned = true, true
	}
}
