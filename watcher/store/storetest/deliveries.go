package storetest

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func deliveriesAreClaimedOnceAndInOrder(w *world) {
	w.track("one", 0, 5)
	for n := range 5 {
		w.commit("one", w.ended(n, "loader", "slack"))
		w.pass(time.Second)
	}
	first, second, third := w.claim("one", "loader", 3), w.claim("one", "loader", 10), w.claim("one", "loader", 10)
	var order []job.ID
	for _, o := range append(first, second...) {
		order = append(order, o.JobID)
		if o.State != job.DeliverySending || o.Destination != "loader" {
			w.Errorf("claimed: %+v", o.Delivery)
		}
	}
	if diff := cmp.Diff([]job.ID{id(0), id(1), id(2), id(3), id(4)}, order); diff != "" || len(first) != 3 || len(third) != 0 {
		w.Errorf("claims of %d, %d and %d (-want +got):\n%s", len(first), len(second), len(third), diff)
	}
}

func (w *world) settle(replica job.ReplicaID, all ...job.Settlement) {
	w.Helper()
	w.must(w.Settle(w.ctx(), replica, all))
}

func settlingRecordsTheAttempt(w *world) {
	w.track("one", 1, 2)
	w.commit("one", w.ended(1, "loader"))
	out := w.claim("one", "loader", 1)[0]
	failed := job.Attempt{At: w.at(), Took: 1500 * time.Millisecond, Code: 503, Reason: job.ReasonServer, Answer: "busy", Key: "k1", NextAt: w.at().Add(time.Minute)}
	w.settle("one", job.Settlement{DeliveryID: out.ID, State: job.DeliveryPending, NextAttemptAt: failed.NextAt, Attempt: &failed})
	if got := w.claim("one", "loader", 1); len(got) != 0 {
		w.Errorf("claimed before its time: %+v", got)
	}
	_, next, err := w.ClaimDeliveries(w.ctx(), "one", "loader", 1)
	w.must(err)
	if next != failed.NextAt {
		w.Errorf("next: got %s, want %s", next, failed.NextAt)
	}
	w.pass(time.Minute)
	again := w.claim("one", "loader", 1)
	if len(again) != 1 || again[0].Tries != 1 || again[0].EventID != out.EventID {
		w.Fatalf("second claim: %+v", again)
	}
	ok := job.Attempt{At: w.at(), Code: 200, Answer: "ok"}
	w.settle("one", job.Settlement{DeliveryID: out.ID, State: job.DeliveryDelivered, Attempt: &ok})
	got := w.delivery(1, "loader")
	failed.N, ok.N = 1, 2
	if diff := cmp.Diff([]job.Attempt{failed, ok}, got.Attempts); diff != "" || got.State != job.DeliveryDelivered || got.NextAttemptAt != 0 || got.SettledAt != w.at() {
		w.Errorf("ledger: %+v (-want +got):\n%s", got, diff)
	}
	if j := w.job(1); j.Deliveries != (job.DeliveryCounts{Delivered: 1}) {
		w.Errorf("counts: %+v", j.Deliveries)
	}
}

func settlingTwiceRecordsOnce(w *world) {
	w.track("one", 1, 2)
	w.commit("one", w.ended(1, "loader"))
	out := w.claim("one", "loader", 1)[0]
	s := job.Settlement{DeliveryID: out.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}}
	w.settle("one", s)
	w.settle("one", s) // the answer to the first was lost
	if got := w.delivery(1, "loader"); len(got.Attempts) != 1 {
		w.Errorf("attempts: got %d, want 1", len(got.Attempts))
	}
}

func exhaustionIsAnnouncedInItsTransaction(w *world) {
	w.track("one", 1, 2)
	w.commit("one", w.ended(1, "loader"))
	out := w.claim("one", "loader", 1)[0]
	if out.Made != 0 {
		w.Errorf("attempts made before the first: %d", out.Made)
	}
	e := job.Event{
		ID: job.EventID(tenant, out.ID+" 1", job.EventDeliveryExhausted), Type: job.EventDeliveryExhausted, Tenant: tenant,
		Subject: out.ID, JobID: id(1), Time: w.at(), CreatedAt: w.at(), Data: []byte(`{"delivery":{}}`),
	}
	w.must(w.SetDestination(w.ctx(), job.DestinationState{Name: "night", Paused: true, PausedBy: "operator", PausedAt: w.at()}))
	s := job.Settlement{
		DeliveryID: out.ID, State: job.DeliveryExhausted, Attempt: &job.Attempt{At: w.at(), Reason: job.ReasonServer},
		Event: &e, Destinations: []string{"ops", "night"},
	}
	// A replica that has lost its claim announces nothing.
	if err := w.Settle(w.ctx(), "nobody", []job.Settlement{s}); !errors.Is(err, job.ErrOwnerLost) {
		w.Errorf("settled by nobody: got %v, want ErrOwnerLost", err)
	}
	if got := w.claim("one", "ops", 10); len(got) != 0 {
		w.Errorf("announced by a settlement that was refused: %+v", got)
	}
	w.settle("one", s)
	w.settle("one", s) // the answer to the first was lost
	told := w.claim("one", "ops", 10)
	if len(told) != 1 || told[0].Event.ID != e.ID || told[0].JobID != id(1) || told[0].EventType != job.EventDeliveryExhausted {
		w.Errorf("announced: %+v", told)
	}
	w.settle("one", job.Settlement{DeliveryID: told[0].ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}})
	if d, err := w.Delivery(w.ctx(), job.DeliveryID(e.ID, "night")); err != nil || d.State != job.DeliveryHeld {
		w.Errorf("for a paused destination: %+v, %v", d, err)
	}
	if _, err := w.Replay(w.ctx(), []string{out.ID}); err != nil {
		w.Error(err)
	}
	if again := w.claim("one", "loader", 1); len(again) != 1 || again[0].Made != 1 || again[0].Tries != 0 {
		w.Errorf("after a replay: %+v", again)
	}
	w.settle("one", job.Settlement{DeliveryID: out.ID, State: job.DeliveryPending, NextAttemptAt: w.at()})
}

