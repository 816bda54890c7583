package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	defaultWait = time.Minute // contract section 4
	// maxWait bounds one long poll; whoever wants to wait longer asks again.
	maxWait = 5 * time.Minute
	// reread is how often a job that is not watched here is read again: another
	// replica tells us nothing.
	reread = time.Second
)

// wait hangs until the job has ended (200), or until the time is over, the
// daemon stops or the caller goes away (204).
func (s *server) wait(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	q, err := params(r, "timeout")
	if err != nil {
		return err
	}
	timeout, err := waitTime(q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	j, err := s.awaitEnd(ctx, id)
	if err != nil {
		return err
	}
	if j.State != job.Finished {
		writeSoon(w)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return s.show(w, r, &j)
}

// waitTime reads the time-out. A longer one than we hold is cut: 204 means "not
// yet" in any case.
func waitTime(q url.Values) (time.Duration, error) {
	given, err := single(q, "timeout")
	if err != nil || given == "" {
		return defaultWait, err
	}
	d, err := time.ParseDuration(given)
	if err != nil || d < 0 {
		return 0, invalid("timeout", given, "a span such as 60s")
	}
	return min(d, maxWait), nil
}

// awaitEnd returns the job when it has ended, or as it is when ctx ends or the
// daemon stops. The channel is there before the job is read, so that no end
// falls between the two.
func (s *server) awaitEnd(ctx context.Context, id job.ID) (job.Job, error) {
	ended, cancel := s.o.Watcher.Ended(id)
	defer cancel()
	again := time.NewTicker(reread)
	defer again.Stop()
	// A read is not broken off by the end of the wait.
	reading := context.WithoutCancel(ctx)
	for {
		j, err := s.o.Jobs.Job(reading, s.o.Tenant, id)
		if err != nil || j.State == job.Finished {
			return j, err
		}
		for stale := false; !stale; {
			select {
			case <-ctx.Done():
				return j, nil
			case <-s.o.Draining:
				return j, nil
			case <-ended:
				stale, ended = true, nil
			case <-again.C:
				// A job that is watched here makes itself heard, unless it has already.
				_, here := s.o.Watcher.Live(id)
				stale = !here || ended == nil
			}
		}
	}
}

// explain says why the next look is when it is, and who will be told.
func (s *server) explain(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	if _, err := params(r); err != nil {
		return err
	}
	j, err := s.o.Jobs.Job(r.Context(), s.o.Tenant, id)
	if err != nil {
		return err
	}
	e := stored(&j)
	if j.State == job.Watching {
		if live, here := s.o.Watcher.Explain(id); here {
			e = live
		}
	}
	e.Destinations = s.o.Dispatcher.ExplainRoute(j)
	if e.Destinations == nil {
		e.Destinations = []job.RouteReason{}
	}
	return answer(w, http.StatusOK, &e)
}

// stored explains a job that is not watched here.
func stored(j *job.Job) job.Explanation {
	e := job.Explanation{
		ID: j.ID, State: j.State, Status: j.Status, NextPollAt: j.NextPollAt, Polls: j.Polls,
		DeadlineAt: j.DeadlineAt, AbandonAt: j.AbandonAt,
		Why: "another replica watches this job, or this one has not loaded it yet",
	}
	if j.State == job.Finished {
		e.Why = "the job has ended (" + string(j.Outcome) + ", " + j.FinishedAt.String() + ") and is not looked at any more"
		e.NextPollAt = 0
	}
	return e
}
