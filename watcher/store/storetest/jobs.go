package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func trackingIsIdempotent(w *world) {
	first := w.tracking(1)
	first.Group, first.Destinations = "close", []string{"loader"}
	fresh, err := w.Track(w.ctx(), "one", []job.Tracking{first})
	w.must(err)
	w.pass(lease / 2)
	again, err := w.Track(w.ctx(), "one", []job.Tracking{w.tracking(1), w.tracking(2), w.tracking(2)})
	w.must(err)
	if diff := cmp.Diff([][]bool{{true}, {false, true, false}}, [][]bool{fresh, again}); diff != "" {
		w.Errorf("what was new (-want +got):\n%s", diff)
	}
	got := w.job(1)
	want := job.Job{
		Tenant: tenant, ID: id(1), State: job.Watching, Source: job.SourceAPI, Labels: job.Labels{"team": "finance"},
		Destinations: []string{"loader"}, Group: "close", TrackedAt: first.TrackedAt, DeadlineAt: first.DeadlineAt, AbandonAt: first.AbandonAt,
		NextPollAt: first.TrackedAt, StatusSince: first.TrackedAt, History: []job.Change{{At: first.TrackedAt, Kind: job.KindTracked}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("job as first tracked (-want +got):\n%s", diff)
	}
}

func trackingManyIsOneTransaction(w *world) {
	const many = 2500
	w.track("one", 0, many)
	if got := w.owned("one"); got != many {
		w.Errorf("owned: got %d, want %d", got, many)
	}
	_, err := w.Track(w.ctx(), "nobody", []job.Tracking{w.tracking(many), w.tracking(many + 1)})
	if !errors.Is(err, job.ErrOwnerLost) {
		w.Errorf("track by a replica that never registered: got %v, want ErrOwnerLost", err)
	}
	if got := w.owned("one"); got != many {
		w.Errorf("owned after a refused track: got %d, want %d", got, many)
	}
}

func untrackForgetsWatchedJobsOnly(w *world) {
	w.track("one", 1, 3)
	w.commit("one", w.ended(2, "loader"))
	got := []bool{
		w.Untrack(w.ctx(), tenant, id(1)) == nil,
		errors.Is(w.Untrack(w.ctx(), tenant, id(1)), job.ErrNotFound),
		errors.Is(w.Untrack(w.ctx(), tenant, id(2)), job.ErrConflict),
	}
	if diff := cmp.Diff([]bool{true, true, true}, got); diff != "" {
		w.Errorf("watched, gone, ended (-want +got):\n%s", diff)
	}
	if _, err := w.Job(w.ctx(), tenant, id(1)); !errors.Is(err, job.ErrNotFound) {
		w.Errorf("untracked job: got %v, want ErrNotFound", err)
	}
}

func listsAreFilteredAndPaged(w *world) {
	const all = 25
	for n := range all {
		one := w.tracking(n)
		one.Labels = job.Labels{"n": fmt.Sprint(n % 5), "team": "fin%ance_"[:3]}
		_, err := w.Track(w.ctx(), "one", []job.Tracking{one})
		w.must(err)
		w.pass(1e6)
	}
	w.commit("one", w.ended(3), w.ended(8))
	count := func(f job.Filter) (ids []job.ID, pages int) {
		f.Tenant = tenant
		for {
			jobs, next, err := w.ListJobs(w.ctx(), f)
			w.must(err)
			pages++
			for i := range jobs {
				ids = append(ids, jobs[i].ID)
			}
			if f.Cursor = next; next == "" {
				return ids, pages
			}
		}
	}
	ids, pages := count(job.Filter{Limit: 10})
	if len(ids) != all || pages != 3 || ids[0] != id(all-1) || ids[all-1] != id(0) {
		w.Errorf("all: got %d jobs on %d pages from %s to %s", len(ids), pages, ids[0], ids[len(ids)-1])
	}
	for name, c := range map[string]struct {
		f    job.Filter
		want int
	}{
		"finished":           {job.Filter{States: []job.State{job.Finished}}, 2},
		"both states":        {job.Filter{States: []job.State{job.Finished, job.Watching}}, all},
		"status":             {job.Filter{Statuses: []job.Status{job.Completed}}, 2},
		"outcome":            {job.Filter{Outcomes: []job.Outcome{job.OutcomeLost}}, 0},
		"label":              {job.Filter{Labels: job.Labels{"n": "3"}}, 5},
		"label and state":    {job.Filter{Labels: job.Labels{"n": "3"}, States: []job.State{job.Finished}}, 2},
		"two labels":         {job.Filter{Labels: job.Labels{"n": "3", "team": "fin"}}, 5},
		"label with pattern": {job.Filter{Labels: job.Labels{"n": "%"}}, 0},
		"label's beginning":  {job.Filter{Labels: job.Labels{"team": "fi"}}, 0},
		"another tenant":     {job.Filter{Cursor: "", Labels: job.Labels{"none": "3"}}, 0},
	} {
		if ids, _ := count(c.f); len(ids) != c.want {
			w.Errorf("%s: got %d jobs, want %d", name, len(ids), c.want)
		}
	}
}

func absentNumbersStayAbsent(w *world) {
	w.track("one", 1, 3)
	u := w.ended(1)
	u.Seen.OutputRows, u.Seen.ProcessingTime, u.Seen.RemainingRetries = nil, nil, nil
	zero := w.ended(2)
	none := int64(0)
	zero.Seen.OutputRows = &none
	w.commit("one", u, zero)
	if j := w.job(1); j.OutputRows != nil || j.ProcessingTime != nil || j.RemainingRetries != nil {
		w.Errorf("absent numbers became %v, %v, %v", j.OutputRows, j.ProcessingTime, j.RemainingRetries)
	}
	if j := w.job(2); j.OutputRows == nil || *j.OutputRows != 0 {
		w.Errorf("zero rows became %v", j.OutputRows)
	}
}

func cursorThatIsJunkIsRefusedByName(w *world) {
	for _, junk := range []string{"!", "AAAA", "eA", "MSAy…"} {
		_, _, err := w.ListJobs(w.ctx(), job.Filter{Tenant: tenant, Cursor: junk})
		_, _, err2 := w.Deliveries(w.ctx(), job.DeliveryFilter{Cursor: junk})
		for _, err := range []error{err, err2} {
			var invalid *job.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != "cursor" {
				w.Errorf("cursor %q: got %v, want an InvalidError that names cursor", junk, err)
			}
		}
	}
}

func runsAreReadByShape(w *world) {
	w.track("one", 1, 9)
	rows := func(n int64) *int64 { return &n }
	took := func(d time.Duration) *time.Duration { return &d }
	for n := 1; n <= 6; n++ {
		u := w.ended(n)
		u.Shape, u.StartedAt, u.Took = 7, w.at(), time.Duration(n)*time.Minute
		switch n {
		case 2:
			u.Shape = -7 // another query, with the sign bit set
		case 3:
			u.Outcome, u.Status, u.Seen.OutputRows, u.Seen.ProcessingTime = job.OutcomeFailed, job.Failed, nil, nil
		case 4:
			u.Outcome, u.Status = job.OutcomeLost, job.Unseen
		case 6:
			u.Anomaly = []string{"no_rows", "slow"}
			u.Delay = took(1500 * time.Millisecond)
		}
		w.commit("one", u)
		w.pass(time.Second)
	}
	watching := job.Update{
		Tenant: tenant, ID: id(7), At: w.at(), Status: job.InProgress, StatusSince: w.at(), Shape: 7, StartedAt: w.at(),
		Seen: &job.Observation{ID: id(7), Query: "SELECT 1"},
	}
	w.commit("one", watching)
	got, err := w.Runs(w.ctx(), tenant, 7, 3)
	w.must(err)
	want := []job.Run{
		{Took: 3 * time.Minute},
		{Took: 5 * time.Minute, Processing: took(5 * time.Second), Rows: rows(5), Completed: true},
		{Took: 6 * time.Minute, Processing: took(6 * time.Second), Rows: rows(6), Completed: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("the newest runs of a shape (-want +got):\n%s", diff)
	}
	if got, err := w.Runs(w.ctx(), tenant, -7, 3); err != nil || len(got) != 1 {
		w.Errorf("runs of the other shape: %+v, %v", got, err)
	}
	if got, err := w.Runs(w.ctx(), tenant, 0, 3); err != nil || len(got) != 0 {
		w.Errorf("runs of no shape: %+v, %v", got, err)
	}
	if j := w.job(6); j.Shape != 7 || j.Took != 6*time.Minute || j.StartedAt.IsZero() || !slices.Equal(j.Anomaly, []string{"no_rows", "slow"}) ||
		j.Delay == nil || *j.Delay != 1500*time.Millisecond {
		w.Errorf("a finished run: %+v", j)
	}
	w.must(w.Owned(w.ctx(), "one", tenant, func(watch job.Watch) error {
		if watch.ID == id(7) && (watch.Shape != 7 || watch.StartedAt != watching.StartedAt) {
			w.Errorf("a watched run: %+v", watch)
		}
		return nil
	}))
}
