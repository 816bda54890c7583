package httpapi

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"go.uber.org/zap"
)

// track takes one job in: PUT /v1/jobs/{id}. Asking again changes nothing.
func (s *server) track(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	if _, err := params(r); err != nil {
		return err
	}
	b, err := body(w, r)
	if err != nil {
		return err
	}
	spec := job.Spec{}
	if b != nil {
		members, err := object(b, "body", specFields...)
		if err != nil {
			return err
		}
		if spec, err = specOf(members); err != nil {
			return err
		}
	}
	spec.ID = id
	if err := s.check(spec); err != nil {
		return err
	}
	fresh, err := s.o.Watcher.Track(r.Context(), []job.Spec{spec}, job.SourceAPI)
	if err != nil {
		return err
	}
	j, err := s.o.Jobs.Job(r.Context(), s.o.Tenant, id)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if len(fresh) > 0 && fresh[0] {
		status = http.StatusCreated
		w.Header().Set("Location", "/v1/jobs/"+id.String())
		s.audit(r, "job tracked", zap.Stringer("job_id", id))
	}
	return answer(w, status, s.view(&j))
}

// view is a job in JSON. What this replica knows of a watched one goes over
// what is stored: a look that changed nothing was not written down.
func (s *server) view(j *job.Job) job.View {
	v := j.View().WithQuery(j.Query)
	if j.State != job.Watching {
		return v
	}
	if live, here := s.o.Watcher.Live(j.ID); here {
		v.Status, v.StatusSince = live.Status, live.StatusSince
		v.NextPollAt, v.Polls, v.Overdue = live.NextPollAt, int64(live.Polls), live.Overdue
		v.ETA, v.ExpectedOverdue = live.ETA, live.Late
	}
	return v
}

func (s *server) listJobs(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "state", "status", "outcome", "label", "limit", "cursor")
	if err != nil {
		return err
	}
	filter, err := jobFilter(q)
	if err != nil {
		return err
	}
	filter.Tenant = s.o.Tenant
	jobs, next, err := s.o.Jobs.ListJobs(r.Context(), filter)
	if err != nil {
		return err
	}
	list := struct {
		Jobs []job.View `json:"jobs"`
		Next string     `json:"next_cursor"`
	}{make([]job.View, len(jobs)), next}
	for i := range jobs {
		list.Jobs[i] = s.view(&jobs[i])
	}
	return answer(w, http.StatusOK, &list)
}

func jobFilter(q url.Values) (f job.Filter, err error) {
	if f.States, err = words(q, "state", []job.State{job.Watching, job.Finished}); err != nil {
		return f, err
	}
	if f.Outcomes, err = words(q, "outcome", job.Outcomes()); err != nil {
		return f, err
	}
	if f.Statuses, err = statuses(q["status"]); err != nil {
		return f, err
	}
	if f.Labels, err = labels(q["label"]); err != nil {
		return f, err
	}
	f.Limit, f.Cursor, err = page(q)
	return f, err
}

// statuses reads Zuora's words. Any word may be one: those that Zuora does not
// document are kept as they came, and can be asked for.
func statuses(given []string) ([]job.Status, error) {
	const most, longest = 32, 64 // a status is kept up to 64 bytes (watcher/job/state.go)
	var all []job.Status
	for _, one := range given {
		for word := range strings.SplitSeq(one, ",") {
			if len(word) > longest || len(all) >= most {
				return nil, invalid("status", word, "at most 32 words of at most 64 bytes, such as "+list(job.Statuses()))
			}
			if st := job.ParseStatus(word); st != job.Unseen && !slices.Contains(all, st) {
				all = append(all, st)
			}
		}
	}
	return all, nil
}

// labels reads k=v pairs, all of which must be there.
func labels(given []string) (job.Labels, error) {
	var all job.Labels
	for _, pair := range given {
		if pair == "" {
			continue
		}
		if all == nil {
			all = job.Labels{}
		}
		k, v, found := strings.Cut(pair, "=")
		if was, twice := all[k]; !found || twice && was != v {
			return nil, invalid("label", pair, "key=value, each key once")
		}
		all[k] = v
	}
	return all, all.Validate()
}

func (s *server) showJob(w http.ResponseWriter, r *http.Request) error {
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
	return s.show(w, r, &j)
}

// show answers with one job, its whole query and its timeline.
func (s *server) show(w http.ResponseWriter, r *http.Request, j *job.Job) error {
	deliveries, _, err := s.o.Ledger.Deliveries(r.Context(), job.DeliveryFilter{Job: j.ID, Limit: maxPage})
	if err != nil {
		return err
	}
	v := s.view(j)
	v.Timeline = timeline(j, deliveries)
	return answer(w, http.StatusOK, &v)
}

// timeline tells the job's changes and the attempts at its deliveries in the
// order in which they happened.
func timeline(j *job.Job, deliveries []job.Delivery) []job.TimelineEntry {
	all := make([]job.TimelineEntry, 0, len(j.History)+len(deliveries))
	for _, c := range j.History {
		all = append(all, job.TimelineEntry{At: c.At, Kind: c.Kind, Status: c.Status, Outcome: c.Outcome, Polls: c.Polls})
	}
	for i := range deliveries {
		d := &deliveries[i]
		all = append(all, job.TimelineEntry{
			At: d.CreatedAt, Kind: "delivery", Destination: d.Destination, DeliveryID: d.ID, Event: d.EventType.Short(),
			State: d.State, NextAt: d.NextAttemptAt,
		})
		for k := range d.Attempts {
			a := d.Attempts[k].View()
			all = append(all, job.TimelineEntry{
				At: a.At, Kind: "attempt", Destination: d.Destination, DeliveryID: d.ID, Event: d.EventType.Short(),
				Code: a.Code, Reason: a.Reason, Answer: a.Answer, Took: &a.TookSeconds, NextAt: a.NextAt,
			})
		}
	}
	slices.SortStableFunc(all, func(a, b job.TimelineEntry) int { return cmp.Compare(a.At, b.At) })
	return all
}

func (s *server) untrack(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	if _, err := params(r); err != nil {
		return err
	}
	if err := noBody(w, r); err != nil {
		return err
	}
	if err := s.o.Watcher.Untrack(r.Context(), id); err != nil {
		return err
	}
	s.audit(r, "job untracked", zap.Stringer("job_id", id))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// pollNow asks for a look at once: POST /v1/jobs/{id}/poll. The look itself
// comes when the tenant's limits let it.
func (s *server) pollNow(w http.ResponseWriter, r *http.Request) error {
	id, err := jobID(r)
	if err != nil {
		return err
	}
	if _, err := params(r); err != nil {
		return err
	}
	if err := noBody(w, r); err != nil {
		return err
	}
	j, err := s.o.Jobs.Job(r.Context(), s.o.Tenant, id)
	if err != nil {
		return err
	}
	if j.State == job.Finished {
		return job.ErrConflict
	}
	switch err := s.o.Watcher.PollNow(r.Context(), id); {
	case errors.Is(err, job.ErrNotFound):
		return notReady("this replica has not loaded the job yet")
	case err != nil:
		return err
	}
	s.audit(r, "look asked for", zap.Stringer("job_id", id))
	return answer(w, http.StatusAccepted, s.view(&j))
}
