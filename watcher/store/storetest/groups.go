package storetest

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// grouped takes the jobs between two numbers in, in one transaction, as a group.
func (w *world) grouped(group string, from, to int) {
	w.Helper()
	var items []job.Tracking
	for n := from; n < to; n++ {
		t := w.tracking(n)
		t.Group = group
		items = append(items, t)
	}
	_, err := w.Track(w.ctx(), "one", items)
	w.must(err)
}

// endedIn is the end of a job whose group is announced to ops.
func (w *world) endedIn(n int, outcome job.Outcome) job.Update {
	u := w.ended(n)
	u.GroupDestinations = []string{"ops"}
	if outcome != job.OutcomeCompleted {
		e := *u.Event
		e.ID, e.Type = job.EventID(tenant, id(n).String(), outcome.EventType()), outcome.EventType()
		u.Status, u.Outcome, u.Event = job.Status(outcome), outcome, &e
		u.Seen.Error = "out of memory"
	}
	return u
}

// announced are the groups that ops has been told of so far.
func (w *world) announced() (all []job.GroupView) {
	w.Helper()
	for _, out := range w.claim("one", "ops", 100) {
		var data struct {
			Group job.GroupView `json:"group"`
		}
		w.must(json.Unmarshal(out.Event.Data, &data))
		if out.EventType != job.EventGroupFinished || out.Event.Subject != data.Group.Name || out.JobID != (job.ID{}) {
			w.Errorf("event: %+v", out.Event)
		}
		all = append(all, data.Group)
		w.settle("one", job.Settlement{DeliveryID: out.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}})
	}
	return all
}

// told says how many groups were announced, and counts of the last one.
func (w *world) told(what string, jobs, finished, failed int) {
	w.Helper()
	all := w.announced()
	if jobs == 0 {
		if len(all) != 0 {
			w.Errorf("%s: announced %+v, want nothing", what, all)
		}
		return
	}
	if len(all) != 1 || all[0].Jobs != jobs || all[0].Finished != finished || all[0].Failed != failed {
		w.Errorf("%s: announced %+v, want one of %d jobs, %d finished, %d failed", what, all, jobs, finished, failed)
	}
}

func groupIsAnnouncedWhenItsLastJobEnds(w *world) {
	w.grouped("night", 1, 4)
	w.track("one", 4, 5)
	w.commit("one", w.endedIn(1, job.OutcomeCompleted), w.endedIn(4, job.OutcomeFailed))
	w.commit("one", w.endedIn(3, job.OutcomeCompleted))
	w.told("one still goes on", 0, 0, 0)
	last := w.endedIn(2, job.OutcomeCompleted)
	w.commit("one", last)
	w.commit("one", last) // the answer to the first was lost
	all := w.announced()
	rows := []int64{1, 2, 3}
	want := []job.GroupView{{Name: "night", Outcome: job.OutcomeCompleted, Jobs: 3, Finished: 3, Members: []job.GroupMember{
		{ID: id(1), Status: job.Completed, Outcome: job.OutcomeCompleted, OutputRows: &rows[0]},
		{ID: id(2), Status: job.Completed, Outcome: job.OutcomeCompleted, OutputRows: &rows[1]},
		{ID: id(3), Status: job.Completed, Outcome: job.OutcomeCompleted, OutputRows: &rows[2]},
	}}}
	if diff := cmp.Diff(want, all); diff != "" {
		w.Errorf("announced (-want +got):\n%s", diff)
	}
}

func groupIsAnnouncedWhenItsFirstJobFailsAndNotAgain(w *world) {
	w.grouped("night", 1, 4)
	w.commit("one", w.endedIn(1, job.OutcomeCompleted))
	w.commit("one", w.endedIn(2, job.OutcomeLost))
	all := w.announced()
	if len(all) != 1 || all[0].Outcome != job.OutcomeFailed || all[0].Finished != 2 || all[0].Failed != 1 ||
		all[0].Members[0].ID != id(2) || all[0].Members[0].Error != "out of memory" || all[0].Members[1].Outcome != job.OutcomeCompleted || all[0].Members[2].Outcome != job.Undecided {
		w.Errorf("at the first failure: %+v", all)
	}
	w.commit("one", w.endedIn(3, job.OutcomeFailed))
	w.told("all have ended", 0, 0, 0)
}