func pausedDestinationHoldsItsDeliveries(w *world) {
	w.track("one", 1, 4)
	w.commit("one", w.ended(1, "loader"), w.ended(2, "loader", "slack"))
	sending := w.claim("one", "loader", 1)[0]
	paused := job.DestinationState{Name: "loader", Paused: true, PausedBy: "operator", PausedAt: w.at()}
	w.must(w.SetDestination(w.ctx(), paused))
	w.commit("one", w.ended(3, "loader"))
	w.settle("one", job.Settlement{DeliveryID: sending.ID, State: job.DeliveryPending, NextAttemptAt: w.at(), Attempt: &job.Attempt{At: w.at(), Reason: job.ReasonServer}})
	states := func() (all []job.DeliveryState) {
		for n := 1; n <= 3; n++ {
			all = append(all, w.delivery(n, "loader").State)
		}
		return all
	}
	held := []job.DeliveryState{job.DeliveryHeld, job.DeliveryHeld, job.DeliveryHeld}
	if diff := cmp.Diff(held, states()); diff != "" || len(w.claim("one", "loader", 10)) != 0 {
		w.Errorf("while paused (-want +got):\n%s", diff)
	}
	if got := w.claim("one", "slack", 10); len(got) != 1 {
		w.Errorf("another destination: claimed %d, want 1", len(got))
	}
	w.must(w.SetDestination(w.ctx(), job.DestinationState{Name: "loader"}))
	if got := w.claim("one", "loader", 10); len(got) != 3 {
		w.Errorf("after resume: claimed %d, want 3", len(got))
	}
}

func retryAfterStopsTheWholeDestination(w *world) {
	w.track("one", 1, 3)
	w.commit("one", w.ended(1, "loader"), w.ended(2, "loader"))
	until := w.at().Add(time.Hour)
	w.must(w.SetDestination(w.ctx(), job.DestinationState{Name: "loader", NotBefore: until}))
	claimed, next, err := w.ClaimDeliveries(w.ctx(), "one", "loader", 10)
	w.must(err)
	if len(claimed) != 0 || next != until {
		w.Errorf("before: claimed %d, next %s; want none and %s", len(claimed), next, until)
	}
	w.pass(time.Hour)
	if got := w.claim("one", "loader", 10); len(got) != 2 {
		w.Errorf("afterwards: claimed %d, want 2", len(got))
	}
}

func replayKeepsIDsAndHistory(w *world) {
	w.track("one", 1, 4)
	for n := 1; n < 4; n++ {
		w.commit("one", w.ended(n, "loader"))
		out := w.claim("one", "loader", 1)[0]
		w.settle("one", job.Settlement{DeliveryID: out.ID, State: job.DeliveryExhausted, Attempt: &job.Attempt{At: w.at(), Reason: job.ReasonTimeout}})
		w.pass(time.Minute)
	}
	before := w.delivery(1, "loader")
	n, err := w.Replay(w.ctx(), []string{before.ID})
	w.must(err)
	again := w.claim("one", "loader", 10)
	if n != 1 || len(again) != 1 || again[0].ID != before.ID || again[0].EventID != before.EventID || again[0].Tries != 0 {
		w.Fatalf("replayed %d: %+v", n, again)
	}
	w.settle("one", job.Settlement{DeliveryID: before.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}})
	if got := w.delivery(1, "loader"); len(got.Attempts) != 2 || got.Attempts[1].N != 2 {
		w.Errorf("attempts after replay: %+v", got.Attempts)
	}
	if _, err := w.Replay(w.ctx(), []string{w.delivery(2, "loader").ID, "dlv_unknown"}); !errors.Is(err, job.ErrNotFound) {
		w.Errorf("replay of an unknown delivery: got %v, want ErrNotFound", err)
	}
	if got := w.delivery(2, "loader").State; got != job.DeliveryExhausted {
		w.Errorf("a replay that was refused changed something: %s", got)
	}
	since := job.At(w.now.Add(-90 * time.Second))
	n, err = w.ReplayWhere(w.ctx(), job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryExhausted}, Destination: "loader", Since: since})
	w.must(err)
	if n != 1 || w.delivery(3, "loader").State != job.DeliveryPending || w.delivery(2, "loader").State != job.DeliveryExhausted {
		w.Errorf("replay by filter: %d", n)
	}
}

