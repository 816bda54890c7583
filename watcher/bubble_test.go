package watcher

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// bubble runs f in virtual time: a week passes in milliseconds.
func bubble(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, store: newMemory(t), up: newTenant(t)}
		defer b.stop()
		f(t, b)
	})
}

// bench is a store, an upstream and the watchers that run on them.
type bench struct {
	t     *testing.T
	store *memory
	up    *tenant
	logs  *observer.ObservedLogs
	woken []string
	mu    sync.Mutex
	stops []func()
}

// options are what start uses unless changed.
func (b *bench) options() Options {
	core, logs := observer.New(zapcore.DebugLevel)
	b.logs = logs
	return Options{
		Tenant: "acme", Upstream: b.up, Store: b.store, Ownership: b.store, Log: zap.New(core),
		Policy: Policy{Jitter: func() float64 { return 0.5 }}, Alone: true,
		Route: func(job.Event) []string { return []string{"ledger", "chat"} },
		Wake: func(names ...string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.woken = append(b.woken, names...)
		},
	}
}

// start runs a watcher; the function returned stops it and waits.
func (b *bench) start(change ...func(*Options)) (*Watcher, func()) {
	b.t.Helper()
	o := b.options()
	for _, f := range change {
		f(&o)
	}
	w, err := New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			b.t.Errorf("run: %v", err)
		}
	}()
	stop := sync.OnceFunc(func() { cancel(errors.New("stopped by the test")); <-done })
	b.stops = append(b.stops, stop)
	synctest.Wait()
	return w, stop
}

func (b *bench) stop() {
	for _, stop := range slices.Backward(b.stops) {
		stop()
	}
}

// pass lets virtual time pass.
func (b *bench) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (b *bench) track(w *Watcher, ids ...job.ID) {
	b.t.Helper()
	specs := make([]job.Spec, len(ids))
	for i, id := range ids {
		specs[i].ID = id
	}
	if _, err := w.Track(context.Background(), specs, job.SourceAPI); err != nil {
		b.t.Fatalf("track: %v", err)
	}
	synctest.Wait()
}

// announced lists the types announced about a job, in order of the type.
func (b *bench) announced(id job.ID) []string {
	var types []string
	for _, e := range b.store.announced() {
		if e.JobID == id {
			types = append(types, e.Type.Short())
		}
	}
	slices.Sort(types)
	return types
}

// logged counts log lines that hold the text at that level.
func (b *bench) logged(level zapcore.Level, text string) int {
	n := 0
	for _, e := range b.logs.All() {
		if e.Level == level && containsText(e.Message, text) {
			n++
		}
	}
	return n
}
