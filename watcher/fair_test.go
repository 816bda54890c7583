package watcher

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestExcess(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		mine, replicas, jobs, want int
	}{
		{1000, 1, 1000, 0},   // alone
		{1000, 2, 1000, 500}, // the other has none
		{1000, 0, 0, 0},      // nobody knows
		{40, 2, 40, 20},      // few, but twice the share
		{30, 2, 30, 0},       // too few to move
		{600, 2, 1000, 0},    // a little more than half
		{700, 2, 1000, 200},  //
		{700, 2, 100, 0},     // the others' numbers are old
		{334, 3, 1000, 0},    // a third
		{100_000, 3, 100_000, 100_000 - 33_334},
	} {
		if got := excess(tc.mine, job.Pulse{Replicas: tc.replicas, Jobs: tc.jobs}); got != tc.want {
			t.Errorf("%d of %d jobs with %d replicas: hands back %d, want %d", tc.mine, tc.jobs, tc.replicas, got, tc.want)
		}
	}
}

// party is a bus between the replicas of a test; deaf drops every note.
type party struct {
	mu    sync.Mutex
	ears  map[int]func(job.Note)
	next  int
	notes []job.Note
	deaf  bool
}

func (p *party) Tell(_ context.Context, n job.Note) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, n)
	if p.deaf {
		return nil
	}
	for _, heard := range p.ears {
		heard(n)
	}
	return nil
}

func (p *party) Listen(ctx context.Context, ready func(), heard func(job.Note)) error {
	p.mu.Lock()
	p.next++
	me := p.next
	if p.ears == nil {
		p.ears = map[int]func(job.Note){}
	}
	p.ears[me] = heard
	p.mu.Unlock()
	ready()
	<-ctx.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ears, me)
	return context.Cause(ctx)
}

// together starts a replica that shares the store with others.
func (b *bench) together(bus *party) (*Watcher, func()) {
	return b.start(func(o *Options) { o.Alone, o.Bus = false, bus })
}

// A new replica takes its part within a minute, with notes and without, and at
// no time do two of them look at one job.
func TestANewReplicaTakesItsPart(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		bubble(t, func(t *testing.T, b *bench) {
			b.up.setAll(inProgress)
			bus := &party{deaf: deaf}
			first, _ := b.together(bus)
			ids := b.many(first, 600)
			b.pass(time.Minute)
			second, _ := b.together(bus)
			third, stopThird := b.together(bus)
			b.pass(time.Minute)
			sizes := []int{first.queue.size(), second.queue.size(), third.queue.size()}
			for i, n := range sizes {
				if n < 100 || n > 320 {
					t.Errorf("replica %d watches %d of %d jobs (deaf: %v): %v", i, n, len(ids), deaf, sizes)
				}
			}
			// Some may just be on their way from one to the other.
			b.pass(30 * time.Second)
			if sum := first.queue.size() + second.queue.size() + third.queue.size(); sum != len(ids) {
				t.Errorf("%d of %d jobs are watched", sum, len(ids))
			}
			// Who goes leaves the rest to the others: at once when they hear of it.
			stopThird()
			patience := 10 * time.Second
			if !deaf {
				b.store.tellFree(bus) // what the database says with the release
				patience = time.Second
			}
			b.pass(patience)
			if sum := first.queue.size() + second.queue.size(); sum != len(ids) {
				t.Errorf("%s after one has gone %d of %d jobs are watched (deaf: %v)", patience, sum, len(ids), deaf)
			}
		})
	}
}

func (m *memory) tellFree(bus *party) {
	_ = bus.Tell(context.Background(), job.Note{Kind: job.NoteFree})
}

// What one replica does is heard, and what it is asked for is done, by all.
func TestReplicasTellEachOther(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		bus := &party{}
		first, _ := b.together(bus)
		second, _ := b.together(bus)
		b.track(first, idOf(1), idOf(2), idOf(3))
		b.pass(30 * time.Second)
		kinds := func(w *Watcher) map[string]int {
			n := map[string]int{}
			notices, _, gap, _ := w.Notices(0, 1000)
			if gap {
				t.Error("there is a gap")
			}
			for _, one := range notices {
				n[one.Kind]++
			}
			return n
		}
		if one, two := kinds(first), kinds(second); one[job.KindTracked] != 3 || two[job.KindTracked] != 3 || two[job.KindStatus] != one[job.KindStatus] {
			t.Errorf("the first knows %v, the second %v", one, two)
		}

		before := len(b.up.looks(idOf(1)))
		if err := second.PollNow(t.Context(), idOf(1)); err != nil {
			t.Fatal(err)
		}
		b.pass(500 * time.Millisecond)
		if n := len(b.up.looks(idOf(1))); n != before+1 {
			t.Errorf("asked at another replica for a look: %d looks came", n-before)
		}

		if err := second.Untrack(t.Context(), idOf(2)); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Second)
		if _, watched := first.Live(idOf(2)); watched {
			t.Error("untracked at another replica, the job is watched on")
		}

		ended, cancel := second.Ended(idOf(3))
		defer cancel()
		b.up.set(idOf(3), runs(time.Now()))
		b.pass(time.Minute)
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("the end at one replica is not heard at the other")
		}
	})
}

// All replicas together have as many requests in flight as one is allowed.
func TestReplicasDivideTheRequestsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		bus := &party{}
		var all []*Watcher
		for range 3 {
			w, _ := b.start(func(o *Options) { o.Alone, o.Bus, o.MaxInFlight = false, bus, 6 })
			all = append(all, w)
		}
		b.pass(15 * time.Second)
		b.up.takes(3 * time.Second)
		b.up.mu.Lock()
		b.up.peak = 0
		b.up.mu.Unlock()
		for i, w := range all {
			for n := range 20 {
				b.track(w, idOf(100*i+n))
			}
		}
		b.pass(time.Minute)
		b.up.mu.Lock()
		defer b.up.mu.Unlock()
		if b.up.peak > 6 || b.up.peak < 4 {
			t.Errorf("%d requests in flight, allowed are 6", b.up.peak)
		}
	})
}
