package watcher

import (
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func openGate() *gate { return newGate(func() float64 { return 0.5 }, nil) }

// TestQueueAgreesWithAModel does what a watcher does, at random, and compares
// with a plain map.
func TestQueueAgreesWithAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		q, g := newQueue(), openGate()
		model := map[job.ID]job.Watch{}
		out := map[job.ID]ticket{}
		now := noon
		statuses := []job.Status{job.Unseen, job.Accepted, job.InProgress, "Simmering"}
		random := func(id job.ID) job.Watch {
			return job.Watch{
				ID: id, Status: statuses[r.IntN(len(statuses))], Overdue: r.IntN(4) == 0, Polls: int32(r.IntN(9)),
				NextPollAt: job.At(now.Add(time.Duration(r.IntN(1000)) * time.Millisecond)), TrackedAt: job.At(now),
			}
		}
		for range 3000 {
			now = now.Add(time.Duration(r.IntN(20)) * time.Millisecond)
			id := idOf(r.IntN(600))
			switch r.IntN(7) {
			case 0, 1:
				w := random(id)
				_, known := model[id]
				if added := q.add(w) == 1; added == known {
					t.Fatalf("seed %d: added %v, known %v", seed, added, known)
				}
				if !known {
					model[id] = w
				}
			case 2:
				_, known := model[id]
				if q.remove(id) != known {
					t.Fatalf("seed %d: remove disagrees", seed)
				}
				delete(model, id)
				if t2, ok := out[id]; ok {
					if q.good(t2) {
						t.Fatalf("seed %d: a ticket of a removed job is good", seed)
					}
					delete(out, id)
				}
			case 3:
				w := model[id]
				if q.hurry(id, job.At(now)) && out[id] == (ticket{}) && w.NextPollAt > job.At(now) {
					w.NextPollAt, w.Cause = job.At(now), job.CauseAsked
					model[id] = w
				}
			case 4, 5:
				got, _, _, ok := q.take(now, g, false)
				earliest, some := earliestOf(model, out)
				if due := some && earliest <= job.At(now); ok != due {
					t.Fatalf("seed %d: taken %v, due %v", seed, ok, due)
				}
				if !ok {
					continue
				}
				if got.watch.NextPollAt != earliest {
					t.Fatalf("seed %d: took one due at %v, the earliest is %v", seed, got.watch.NextPollAt, earliest)
				}
				if diff := cmp.Diff(model[got.watch.ID], got.watch); diff != "" {
					t.Fatalf("seed %d: %s", seed, diff)
				}
				out[got.watch.ID] = got
			case 6:
				for id, back := range out {
					delete(out, id)
					if r.IntN(3) == 0 {
						q.finish(back)
						delete(model, id)
						break
					}
					w := random(id)
					if !q.requeue(back, &w) {
						t.Fatalf("seed %d: ticket refused", seed)
					}
					model[id] = w
					break
				}
			}
			if r.IntN(100) == 0 {
				back := time.Duration(-r.IntN(500)) * time.Millisecond
				q.shift(back)
				for id, w := range model {
					if _, looked := out[id]; !looked {
						w.NextPollAt = w.NextPollAt.Add(back)
						model[id] = w
					}
				}
			}
			compare(t, seed, q, model, out, now)
		}
	}
}

func earliestOf(model map[job.ID]job.Watch, out map[job.ID]ticket) (earliest job.Instant, some bool) {
	for id, w := range model {
		if _, looked := out[id]; !looked && (!some || w.NextPollAt < earliest) {
			earliest, some = w.NextPollAt, true
		}
	}
	return earliest, some
}

func compare(t *testing.T, seed uint64, q *queue, model map[job.ID]job.Watch, out map[job.ID]ticket, now time.Time) {
	t.Helper()
	want, overdue, backlog := map[job.Status]int{}, 0, 0
	for id, w := range model {
		want[w.Status]++
		if w.Overdue {
			overdue++
		}
		if _, looked := out[id]; !looked && w.NextPollAt <= job.At(now) {
			backlog++
		}
	}
	got, gotLate := q.watched()
	if diff := cmp.Diff(want, got); diff != "" || overdue != gotLate.Overdue || q.size() != len(model) {
		t.Fatalf("seed %d: counts differ: %s; %d overdue, want %d; %d jobs, want %d", seed, diff, gotLate.Overdue, overdue, q.size(), len(model))
	}
	if n := q.backlog(job.At(now)); n != backlog {
		t.Fatalf("seed %d: backlog %d, want %d", seed, n, backlog)
	}
}

func TestLoadedJobsEnterTheHeapTogether(t *testing.T) {
	t.Parallel()
	q, g := newQueue(), openGate()
	now := job.At(noon)
	q.add(job.Watch{ID: idOf(0), NextPollAt: now - 5})
	q.load([]job.Watch{
		{ID: idOf(0), NextPollAt: now}, // tracked meanwhile
		{ID: idOf(1), NextPollAt: now - 3_600_000},
		{ID: idOf(2), NextPollAt: now + 400},
		{ID: idOf(3), NextPollAt: now + 99_000_000}, // planned by a clock that was wrong
	})
	if _, _, _, ok := q.take(noon, g, false); !ok {
		t.Fatal("the job that was there cannot be taken while others load")
	}
	draws := []float64{0.25, 0.75}
	q.settle(now, time.Hour, func(n int) time.Duration { return time.Duration(n) * time.Second }, func() float64 {
		d := draws[0]
		draws = draws[1:]
		return d
	})
	for _, want := range []struct {
		id int
		at time.Duration
	}{{2, 400 * time.Millisecond}, {1, 500 * time.Millisecond}, {3, 1500 * time.Millisecond}} {
		if _, _, _, ok := q.take(noon.Add(want.at-time.Millisecond), g, false); ok {
			t.Errorf("job %d: due too early", want.id)
		}
		got, _, _, ok := q.take(noon.Add(want.at), g, false)
		if !ok || got.watch.ID != idOf(want.id) {
			t.Errorf("after %v: got %v, %v; want job %d", want.at, got.watch.ID, ok, want.id)
		}
	}
}

func TestMemoryOfEndedJobsIsGivenBack(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for i := range 10 * pageSize {
		q.add(job.Watch{ID: idOf(i)})
	}
	void := ticket{slot: 9 * pageSize, gen: 1}
	for i := range 10 * pageSize {
		q.remove(idOf(i))
	}
	if n := len(q.slots.pages); n != 0 {
		t.Errorf("%d pages left for no job", n)
	}
	if q.good(void) {
		t.Error("a ticket from before is good")
	}
	if q.add(job.Watch{ID: idOf(1)}) != 1 || q.size() != 1 {
		t.Error("the queue does not work any more")
	}
}

func TestInventedStatusesCannotFillTheMemory(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for i := range 2 * maxWords {
		q.learn(job.Status(idOf(i).String()))
	}
	if n := len(q.words.known); n != maxWords {
		t.Errorf("%d words kept, want %d", n, maxWords)
	}
	if q.add(job.Watch{ID: idOf(1), Status: "one more"}) != 1 {
		t.Error("a job with one more word is not watched")
	}
}

func TestSlotHasNoPointersAndIsSmall(t *testing.T) {
	t.Parallel()
	if got := unsafe.Sizeof(slot{}); got > 120 {
		t.Errorf("a slot has %d bytes, want at most 120", got)
	}
}
