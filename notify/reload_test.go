package notify_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestReloadReplacesDestinationsAndKeepsTheOldOnesWhenAtFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &receiver{}, &receiver{}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a})
		defer h.close()
		b.seen = map[string]int{}
		h.receivers["b"] = b
		if err := h.d.Reload([]notify.Destination{{Name: "b"}, {Name: "b"}}); err == nil || len(h.d.Names()) != 1 {
			t.Errorf("a bad reload: %v, names %v", err, h.d.Names())
		}
		if err := h.d.Reload([]notify.Destination{{Name: "b", Webhook: &notify.WebhookConfig{}}}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		h.finish(3)
		pass(time.Second)
		if n, _ := b.taken(); n != 3 || a.called() != 0 {
			t.Errorf("after reload: b took %d, a was called %d times", n, a.called())
		}
	})
}

func hook(name string) notify.Destination {
	return notify.Destination{Name: name, Webhook: &notify.WebhookConfig{}}
}

// view is what the operator sees of one destination.
func (h *house) view(name string) job.DestinationView {
	h.t.Helper()
	views, err := h.d.Views(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, v := range views {
		if v.Name == name {
			return v
		}
	}
	return job.DestinationView{}
}

func TestDeliveriesOfARemovedDestinationAreHeldUntilItComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &receiver{}, &receiver{}
		a.answer = down
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a, "b": b})
		defer h.close()
		h.finish(3)
		pass(time.Second)
		if err := h.d.Reload([]notify.Destination{hook("b")}); err != nil {
			t.Fatal(err)
		}
		pass(48 * time.Hour)
		if got := h.states("a"); got[job.DeliveryHeld] != 3 || a.called() != 3 {
			t.Errorf("removed: %v after %d calls, want three held after three", got, a.called())
		}
		if v := h.view("a"); !v.Removed || !v.Paused || v.PausedBy != "removed" || v.Deliveries[job.DeliveryHeld] != 3 {
			t.Errorf("what the operator sees: %+v", v)
		}
		a.answer = nil
		if err := h.d.Reload([]notify.Destination{hook("a"), hook("b")}); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if got := h.states("a"); got[job.DeliveryDelivered] != 3 {
			t.Errorf("back again: %v, want three delivered", got)
		}
		if v := h.view("a"); v.Removed || v.Paused {
			t.Errorf("what the operator sees: %+v", v)
		}
	})
}

func TestDestinationThatAnotherReplicaDoesNotKnowGoesOnWhereItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a})
		defer h.close()
		pass(time.Second)
		held := job.DestinationState{Name: "a", Paused: true, PausedBy: "removed", PausedAt: job.At(time.Now())}
		if err := h.store.SetDestination(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		h.finish(1)
		pass(time.Minute)
		if a.called() != 0 {
			t.Error("sent at once: the new file may be about to come here as well")
		}
		pass(5 * time.Minute)
		if n, _ := a.taken(); n != 1 {
			t.Errorf("took %d, want 1", n)
		}
	})
}

func TestOperatorsPauseOutlivesRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a})
		defer h.close()
		if err := h.d.Pause(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		h.finish(1)
		for _, all := range [][]notify.Destination{{}, {hook("a")}} {
			if err := h.d.Reload(all); err != nil {
				t.Fatal(err)
			}
			pass(time.Hour)
		}
		if v := h.view("a"); a.called() != 0 || v.PausedBy != "operator" {
			t.Errorf("called %d times, paused by %q", a.called(), v.PausedBy)
		}
	})
}

func TestReloadWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &receiver{}, &receiver{}
		slow.answer = func(context.Context, int, []job.Outgoing) (notify.Answer, error) {
			pass15()
			return notify.Answer{Code: 200}, nil
		}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"slow": slow, "quick": quick})
		defer h.close()
		h.finish(1)
		pass(time.Second)
		if err := h.d.Reload([]notify.Destination{hook("quick"), hook("slow")}); err != nil {
			t.Fatal(err)
		}
		h.finish(1)
		pass(time.Second)
		if n, _ := quick.taken(); n != 2 {
			t.Errorf("quick took %d a second after the reload, want 2", n)
		}
		pass(time.Minute)
		if n, repeats := slow.taken(); n != 2 || repeats != 0 {
			t.Errorf("slow took %d with %d repeats, want 2 and none", n, repeats)
		}
	})
}

func TestRunOfFailuresIsCountedOnAcrossAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{answer: down}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a})
		defer h.close()
		h.finish(5)
		pass(time.Second)
		if err := h.d.Reload([]notify.Destination{hook("a")}); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if v := h.view("a"); v.Failures != 5 {
			t.Errorf("failures: got %d, want 5", v.Failures)
		}
	})
}