func manyReplaysGoOutInGroups(w *world) {
	const many = 60
	w.track("one", 1, many+1)
	for n := 1; n <= many; n++ {
		w.commit("one", w.ended(n, "loader", "slack"))
	}
	for _, out := range w.claim("one", "loader", many) {
		w.settle("one", job.Settlement{DeliveryID: out.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}})
	}
	sending := w.claim("one", "slack", 1)[0]
	n, err := w.ReplayWhere(w.ctx(), job.DeliveryFilter{Since: w.at()})
	w.must(err)
	if want := 2*many - 1; n != want {
		w.Errorf("replayed %d, want %d: all but the one that is being sent", n, want)
	}
	for i, want := range []int{25, 25, 10} {
		if got := len(w.claim("one", "loader", many)); got != want {
			w.Errorf("group %d: claimed %d, want %d", i, got, want)
		}
		w.pass(250 * time.Millisecond)
	}
	w.settle("one", job.Settlement{DeliveryID: sending.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}})
}

func deliveryStatsLeaveNothingOpenOut(w *world) {
	w.track("one", 1, 4)
	first := w.at()
	for n := 1; n < 4; n++ {
		w.commit("one", w.ended(n, "loader"))
		w.pass(time.Second)
	}
	w.claim("one", "loader", 1)
	counts, oldest, err := w.DeliveryStats()
	w.must(err)
	got := counts["loader"]
	if got[job.DeliveryPending] != 2 || got[job.DeliverySending] != 1 || oldest["loader"] != first {
		w.Errorf("stats: %v, oldest %v; want 2 pending, 1 sending, oldest %v", got, oldest, first)
	}
	if n, err := w.ReplicaCount(); n != 1 || err != nil {
		w.Errorf("replicas: got %d, %v, want 1", n, err)
	}
}

func deliveredAreCountedUntilForgotten(w *world) {
	counted := func(step string, loader, slack int64) {
		w.Helper()
		counts, _, err := w.DeliveryStats()
		w.must(err)
		if l, s := counts["loader"][job.DeliveryDelivered], counts["slack"][job.DeliveryDelivered]; l != loader || s != slack {
			w.Errorf("%s: loader %d, slack %d; want %d and %d", step, l, s, loader, slack)
		}
	}
	deliver := func(destination string) (all []job.Settlement) {
		for _, o := range w.claim("one", destination, 10) {
			all = append(all, job.Settlement{DeliveryID: o.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}})
		}
		w.settle("one", all...)
		return all
	}
	w.track("one", 1, 4)
	for n := 1; n < 4; n++ {
		w.commit("one", w.ended(n, "loader", "slack"))
	}
	counted("nothing yet", 0, 0)
	again := deliver("loader")
	w.settle("one", again...) // the answer to the first was lost
	deliver("slack")
	counted("all delivered", 3, 3)
	n, err := w.Replay(w.ctx(), []string{w.delivery(1, "loader").ID, w.delivery(1, "loader").ID})
	w.must(err)
	counted("one replayed", 2, 3)
	all, err := w.ReplayWhere(w.ctx(), job.DeliveryFilter{Destination: "loader"})
	w.must(err)
	counted("all of one destination replayed", 0, 3)
	if n != 2 || all != 3 {
		w.Errorf("replayed: got %d and %d, want 2 (one of them twice) and 3", n, all)
	}
	deliver("loader")
	counted("delivered again", 3, 3)
	w.pass(time.Hour)
	_, err = w.Purge(w.ctx(), w.at(), 2)
	w.must(err)
	counted("two jobs forgotten", 1, 1)
}

func destinationStateIsRemembered(w *world) {
	want := map[string]job.DestinationState{
		"a": {Name: "a", Paused: true, PausedBy: "gone", PausedAt: 5, NotBefore: 7, Failures: 9},
		"b": {Name: "b"},
	}
	for _, s := range want {
		w.must(w.SetDestination(w.ctx(), job.DestinationState{Name: s.Name, Failures: 1}))
		w.must(w.SetDestination(w.ctx(), s))
	}
	got, err := w.Destinations(w.ctx())
	w.must(err)
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("destinations (-want +got):\n%s", diff)
	}
}
