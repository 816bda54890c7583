package watcher

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// TestEveryStoreFaultLosesAndRepeatsNothing breaks each operation in both ways,
// "failed and not stored" and "failed but stored", at its first and at later
// calls, with and without a restart, and then looks at the whole.
func TestEveryStoreFaultLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	for op, calls := range map[string]int{
		"register": 1, "owned": 1, "claim": 1, "track": 1, "jobs": 3, "commit": 5, "heartbeat": 2, "release": 1,
	} {
		for first := range calls {
			for _, stored := range []bool{false, true} {
				for _, restart := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s from %d stored=%v restart=%v", op, first, stored, restart), func(t *testing.T) {
						bubble(t, func(t *testing.T, b *bench) { breakOnce(t, b, op, first, stored, restart) })
					})
				}
			}
		}
	}
}

func breakOnce(t *testing.T, b *bench, op string, first int, stored, restart bool) {
	ids := []job.ID{idOf(1), idOf(2), idOf(3)}
	b.up.set(ids[0], runs(time.Now().Add(4*time.Second)))
	b.up.set(ids[1], runs(time.Now().Add(time.Hour)))
	b.up.set(ids[2], fails(&fault{reason: job.ReasonNotFound}))
	deadline := func(o *Options) { o.Policy.Deadline = 30 * time.Second }

	calls, broken := 0, 0
	b.store.fault = func(at string) (error, bool) {
		if at != op || broken == 3 {
			return nil, false
		}
		if calls++; calls <= first {
			return nil, false
		}
		broken++
		return errInjected, stored
	}
	w, stop := b.start(deadline)
	specs := []job.Spec{{ID: ids[0]}, {ID: ids[1]}, {ID: ids[2]}}
	tracked := false
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := w.Track(ctx, specs, job.SourceAPI)
		cancel()
		if tracked = err == nil; tracked {
			break
		}
		b.pass(time.Second)
	}
	if !tracked {
		t.Fatal("never tracked")
	}
	b.pass(6 * time.Second)
	if restart {
		stop()
		w, _ = b.start(deadline)
	}
	b.pass(2 * time.Hour)
	if broken == 0 && (op != "release" || restart) {
		t.Fatalf("%s was never broken", op)
	}
	// The lost job is past its deadline as well, but no look has ever shown that it runs.
	want := [][]string{{"completed"}, {"completed", "overdue"}, {"lost"}}
	for i, id := range ids {
		if diff := cmp.Diff(want[i], b.announced(id)); diff != "" {
			t.Errorf("job %d: %s", i, diff)
		}
		if j := b.store.job(id); j.State != job.Finished {
			t.Errorf("job %d: %+v", i, j)
		}
	}
	for _, id := range ids {
		seen := map[string]int{}
		for _, h := range b.store.job(id).History {
			if seen[h.Kind+string(h.Status)]++; seen[h.Kind+string(h.Status)] > 1 {
				t.Errorf("job %s: %s %s twice in its history", id, h.Kind, h.Status)
			}
		}
	}
	if n := w.queue.size(); n != 0 {
		t.Errorf("%d jobs left in the queue", n)
	}
	last := len(b.up.requests())
	b.pass(time.Hour)
	if n := len(b.up.requests()) - last; n != 0 {
		t.Errorf("%d looks at jobs that have finished", n)
	}
}

func TestEndedJobsWaitInMemoryWhileTheStoreIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		w, _ := b.start()
		end := time.Now().Add(time.Minute)
		b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) { return runs(end)(at) })
		ids := b.many(w, 60)
		b.pass(50 * time.Second)
		away := true
		b.store.mu.Lock()
		b.store.fault = func(op string) (error, bool) {
			if away && op == "commit" {
				return errInjected, false
			}
			return nil, false
		}
		b.store.mu.Unlock()
		b.pass(5 * time.Minute)
		looks := len(b.up.requests())
		b.pass(5 * time.Minute)
		if n := len(b.up.requests()) - looks; n != 0 {
			t.Errorf("Zuora was asked %d times again about jobs that had ended", n)
		}
		if e, ok := w.Explain(ids[0]); !ok || !containsText(e.Why, "store") {
			t.Errorf("explanation %+v, %v", e, ok)
		}
		b.store.mu.Lock()
		away, b.store.commits = false, nil
		b.store.mu.Unlock()
		b.pass(10 * time.Second)
		for _, id := range ids {
			if diff := cmp.Diff([]string{"completed"}, b.announced(id)); diff != "" {
				t.Fatal(diff)
			}
		}
		if n := len(b.store.transactions()); n > 8 {
			t.Errorf("%d commits for 60 jobs that waited together: %v", n, b.store.transactions())
		}
		for _, text := range []string{"kept in memory", "recovered after"} {
			if got := b.logged(zapcore.WarnLevel, text); got != 1 {
				t.Errorf("logged %d times %q, want once", got, text)
			}
		}
		if got := b.logged(zapcore.ErrorLevel, "away for a while"); got != 1 {
			t.Errorf("logged %d times that the store is away, want once", got)
		}
	})
}

func TestWhatWaitsForTheStoreIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		query := strings.Repeat("x", 1<<20)
		b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) {
			return job.Observation{Status: job.Completed, UpdatedAt: at, Query: query}, nil
		})
		b.store.fault = func(op string) (error, bool) {
			if op == "commit" {
				return errInjected, false
			}
			return nil, false
		}
		w, _ := b.start()
		b.many(w, 200)
		b.pass(10 * time.Minute)
		if n, most := len(b.up.requests()), maxWaiting>>20+defaultMaxInFlight+1; n > most {
			t.Errorf("%d answers of 1 MB each were asked for while the store was away, want at most %d", n, most)
		}
		b.store.mu.Lock()
		b.store.fault = nil
		b.store.mu.Unlock()
		b.pass(time.Minute)
		if n := len(b.store.announced()); n != 200 {
			t.Errorf("%d announced, want 200", n)
		}
	})
}

func TestJobsThatEndTogetherShareACommit(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) { return runs(at)(at) })
		b.store.took = map[string]time.Duration{"commit": 50 * time.Millisecond}
		w, _ := b.start()
		b.many(w, 64)
		b.pass(time.Minute)
		if n := len(b.store.announced()); n != 64 {
			t.Fatalf("%d announced, want 64", n)
		}
		if n := len(b.store.transactions()); n > 3 {
			t.Errorf("64 jobs that ended together took %d commits: %v", n, b.store.transactions())
		}
	})
}

// poisoned refuses one job for ever, by failing every commit that holds it.
type poisoned struct {
	*memory
	id job.ID
}

func (p poisoned) Commit(ctx context.Context, replica job.ReplicaID, updates []job.Update) ([]error, error) {
	for i := range updates {
		if updates[i].ID == p.id && updates[i].Outcome != job.Undecided {
			return nil, errInjected
		}
	}
	return p.memory.Commit(ctx, replica, updates)
}

func TestOneJobThatTheStoreCannotTakeStopsNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		end := time.Now().Add(time.Minute)
		b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) { return runs(end)(at) })
		w, _ := b.start(func(o *Options) { o.Store = poisoned{b.store, idOf(7)} })
		ids := b.many(w, 40)
		b.pass(3 * time.Minute)
		for _, id := range ids {
			want := []string{"completed"}
			if id == idOf(7) {
				want = nil
			}
			if diff := cmp.Diff(want, b.announced(id)); diff != "" {
				t.Errorf("job %s: %s", id, diff)
			}
		}
	})
}

func TestPanicInARouteIsContained(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		var mended atomic.Bool
		b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) { return runs(at.Add(-time.Second))(at) })
		w, _ := b.start(func(o *Options) {
			o.Route = func(job.Event) []string {
				if !mended.Load() {
					panic("no route")
				}
				return []string{"ledger"}
			}
		})
		ids := b.many(w, 1)
		b.pass(10 * time.Second)
		mended.Store(true)
		b.pass(10 * time.Second)
		if diff := cmp.Diff([]string{"completed"}, b.announced(ids[0])); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPanicInALookIsThatLooksFault(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		calls := 0
		b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) {
			if calls++; calls < 3 {
				panic("boom")
			}
			return runs(at.Add(-time.Second))(at)
		})
		w, _ := b.start()
		ids := b.many(w, 1)
		b.pass(10 * time.Second)
		if diff := cmp.Diff([]string{"completed"}, b.announced(ids[0])); diff != "" {
			t.Error(diff)
		}
	})
}
