package notify_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestManyReplaysAreTakenAtOnceAndPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = replays
		// Taking a hundred at a time keeps the test short; the pace is the store's.
		a := &receiver{lane: notify.LaneOptions{Batch: 100}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a})
		defer h.close()
		h.finish(many)
		pass(time.Minute)
		if n, _ := a.taken(); n != many {
			t.Fatalf("took %d before the replay, want %d", n, many)
		}
		a.mu.Lock()
		a.at, a.sizes = nil, nil
		a.mu.Unlock()
		began := time.Now()
		n, err := h.store.ReplayWhere(t.Context(), job.DeliveryFilter{Since: 1})
		if err != nil || n != many {
			t.Fatalf("replayed %d, %v; want %d", n, err, many)
		}
		h.d.Wake()
		pass(10 * time.Second)
		h.finish(1)
		pass(2 * time.Second)
		if n, _ := a.taken(); n != many+1 {
			t.Error("what happened meanwhile waits behind the replays")
		}
		pass(5 * time.Minute)
		if n, repeats := a.taken(); n != many+1 || repeats != many {
			t.Errorf("took %d with %d repeats, want each of %d twice", n, repeats, many)
		}
		perSecond := map[int]int{}
		for i, at := range a.at {
			perSecond[int(at.Sub(began)/time.Second)] += a.sizes[i]
		}
		for second, n := range perSecond {
			if n > 101 {
				t.Errorf("%d went out in second %d, want at most a hundred and the one that happened meanwhile", n, second)
			}
		}
	})
}
