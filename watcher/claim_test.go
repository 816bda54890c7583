package watcher

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// cable is one replica's way to the shared store, which can be cut.
type cable struct {
	*memory
	mu  sync.Mutex
	cut bool
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

func (c *cable) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		return errInjected
	}
	return nil
}

func (c *cable) Heartbeat(ctx context.Context, id job.ReplicaID, term time.Duration, jobs int) (job.Pulse, error) {
	if err := c.err(); err != nil {
		return job.Pulse{}, err
	}
	return c.memory.Heartbeat(ctx, id, term, jobs)
}

func (c *cable) Commit(ctx context.Context, id job.ReplicaID, u []job.Update) ([]error, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.memory.Commit(ctx, id, u)
}

func (c *cable) Track(ctx context.Context, id job.ReplicaID, items []job.Tracking) ([]bool, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.memory.Track(ctx, id, items)
}

// witness tells which replica asked about a job, and when.
type witness struct {
	*tenant
	me  string
	log *journal
}

type journal struct {
	mu    sync.Mutex
	looks []look
}

func (j *journal) all() []look {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.looks)
}

type look struct {
	by string
	id job.ID
	at time.Time
}

func (w *witness) Get(ctx context.Context, id job.ID) (job.Observation, error) {
	w.log.mu.Lock()
	w.log.looks = append(w.log.looks, look{w.me, id, time.Now()})
	w.log.mu.Unlock()
	return w.tenant.Get(ctx, id)
}

// replica starts a watcher with a cable of its own.
func (b *bench) replica(name string, log *journal) (*Watcher, func(), *cable) {
	b.t.Helper()
	c := &cable{memory: b.store}
	w, stop := b.start(func(o *Options) {
		o.Alone, o.MaxInFlight = false, 2
		o.Store, o.Ownership = c, c
		o.Upstream = &witness{tenant: b.up, me: name, log: log}
	})
	return w, stop, c
}

func TestCutOffReplicaStopsLookingBeforeItsJobsAreTakenOver(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		var log journal
		b.up.setAll(inProgress)
		b.up.takes(time.Second) // so that the two workers never rest
		first, _, cableOfFirst := b.replica("first", &log)
		ids := b.many(first, 30) // too few to be shared out
		second, _, _ := b.replica("second", &log)
		before := first.Replica()
		b.pass(time.Minute)
		if n := slices.IndexFunc(log.all(), func(l look) bool { return l.by == "second" }); n >= 0 {
			t.Fatal("the second looked at a job of the first")
		}

		cut := time.Now()
		cableOfFirst.set(true)
		b.pass(2 * time.Minute)
		last, takenOver := time.Time{}, time.Time{}
		for _, l := range log.all() {
			if l.by == "first" {
				last = l.at
			} else if takenOver.IsZero() {
				takenOver = l.at
			}
		}
		if takenOver.IsZero() || !last.Before(takenOver) {
			t.Fatalf("the first looked last %v after the cut, the second first %v", last.Sub(cut), takenOver.Sub(cut))
		}
		if n := second.queue.size(); n != len(ids) {
			t.Errorf("the second watches %d jobs, want %d", n, len(ids))
		}

		// The cable is mended: the first learns that it has lost, and starts anew.
		cableOfFirst.set(false)
		b.pass(time.Minute)
		if first.Replica() == before || first.Replica() == "" {
			t.Errorf("still registered as %q", first.Replica())
		}
		if n := first.queue.size(); n != 0 {
			t.Errorf("the first still has %d jobs", n)
		}
		// What it takes in now is watched by it.
		id := idOf(99)
		b.track(first, id)
		b.pass(time.Second)
		b.pass(time.Minute)
		if i := slices.IndexFunc(log.all(), func(l look) bool { return l.id == id }); i < 0 || log.all()[i].by != "first" {
			t.Error("the new job was not looked at by its owner")
		}
	})
}

