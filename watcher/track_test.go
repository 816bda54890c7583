package watcher

import (
	"errors"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestTrackRefusesWhatIsInvalidAndTakesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		w, _ := b.start(func(o *Options) { o.KnownDestinations = func() []string { return []string{"finance", "loader"} } })
		for name, spec := range map[string]job.Spec{
			"label":               {ID: idOf(2), Labels: job.Labels{"-": "x"}},
			"deadline":            {ID: idOf(2), Deadline: time.Millisecond},
			"unknown destination": {ID: idOf(2), Destinations: []string{"finance", "nobody"}},
		} {
			_, err := w.Track(t.Context(), []job.Spec{{ID: idOf(1)}, spec}, job.SourceAPI)
			var invalid *job.InvalidError
			if !errors.As(err, &invalid) || !errors.Is(err, job.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
			if name == "unknown destination" && (invalid.Field != "destinations[1]" || invalid.Value != "nobody") {
				t.Errorf("%+v", invalid)
			}
		}
		if n := b.store.count("track"); n != 0 {
			t.Errorf("the store was asked %d times", n)
		}
		fresh, err := w.Track(t.Context(), []job.Spec{{ID: idOf(1), Destinations: []string{"loader"}}}, job.SourceAPI)
		if err != nil || len(fresh) != 1 || !fresh[0] {
			t.Errorf("a good one: %v, %v", fresh, err)
		}
		fresh, err = w.Track(t.Context(), []job.Spec{{ID: idOf(1)}, {ID: idOf(3)}, {ID: idOf(3)}}, job.SourceAPI)
		if err != nil || fresh[0] || !fresh[1] || fresh[2] {
			t.Errorf("one known, one new, one twice: %v, %v", fresh, err)
		}
	})
}

func TestJobIsAbandonedAfterItsDeadlineAlways(t *testing.T) {
	t.Parallel()
	w, err := New(Options{Tenant: "acme", Upstream: newTenant(t), Store: newMemory(t), Ownership: newMemory(t)})
	if err != nil {
		t.Fatal(err)
	}
	now := job.At(noon)
	for _, tc := range []struct{ deadline, wantDeadline, wantAbandon time.Duration }{
		{0, 6 * time.Hour, 168 * time.Hour},
		{time.Minute, time.Minute, 168 * time.Hour},
		{168 * time.Hour, 168 * time.Hour, 336 * time.Hour},
		{1000 * time.Hour, 1000 * time.Hour, 1168 * time.Hour},
	} {
		got := w.tracking(job.Spec{ID: idOf(1), Deadline: tc.deadline}, job.SourceAPI, now)
		if got.DeadlineAt.Sub(now) != tc.wantDeadline || got.AbandonAt.Sub(now) != tc.wantAbandon {
			t.Errorf("deadline %v: overdue after %v, abandoned after %v", tc.deadline, got.DeadlineAt.Sub(now), got.AbandonAt.Sub(now))
		}
	}
}

func TestNewRefusesOptionsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	good := func() Options {
		return Options{Tenant: "acme", Upstream: newTenant(t), Store: newMemory(t), Ownership: newMemory(t)}
	}
	if _, err := New(good()); err != nil {
		t.Fatalf("the least that is needed: %v", err)
	}
	for name, change := range map[string]func(*Options){
		"no tenant":            func(o *Options) { o.Tenant = "" },
		"no upstream":          func(o *Options) { o.Upstream = nil },
		"no store":             func(o *Options) { o.Store = nil },
		"no ownership":         func(o *Options) { o.Ownership = nil },
		"negative in flight":   func(o *Options) { o.MaxInFlight = -1 },
		"absurd in flight":     func(o *Options) { o.MaxInFlight = 1 << 20 },
		"multiplier below 1":   func(o *Options) { o.Policy.Multiplier = 0.5 },
		"randomization over 1": func(o *Options) { o.Policy.Randomization = 1.5 },
		"max below initial":    func(o *Options) { o.Policy.InitialInterval, o.Policy.MaxInterval = time.Minute, time.Second },
		"negative interval":    func(o *Options) { o.Policy.InitialInterval = -time.Second },
		"absurd interval":      func(o *Options) { o.Policy.MaxInterval = 1000 * time.Hour },
	} {
		o := good()
		change(&o)
		if _, err := New(o); !errors.Is(err, job.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExplainSaysWhy(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		running, failing, denied, over, looked := idOf(1), idOf(2), idOf(3), idOf(4), idOf(5)
		b.up.set(running, always(job.InProgress))
		b.up.set(failing, fails(&fault{reason: job.ReasonMalformed}))
		b.up.set(denied, fails(&fault{reason: job.ReasonForbidden}))
		b.up.set(over, always(job.InProgress))
		w, _ := b.start()
		b.track(w, running, failing, denied)
		if _, err := w.Track(t.Context(), []job.Spec{{ID: over, Deadline: time.Second}}, job.SourceAPI); err != nil {
			t.Fatal(err)
		}
		b.pass(20 * time.Second)
		for id, text := range map[job.ID]string{
			running: "not ended yet", failing: "the last look failed (malformed", denied: "Zuora says forbidden",
			over: "overdue",
		} {
			e, ok := w.Explain(id)
			if !ok || !containsText(e.Why, text) {
				t.Errorf("got %q, want %q", e.Why, text)
			}
		}
		b.up.takes(time.Hour)
		b.track(w, looked)
		b.pass(10 * time.Millisecond)
		if e, _ := w.Explain(looked); !containsText(e.Why, "under way") {
			t.Errorf("got %q", e.Why)
		}
		e, _ := w.Explain(denied)
		if e.LastReason != job.ReasonForbidden || e.Failures == 0 || e.Polls == 0 || e.DeadlineAt.IsZero() || e.AbandonAt.IsZero() {
			t.Errorf("explanation %+v", e)
		}
		if _, ok := w.Explain(idOf(77)); ok {
			t.Error("explained a job that is not watched")
		}
		for c := job.CauseTracked; c <= job.CauseUncommitted; c++ {
			if s := w.why(&job.Watch{Cause: c}); s == "" || s == "unknown" {
				t.Errorf("cause %d has no sentence", c)
			}
		}
	})
}

func TestRetentionDeletesInSmallBatches(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) { return runs(at)(at) })
		w, _ := b.start(func(o *Options) { o.Retention = 24 * time.Hour })
		b.many(w, 3*purgeBatch)
		b.pass(20 * time.Hour)
		if b.store.deleted() != 0 {
			t.Errorf("%d jobs deleted too early", b.store.deleted())
		}
		b.pass(5 * time.Hour)
		if b.store.deleted() != 3*purgeBatch {
			t.Errorf("%d jobs deleted, want %d", b.store.deleted(), 3*purgeBatch)
		}
	})
}
