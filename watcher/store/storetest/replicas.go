package storetest

import (
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func deadReplicaIsInheritedWhole(w *world) {
	w.track("one", 0, 40)
	w.pass(lease + time.Second)
	w.register("two")
	if one, two := w.owned("one"), w.owned("two"); one != 0 || two != 40 {
		w.Errorf("owned after the death of one: one %d, two %d; want 0 and 40", one, two)
	}
	if got := w.commit("two", w.ended(7, "loader")); got[0] != nil {
		w.Errorf("commit by the heir: %v", got[0])
	}
	w.pass(lease + time.Second)
	w.register("three")
	if got := w.owned("three"); got != 39 {
		w.Errorf("owned by the heir's heir: got %d, want 39", got)
	}
	if _, err := w.Heartbeat(w.ctx(), "two", lease, 0); !errors.Is(err, job.ErrOwnerLost) {
		w.Errorf("heartbeat of a replica that was inherited: got %v, want ErrOwnerLost", err)
	}
}

func replicaThatLostItsClaimCommitsNothing(w *world) {
	w.track("one", 1, 4)
	w.commit("one", w.ended(3, "loader"))
	out := w.claim("one", "loader", 1)[0]
	w.pass(lease + time.Second)
	w.register("two")
	_, track := w.Track(w.ctx(), "one", []job.Tracking{w.tracking(9)})
	_, commit := w.Commit(w.ctx(), "one", []job.Update{w.ended(1, "loader")})
	_, claim := w.Claim(w.ctx(), "one", tenant, 10)
	settle := w.Settle(w.ctx(), "one", []job.Settlement{{DeliveryID: out.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: 1, Code: 200}}})
	_, _, deliveries := w.ClaimDeliveries(w.ctx(), "one", "loader", 1)
	_, heartbeat := w.Heartbeat(w.ctx(), "one", lease, 0)
	release := w.Release(w.ctx(), "one")
	for name, err := range map[string]error{
		"track": track, "commit": commit, "claim": claim, "settle": settle, "claim deliveries": deliveries, "heartbeat": heartbeat, "release": release,
	} {
		if !errors.Is(err, job.ErrOwnerLost) {
			w.Errorf("%s by a replica that lost its claim: got %v, want ErrOwnerLost", name, err)
		}
	}
	if j := w.job(1); j.State != job.Watching {
		w.Errorf("it committed something: %+v", j)
	}
	if d := w.delivery(3, "loader"); d.State != job.DeliveryPending || len(d.Attempts) != 0 {
		w.Errorf("it settled something: %+v", d)
	}
}

func liveReplicaIsNotInherited(w *world) {
	w.track("one", 0, 5)
	w.pass(lease / 2)
	if p, err := w.Heartbeat(w.ctx(), "one", lease, 5); p.Inherited != 0 || err != nil {
		w.Fatalf("heartbeat: %+v, %v", p, err)
	}
	w.pass(lease/2 + time.Second)
	w.register("two")
	w.track("two", 5, 7)
	if one, two := w.owned("one"), w.owned("two"); one != 5 || two != 2 {
		w.Errorf("owned: one %d, two %d; want 5 and 2", one, two)
	}
	if got := w.commit("two", w.ended(1, "loader")); !errors.Is(got[0], job.ErrConflict) {
		w.Errorf("commit to another replica's job: got %v, want ErrConflict", got[0])
	}
	if n, err := w.ReplicaCount(); n != 2 || err != nil {
		w.Errorf("replicas: got %d, %v, want 2", n, err)
	}
}

func releaseFreesAtOnce(w *world) {
	w.track("one", 0, 5)
	w.register("two")
	w.must(w.Release(w.ctx(), "one"))
	if p, err := w.Heartbeat(w.ctx(), "two", lease, 0); p.Inherited != 1 || err != nil {
		w.Errorf("heartbeat after a release: %+v, %v; want one inherited", p, err)
	}
	if got := w.owned("two"); got != 5 {
		w.Errorf("owned after a release: got %d, want 5", got)
	}
}

