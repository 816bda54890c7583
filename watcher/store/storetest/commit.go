package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

func statusChangeIsStoredWithItsHistory(w *world) {
	w.track("one", 1, 2)
	w.pass(time.Second)
	u := job.Update{
		Tenant: tenant, ID: id(1), At: w.at(), Status: "resting", StatusSince: w.at(), NextPollAt: w.at().Add(time.Minute), Polls: 2,
		Seen:    &job.Observation{ID: id(1), Query: "SELECT 1", CreatedBy: "me", SourceData: "LIVE"},
		History: []job.Change{{At: w.at(), Kind: job.KindStatus, Status: "resting", Polls: 2}},
	}
	if got := w.commit("one", u); got[0] != nil {
		w.Fatal(got[0])
	}
	j := w.job(1)
	if j.Status != "resting" || j.State != job.Watching || j.Query != "SELECT 1" || j.NextPollAt != u.NextPollAt || len(j.History) != 2 {
		w.Errorf("job after a change: %+v", j)
	}
	n := 0
	w.must(w.Owned(w.ctx(), "one", tenant, func(watch job.Watch) error {
		n++
		if watch.Status != "resting" || watch.Polls != 2 || watch.NextPollAt != u.NextPollAt || watch.StatusSince != w.at() {
			w.Errorf("watch after a change: %+v", watch)
		}
		return nil
	}))
	if n != 1 {
		w.Errorf("owned: got %d, want 1", n)
	}
}

func finishStoresEventAndDeliveriesTogether(w *world) {
	w.track("one", 1, 2)
	w.pass(time.Minute)
	w.commit("one", w.ended(1, "loader", "slack"))
	j := w.job(1)
	want := job.DeliveryCounts{Pending: 2}
	if j.State != job.Finished || j.Outcome != job.OutcomeCompleted || j.Deliveries != want || j.NextPollAt != 0 || j.DetectedAt != w.at() {
		w.Errorf("finished job: %+v", j)
	}
	if n := w.owned("one"); n != 0 {
		w.Errorf("a finished job is still watched: %d", n)
	}
	out := w.claim("one", "loader", 10)
	if len(out) != 1 || out[0].Event.ID != job.EventID(tenant, id(1).String(), job.EventCompleted) || string(out[0].Event.Data) != `{"job":{}}` ||
		out[0].Event.Subject != id(1).String() || out[0].Query != "SELECT 1" || out[0].Event.Time != w.at() {
		w.Errorf("claimed: %+v", out)
	}
}

func finishingTwiceIsFinishingOnce(w *world) {
	w.track("one", 1, 2)
	u := w.ended(1, "loader")
	first := w.commit("one", u)
	second := w.commit("one", u) // the answer to the first was lost
	other := u
	other.Outcome, other.Status = job.OutcomeFailed, job.Failed
	third := w.commit("one", other)
	if first[0] != nil || second[0] != nil || !errors.Is(third[0], job.ErrConflict) {
		w.Errorf("first %v, the same again %v, another outcome %v", first[0], second[0], third[0])
	}
	if got := w.job(1); got.Deliveries.Pending != 1 || got.Outcome != job.OutcomeCompleted {
		w.Errorf("after three commits: %+v", got)
	}
}

func untrackedJobIsNotFinished(w *world) {
	w.track("one", 1, 3)
	w.must(w.Untrack(w.ctx(), tenant, id(1)))
	results := w.commit("one", w.ended(1, "loader"), w.ended(2, "loader"))
	if !errors.Is(results[0], job.ErrNotFound) || results[1] != nil {
		w.Errorf("results: %v, want not found for the first alone", results)
	}
	if got := w.claim("one", "loader", 10); len(got) != 1 || got[0].JobID != id(2) {
		w.Errorf("deliveries: %+v, want that of job 2 alone", got)
	}
}

