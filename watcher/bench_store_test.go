package watcher

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
)

func fileStore(b *testing.B, path string) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// fill tracks jobs in the store under a replica that is then released.
func fill(b *testing.B, s *store.Store, jobs int) {
	b.Helper()
	ctx, now := b.Context(), job.At(time.Now())
	if err := s.Register(ctx, job.Replica{ID: "filler"}, time.Minute, true); err != nil {
		b.Fatal(err)
	}
	items := make([]job.Tracking, 0, 10_000)
	for i := range jobs {
		items = append(items, job.Tracking{
			Spec: job.Spec{ID: benchID(i)}, Tenant: "acme", Source: job.SourceAPI,
			TrackedAt: now, DeadlineAt: now.Add(6 * time.Hour), AbandonAt: now.Add(168 * time.Hour),
		})
		if len(items) == cap(items) || i == jobs-1 {
			if _, err := s.Track(ctx, "filler", items); err != nil {
				b.Fatal(err)
			}
			items = items[:0]
		}
	}
	if err := s.Release(ctx, "filler"); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkStart is the time from Run until a million jobs of a SQLite file are
// in the queue and due, against a bare scan of the same rows and columns with
// the same driver. Rounds are interleaved.
func BenchmarkStart(b *testing.B) {
	const jobs = 1_000_000
	path := filepath.Join(b.TempDir(), "jobs.db")
	s := fileStore(b, path)
	defer func() { _ = s.Close() }()
	fill(b, s, jobs)
	var ratios []float64
	for b.Loop() {
		scan := bareScan(b, path, jobs)
		start := startOn(b, s, jobs)
		ratios = append(ratios, start.Seconds()/scan.Seconds())
		b.Logf("bare scan %v, start %v", scan.Round(time.Millisecond), start.Round(time.Millisecond))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "start/scan")
}

func bareScan(b *testing.B, path string, jobs int) time.Duration {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	began := time.Now()
	rows, err := db.QueryContext(b.Context(), `SELECT id, status, status_since, tracked_at, deadline_at, abandon_at,
		next_poll_at, interval_ms, polls, overdue FROM jobs WHERE state = 'watching'`)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	n := 0
	var id, status sql.RawBytes
	var numbers [8]int64
	for rows.Next() {
		if err := rows.Scan(&id, &status, &numbers[0], &numbers[1], &numbers[2], &numbers[3], &numbers[4], &numbers[5], &numbers[6], &numbers[7]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n != jobs || rows.Err() != nil {
		b.Fatalf("%d rows, %v", n, rows.Err())
	}
	return time.Since(began)
}

func startOn(b *testing.B, s *store.Store, jobs int) time.Duration {
	b.Helper()
	w, err := New(Options{Tenant: "acme", Upstream: &quick{status: job.InProgress, took: time.Second}, Store: s, Ownership: s, Alone: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	began := time.Now()
	running.Go(func() { _ = w.Run(ctx) })
	for {
		w.queue.mu.Lock()
		n := len(w.queue.heap.due)
		w.queue.mu.Unlock()
		if n >= jobs-defaultMaxInFlight {
			break
		}
		pause(ctx, time.Millisecond)
	}
	took := time.Since(began)
	cancel()
	running.Wait()
	return took
}

// BenchmarkStorm is how many jobs a second can end at once, each with its
// event and two deliveries in a SQLite file, found by eight workers.
func BenchmarkStorm(b *testing.B) {
	const jobs = 20_000
	for b.Loop() {
		s := fileStore(b, filepath.Join(b.TempDir(), fmt.Sprintf("jobs-%d.db", time.Now().UnixNano())))
		fill(b, s, jobs)
		u := &quick{status: job.Completed}
		w, err := New(Options{
			Tenant: "acme", Upstream: u, Store: s, Ownership: s, Alone: true,
			Policy: Policy{InitialInterval: time.Millisecond, MaxInterval: time.Millisecond},
			Route:  func(job.Event) []string { return []string{"ledger", "chat"} },
		})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var running sync.WaitGroup
		began := time.Now()
		running.Go(func() { _ = w.Run(ctx) })
		for w.queue.size() == 0 {
			pause(ctx, time.Millisecond)
		}
		for w.queue.size() > 0 {
			pause(ctx, time.Millisecond)
		}
		b.ReportMetric(jobs/time.Since(began).Seconds(), "ended/s")
		cancel()
		running.Wait()
		_ = s.Close()
	}
}
