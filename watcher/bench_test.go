package watcher

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// quick is an upstream that answers in no time, or in the time it is told.
type quick struct {
	status job.Status
	took   time.Duration
	n      atomic.Int64
}

func (u *quick) Get(ctx context.Context, _ job.ID) (job.Observation, error) {
	u.n.Add(1)
	if u.took > 0 {
		timer := time.NewTimer(u.took)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return job.Observation{}, ctx.Err()
		}
	}
	return job.Observation{Status: u.status}, nil
}

func (*quick) List(context.Context, job.Status, int, func(job.Observation) bool) error { return nil }

func benchID(n int) (id job.ID) {
	for i := range 8 {
		id[i], id[15-i] = byte(n>>(8*i)), byte(n*2654435761>>(8*i))
	}
	return id
}

func benchWatcher(tb testing.TB, u Upstream, p Policy, inFlight int) (w *Watcher, stop func()) {
	tb.Helper()
	m := newMemory(tb)
	w, err := New(Options{
		Metrics: metrics.New(prometheus.NewRegistry(), metrics.Options{Tenant: "acme"}),
		Tenant:  "acme", Upstream: u, Store: m, Ownership: m, Alone: true, Policy: p, MaxInFlight: inFlight,
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	for !w.claim.believed(time.Now()) {
		runtime.Gosched()
	}
	return w, func() { cancel(); running.Wait() }
}

// BenchmarkPollOverhead is what the loop adds to each request: the upstream
// answers at once, every look is unchanged, and the next is always due.
func BenchmarkPollOverhead(b *testing.B) {
	for _, jobs := range []int{1000, 100_000, 1_000_000} {
		for _, workers := range []int{1, 8} {
			b.Run(fmt.Sprintf("jobs=%d/workers=%d", jobs, workers), func(b *testing.B) {
				u := &quick{status: job.InProgress}
				p := Policy{InitialInterval: time.Millisecond, MaxInterval: time.Millisecond}
				w, stop := benchWatcher(b, u, p, workers)
				defer stop()
				now := job.At(time.Now())
				for i := range jobs {
					w.queue.load([]job.Watch{{
						ID: benchID(i), Status: job.InProgress, TrackedAt: now, NextPollAt: now,
						DeadlineAt: now + 1e9, AbandonAt: now + 2e9,
					}})
				}
				w.queue.settle(now+1, time.Hour, func(int) time.Duration { return 0 }, rand.Float64)
				b.ReportAllocs()
				b.ResetTimer()
				began := u.n.Load()
				for u.n.Load()-began < int64(b.N) {
					runtime.Gosched()
					pause(b.Context(), 50*time.Microsecond)
				}
				b.StopTimer()
				b.ReportMetric(float64(u.n.Load()-began)/b.Elapsed().Seconds(), "polls/s")
			})
		}
	}
}

// BenchmarkMemory is what a million watched jobs cost, in the whole process
// after a collection, and how long a collection takes then.
func BenchmarkMemory(b *testing.B) {
	const jobs = 1_000_000
	for b.Loop() {
		before := heapNow()
		q := newQueue()
		now := job.At(time.Now())
		batch := make([]job.Watch, 0, loadBatch)
		for i := range jobs {
			batch = append(batch, job.Watch{
				ID: benchID(i), Status: job.InProgress, TrackedAt: now, NextPollAt: now + job.Instant(i%30_000), DeadlineAt: now + 1e9,
			})
			if len(batch) == cap(batch) || i == jobs-1 {
				q.load(batch)
				batch = batch[:0]
			}
		}
		q.settle(now, time.Hour, func(int) time.Duration { return 0 }, rand.Float64)
		after := heapNow()
		collections := make([]time.Duration, 5)
		for i := range collections {
			began := time.Now()
			runtime.GC()
			collections[i] = time.Since(began)
		}
		slices.Sort(collections)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(after-before)/jobs, "heap-B/job")
		b.ReportMetric(float64(m.HeapSys-m.HeapReleased+m.StackSys+m.MSpanSys+m.GCSys)/jobs, "process-B/job")
		b.ReportMetric(float64(collections[2].Microseconds())/1000, "gc-ms")
		if q.size() != jobs {
			b.Fatal(q.size())
		}
		runtime.KeepAlive(q)
	}
}

func heapNow() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLag is the time from due to sent with 100,000 jobs that are looked at
// every 30 s, over 8 workers and an upstream that answers in 1 ms: 3,333 looks a
// second, 42 % of what the workers can do.
func BenchmarkLag(b *testing.B) {
	const jobs = 100_000
	for b.Loop() {
		l := &lags{quick: quick{status: job.InProgress, took: time.Millisecond}}
		w, stop := benchWatcher(b, l, Policy{InitialInterval: 30 * time.Second, MaxInterval: 30 * time.Second, Randomization: 0.1}, 8)
		l.w = w
		now := job.At(time.Now())
		for i := range jobs {
			w.queue.load([]job.Watch{{
				ID: benchID(i), Status: job.InProgress, TrackedAt: now, DeadlineAt: now + 1e9, AbandonAt: now + 2e9,
				NextPollAt: now + 1000 + job.Instant(rand.IntN(30_000)), IntervalMS: 30_000,
			}})
		}
		w.queue.settle(now, time.Hour, func(int) time.Duration { return 0 }, rand.Float64)
		goroutines := runtime.NumGoroutine()
		pause(b.Context(), 12*time.Second)
		stop()
		slices.Sort(l.seen)
		at := func(q float64) float64 { return float64(l.seen[int(q*float64(len(l.seen)-1))].Microseconds()) / 1000 }
		b.ReportMetric(at(0.5), "p50-ms")
		b.ReportMetric(at(0.99), "p99-ms")
		b.ReportMetric(at(0.999), "p99.9-ms")
		b.ReportMetric(float64(len(l.seen))/11, "looks/s")
		b.ReportMetric(float64(goroutines), "goroutines")
	}
}

// lags notes how late each request is sent.
type lags struct {
	quick
	w    *Watcher
	mu   sync.Mutex
	seen []time.Duration
}

func (l *lags) Get(ctx context.Context, id job.ID) (job.Observation, error) {
	at := time.Now()
	if watch, _, _, ok := l.w.queue.get(id); ok {
		l.mu.Lock()
		l.seen = append(l.seen, at.Sub(watch.NextPollAt.Time()))
		l.mu.Unlock()
	}
	return l.quick.Get(ctx, id)
}

// BenchmarkGoroutines shows that they do not grow with the jobs.
func BenchmarkGoroutines(b *testing.B) {
	for _, jobs := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("jobs=%d", jobs), func(b *testing.B) {
			w, stop := benchWatcher(b, &quick{status: job.InProgress}, DefaultPolicy(), 8)
			defer stop()
			now := job.At(time.Now())
			for i := range jobs {
				w.queue.add(job.Watch{ID: benchID(i), NextPollAt: now + 1e6, DeadlineAt: now + 1e9, AbandonAt: now + 2e9})
			}
			for b.Loop() {
				b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	p := DefaultPolicy()
	w := watched()
	seen := job.Observation{Status: job.InProgress}
	b.ReportAllocs()
	for b.Loop() {
		d := Decide(w, seen, nil, noon, p)
		w.IntervalMS = d.Watch.IntervalMS
	}
}