func untrackForgetsWhatWasAnnounced(w *world) {
	w.track("one", 1, 3)
	overdue := func(n int) job.Update {
		e := job.Event{
			ID: job.EventID(tenant, id(n).String(), job.EventOverdue), Type: job.EventOverdue, Tenant: tenant, Subject: id(n).String(),
			JobID: id(n), Time: w.at(), Data: []byte(`{}`),
		}
		return job.Update{Tenant: tenant, ID: id(n), At: w.at(), Status: job.InProgress, Overdue: true, Event: &e, Destinations: []string{"loader", "slack"}}
	}
	w.commit("one", overdue(1), overdue(2))
	var sending job.Outgoing
	for _, o := range w.claim("one", "loader", 10) {
		if o.JobID == id(1) {
			sending = o
		}
	}
	w.must(w.Untrack(w.ctx(), tenant, id(1)))
	// The send that was under way comes back, together with another's.
	other := job.DeliveryID(job.EventID(tenant, id(2).String(), job.EventOverdue), "loader")
	w.settle("one",
		job.Settlement{DeliveryID: sending.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}},
		job.Settlement{DeliveryID: other, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}})
	ds, _, err := w.Deliveries(w.ctx(), job.DeliveryFilter{Job: id(1)})
	w.must(err)
	if d, err := w.Delivery(w.ctx(), other); len(ds) != 0 || err != nil || d.State != job.DeliveryDelivered {
		w.Errorf("left of the untracked job: %+v; the other: %+v, %v", ds, d, err)
	}
	if out := w.claim("one", "slack", 10); len(out) != 1 || out[0].JobID != id(2) {
		w.Errorf("still to announce: %+v, want job 2 alone", out)
	}
	// Tracked anew it is a job like any other, and may be announced again.
	w.track("one", 1, 2)
	w.commit("one", overdue(1))
	if out := w.claim("one", "slack", 10); len(out) != 1 || out[0].JobID != id(1) {
		w.Errorf("announced after tracking anew: %+v", out)
	}
}

func dataFileIsKeptOnlyWhenAsked(w *world) {
	w.track("one", 1, 3)
	asked, not := w.ended(1, "loader"), w.ended(2, "loader")
	asked.Seen.DataFile, not.Seen.DataFile = secret.New("https://canary/one"), secret.New("https://canary/two")
	asked.KeepDataFile = true
	w.commit("one", asked, not)
	for _, o := range w.claim("one", "loader", 10) {
		want := ""
		if o.JobID == id(1) {
			want = "https://canary/one"
		}
		if got := o.DataFile.Reveal(); got != want {
			w.Errorf("link of %s: got %q, want %q", o.JobID, got, want)
		}
	}
}

func overdueIsAnnouncedBesideTheOutcome(w *world) {
	w.track("one", 1, 2)
	e := job.Event{
		ID: job.EventID(tenant, id(1).String(), job.EventOverdue), Type: job.EventOverdue, Tenant: tenant, Subject: id(1).String(),
		JobID: id(1), Time: w.at(), Data: []byte(`{}`),
	}
	overdue := job.Update{Tenant: tenant, ID: id(1), At: w.at(), Status: job.InProgress, Overdue: true, Event: &e, Destinations: []string{"loader"}}
	w.commit("one", overdue)
	w.commit("one", overdue) // the answer to the first was lost
	if j := w.job(1); !j.Overdue || j.State != job.Watching || j.Deliveries.Pending != 1 {
		w.Errorf("overdue job: %+v", j)
	}
	u := w.ended(1, "loader")
	u.Overdue = true
	w.commit("one", u)
	types := map[job.EventType]int{}
	for _, o := range w.claim("one", "loader", 10) {
		types[o.Event.Type]++
	}
	if diff := cmp.Diff(map[job.EventType]int{job.EventOverdue: 1, job.EventCompleted: 1}, types); diff != "" {
		w.Errorf("announced (-want +got):\n%s", diff)
	}
}

func concurrentWritesShareTransactions(w *world) {
	const many = 60
	w.track("one", 0, many)
	var wg sync.WaitGroup
	errs := make(chan error, 3*many)
	for n := range many {
		wg.Go(func() {
			results, err := w.Commit(w.ctx(), "one", []job.Update{w.ended(n, "loader")})
			errs <- errors.Join(err, errors.Join(results...))
		})
		wg.Go(func() {
			// One that fails must undo nothing but itself.
			if err := w.Untrack(w.ctx(), tenant, id(many+n)); !errors.Is(err, job.ErrNotFound) {
				errs <- fmt.Errorf("untrack of an unknown job: %w", err)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			w.Error(err)
		}
	}
	if got := len(w.claim("one", "loader", 2*many)); got != many {
		w.Errorf("deliveries: got %d, want %d", got, many)
	}
}

func historyOfAnAlternatingJobIsBounded(w *world) {
	w.track("one", 1, 2)
	for n := range 300 {
		status := []job.Status{job.Accepted, job.InProgress}[n%2]
		w.commit("one", job.Update{Tenant: tenant, ID: id(1), At: w.at(), Status: status, History: []job.Change{{At: w.at(), Kind: job.KindStatus, Status: status}}})
	}
	h := w.job(1).History
	if len(h) > 200 || h[0].Kind != job.KindTracked || h[len(h)-1].Status != job.InProgress {
		w.Errorf("history: %d entries from %+v to %+v", len(h), h[0], h[len(h)-1])
	}
}