func TestEndedJobThatIsNotCommittedIsAnnouncedByTheNextOwner(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		var log journal
		b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) { return runs(noonOf(at))(at) })
		first, _, cableOfFirst := b.replica("first", &log)
		ids := b.many(first, 5)
		b.replica("second", &log)
		cableOfFirst.set(true)
		b.pass(13 * time.Hour) // they end at noon, while the first is cut off
		cableOfFirst.set(false)
		b.pass(10 * time.Minute)
		for _, id := range ids {
			if diff := cmp.Diff([]string{"completed", "overdue"}, b.announced(id)); diff != "" {
				t.Errorf("job %s: %s", id, diff)
			}
		}
	})
}

// noonOf is noon of the first day of the bubble.
func noonOf(at time.Time) time.Time {
	return time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC).In(at.Location())
}

func TestReleasedJobsAreTakenOverByTheOther(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		var log journal
		b.up.setAll(inProgress)
		first, stop, _ := b.replica("first", &log)
		ids := b.many(first, 10)
		second, _, _ := b.replica("second", &log)
		stop()
		b.pass(11 * time.Second) // one heartbeat
		if n := second.queue.size(); n != len(ids) {
			t.Errorf("the second watches %d jobs, want %d", n, len(ids))
		}
	})
}

func TestTrackOutlivesALostClaim(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		w, _ := b.start()
		// Somebody inherits our row behind our back.
		b.store.mu.Lock()
		for _, l := range b.store.replicas {
			l.holder = "somebody"
		}
		b.store.mu.Unlock()
		b.track(w, idOf(1))
		b.pass(time.Minute)
		if len(b.up.looks(idOf(1))) == 0 {
			t.Error("never looked at")
		}
		if got := b.logged(zapcore.WarnLevel, "claim lost"); got != 1 {
			t.Errorf("logged %d lost claims, want 1", got)
		}
	})
}

func TestTrackWaitsForTheRegistrationAndNoLonger(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		b.store.fault = func(op string) (error, bool) {
			if op == "register" {
				return errInjected, false
			}
			return nil, false
		}
		w, _ := b.start()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := w.Track(ctx, []job.Spec{{ID: idOf(1)}}, job.SourceAPI); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("track without a registration: %v", err)
		}
		if w.Replica() != "" {
			t.Errorf("replica %q before it is registered", w.Replica())
		}
		b.store.mu.Lock()
		b.store.fault = nil
		b.store.mu.Unlock()
		if _, err := w.Track(t.Context(), []job.Spec{{ID: idOf(1)}}, job.SourceAPI); err != nil {
			t.Errorf("track once it is registered: %v", err)
		}
	})
}

func TestRestartLooksAtAFewAtOnceAndSpreadsMany(t *testing.T) {
	for _, tc := range []struct {
		name   string
		jobs   int
		within time.Duration
		most   int // looks in the first second
	}{
		{"few", 60, time.Second, 60},
		{"many", 3000, 31 * time.Second, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bench{t: t, store: newMemory(t), up: newTenant(t)}
				defer b.stop()
				b.up.setAll(inProgress)
				draw := 0.0
				evenly := func(o *Options) {
					o.Policy.Jitter = func() float64 { draw += 0.6180339887; draw -= float64(int(draw)); return draw }
					o.MaxInFlight = 1
				}
				w, stop := b.start(evenly)
				b.many(w, tc.jobs)
				b.pass(2 * time.Minute)
				stop()
				b.pass(time.Hour)
				began := time.Now()
				w, _ = b.start(evenly)
				if n := w.queue.size(); n != tc.jobs {
					t.Fatalf("%d jobs loaded, want %d", n, tc.jobs)
				}
				b.pass(time.Minute)
				if n := between(b.up.requests(), began, began.Add(time.Second)); n > tc.most {
					t.Errorf("%d looks in the first second, want at most %d", n, tc.most)
				}
				seen := map[job.ID]bool{}
				for id, at := range b.up.gets {
					if slices.ContainsFunc(at, func(a time.Time) bool { return !a.Before(began) && a.Before(began.Add(tc.within)) }) {
						seen[id] = true
					}
				}
				if len(seen) != tc.jobs {
					t.Errorf("%d of %d jobs looked at within %v", len(seen), tc.jobs, tc.within)
				}
			})
		})
	}
}
