package storetest

import (
	"errors"
	"time"

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
	if _, err := w.Heartbeat(w.ctx(), "two", lease); !errors.Is(err, job.ErrOwnerLost) {
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
	_, heartbeat := w.Heartbeat(w.ctx(), "one", lease)
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
	if n, err := w.Heartbeat(w.ctx(), "one", lease); n != 0 || err != nil {
		w.Fatalf("heartbeat: %d, %v", n, err)
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
	if n, err := w.Heartbeat(w.ctx(), "two", lease); n != 1 || err != nil {
		w.Errorf("heartbeat after a release: inherited %d, %v; want 1", n, err)
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