func jobsThatJoinLaterAreANextRound(w *world) {
	w.grouped("night", 1, 3)
	w.grouped("night", 3, 4) // before the announcement: the same round
	w.commit("one", w.endedIn(1, job.OutcomeCompleted), w.endedIn(2, job.OutcomeCompleted))
	w.told("the one that joined goes on", 0, 0, 0)
	w.commit("one", w.endedIn(3, job.OutcomeCompleted))
	w.told("first round", 3, 3, 0)
	w.grouped("night", 4, 6)
	w.grouped("night", 1, 3) // known jobs do not join again
	w.commit("one", w.endedIn(4, job.OutcomeFailed))
	w.told("second round", 2, 1, 1)
	w.grouped("night", 6, 7)
	w.commit("one", w.endedIn(5, job.OutcomeFailed)) // belongs to the second round
	w.told("what is left of the second", 0, 0, 0)
	w.commit("one", w.endedIn(6, job.OutcomeCompleted))
	w.told("third round", 1, 1, 0)
}

func untrackedJobLeavesItsGroup(w *world) {
	w.grouped("night", 1, 4)
	w.commit("one", w.endedIn(1, job.OutcomeCompleted), w.endedIn(2, job.OutcomeCompleted))
	w.must(w.Untrack(w.ctx(), tenant, id(3)))
	w.told("the last one left", 2, 2, 0)
	w.grouped("empty", 4, 5)
	w.must(w.Untrack(w.ctx(), tenant, id(4)))
	w.told("nobody is left", 0, 0, 0)
}

func replicaThatLostItsClaimAnnouncesNoGroup(w *world) {
	w.grouped("night", 1, 2)
	if _, err := w.Commit(w.ctx(), "nobody", []job.Update{w.endedIn(1, job.OutcomeCompleted)}); !errors.Is(err, job.ErrOwnerLost) {
		w.Errorf("got %v, want ErrOwnerLost", err)
	}
	w.told("refused", 0, 0, 0)
	w.commit("one", w.endedIn(1, job.OutcomeCompleted))
	w.told("committed", 1, 1, 0)
}

func jobsThatEndAtOnceAnnounceTheirGroupOnce(w *world) {
	const many = 40
	w.grouped("night", 1, many+1)
	var all sync.WaitGroup
	for n := 1; n <= many; n++ {
		u := w.endedIn(n, job.OutcomeCompleted)
		all.Go(func() {
			if _, err := w.Commit(w.ctx(), "one", []job.Update{u}); err != nil {
				w.Error(err)
			}
		})
	}
	all.Wait()
	w.told("all ended at once", many, many, 0)
}

func retentionForgetsGroups(w *world) {
	w.grouped("night", 1, 3)
	w.commit("one", w.endedIn(1, job.OutcomeCompleted), w.endedIn(2, job.OutcomeCompleted))
	w.pass(time.Hour)
	if n, err := w.Purge(w.ctx(), w.at(), 10); n != 2 || err != nil {
		w.Errorf("purged %d, %v", n, err)
	}
	w.told("what is owed is kept", 2, 2, 0)
	w.pass(time.Hour)
	if _, err := w.Purge(w.ctx(), w.at(), 10); err != nil {
		w.Error(err)
	}
	if ds, _, err := w.Deliveries(w.ctx(), job.DeliveryFilter{}); len(ds) != 0 || err != nil {
		w.Errorf("left after retention: %+v, %v", ds, err)
	}
	w.grouped("night", 3, 4)
	w.commit("one", w.endedIn(3, job.OutcomeCompleted))
	w.told("the name used again", 1, 1, 0)
}