func whatADeadReplicaWasSendingIsSentAgain(w *world) {
	w.track("one", 1, 2)
	w.commit("one", w.ended(1, "loader"))
	out := w.claim("one", "loader", 1)[0]
	w.pass(lease + time.Second)
	w.register("two")
	again := w.claim("two", "loader", 1)
	if len(again) != 1 || again[0].ID != out.ID || again[0].EventID != out.EventID {
		w.Errorf("claimed by the heir: %+v, want %s again", again, out.ID)
	}
}

func registerMayBeRepeated(w *world) {
	w.track("one", 1, 2)
	w.register("one") // the answer to the first was lost
	if n := w.owned("one"); n != 1 {
		w.Errorf("owned after the repetition: %d, want 1", n)
	}
	if n, err := w.ReplicaCount(); n != 1 || err != nil {
		w.Errorf("replicas: got %d, %v, want 1", n, err)
	}
	w.pass(2 * lease)
	w.register("two")
	err := w.Register(w.ctx(), job.Replica{ID: "one"}, lease, false)
	if !errors.Is(err, job.ErrOwnerLost) || w.owned("one") != 0 || w.owned("two") != 1 {
		w.Errorf("a replica that was inherited came back: %v, owns %d", err, w.owned("one"))
	}
}

func heartbeatTellsOfTheOthers(w *world) {
	w.track("one", 0, 9)
	w.register("two")
	w.register("three")
	one, err := w.Heartbeat(w.ctx(), "one", lease, 9)
	w.must(err)
	two, err := w.Heartbeat(w.ctx(), "two", lease, 1)
	w.must(err)
	if diff := cmp.Diff([]job.Pulse{{Replicas: 3, Jobs: 9}, {Replicas: 3, Jobs: 10}}, []job.Pulse{one, two}); diff != "" {
		w.Errorf("heartbeats (-want +got):\n%s", diff)
	}
	// Who says nothing for two leases does not count, and what he had is inherited.
	for range 3 {
		w.pass(lease * 3 / 4)
		if two, err = w.Heartbeat(w.ctx(), "two", lease, 1); err != nil {
			w.Fatal(err)
		}
	}
	if two.Replicas != 1 || two.Jobs != 1 || w.owned("two") != 9 {
		w.Errorf("when the others are dead: %+v, owns %d", two, w.owned("two"))
	}
}

func handedBackJobsAreAnybodys(w *world) {
	w.track("one", 0, 9)
	w.register("two")
	w.commit("one", w.ended(3))
	w.must(w.HandBack(w.ctx(), "one", tenant, []job.ID{id(1), id(2), id(3), id(99)}))
	p, err := w.Heartbeat(w.ctx(), "two", lease, 0)
	w.must(err)
	if p.Free != 2 || w.owned("one") != 6 {
		w.Errorf("after handing two back: %+v, one owns %d", p, w.owned("one"))
	}
	if got := w.commit("one", w.ended(1)); !errors.Is(got[0], job.ErrConflict) {
		w.Errorf("commit to a job that was handed back: %v, want ErrConflict", got[0])
	}
	// Nobody hands back what is another's.
	w.must(w.HandBack(w.ctx(), "two", tenant, []job.ID{id(4)}))
	claimed, err := w.Claim(w.ctx(), "two", tenant, 10)
	w.must(err)
	if len(claimed) != 2 || w.owned("two") != 2 || w.owned("one") != 6 {
		w.Errorf("claimed %d; one owns %d, two %d", len(claimed), w.owned("one"), w.owned("two"))
	}
	if p, err = w.Heartbeat(w.ctx(), "two", lease, 2); err != nil || p.Free != 0 {
		w.Errorf("when all are taken: %+v, %v", p, err)
	}
	if err := w.HandBack(w.ctx(), "nobody", tenant, []job.ID{id(4)}); !errors.Is(err, job.ErrOwnerLost) {
		w.Errorf("handing back without a claim: %v", err)
	}
}
