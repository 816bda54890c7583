package watcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func containsText(s, text string) bool { return strings.Contains(s, text) }

func TestJobIsWatchedToItsEndAndAnnouncedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		id, end := idOf(1), time.Now().Add(10*time.Second)
		b.up.set(id, runs(end))
		w, _ := b.start()
		ended, cancel := w.Ended(id)
		defer cancel()
		b.track(w, id)
		b.pass(time.Minute)

		// 0, 1, 2.5, 4.75, 8.125, 13.2 s: growing by 1.5 from 1 s.
		if got := len(b.up.looks(id)); got != 6 {
			t.Errorf("%d looks, want 6: %v", got, b.up.looks(id))
		}
		j := b.store.job(id)
		if j.State != job.Finished || j.Outcome != job.OutcomeCompleted || j.FinishedAt != job.At(end) || j.Polls != 6 {
			t.Errorf("stored %+v", j)
		}
		if diff := cmp.Diff([]string{"completed"}, b.announced(id)); diff != "" {
			t.Error(diff)
		}
		if _, ok := w.Live(id); ok {
			t.Error("a finished job is still in the queue")
		}
		select {
		case <-ended:
		default:
			t.Error("nobody was told that it ended")
		}
		e := b.store.announced()[job.EventID("acme", id.String(), job.EventCompleted)]
		var data struct {
			Job job.View `json:"job"`
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		if data.Job.Deliveries.Pending != 2 || data.Job.Outcome != job.OutcomeCompleted || data.Job.State != job.Finished ||
			data.Job.Query != nil || data.Job.OutputRows == nil || *data.Job.OutputRows != 7 {
			t.Errorf("event holds %s", e.Data)
		}
		if e.Time != job.At(end) {
			t.Errorf("event's time %v, want %v", e.Time, end)
		}
		if diff := cmp.Diff([]string{"chat", "ledger"}, b.woken); diff != "" {
			t.Errorf("woken destinations: %s", diff)
		}
		kinds := make([]string, 0, 3)
		for _, h := range j.History {
			kinds = append(kinds, h.Kind)
		}
		if diff := cmp.Diff([]string{job.KindTracked, job.KindStatus, job.KindFinished}, kinds); diff != "" {
			t.Errorf("history: %s", diff)
		}
	})
}

func TestUnchangedLooksAndFailedLooksWriteNothing(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		steady, broken := idOf(1), idOf(2)
		b.up.set(steady, always(job.InProgress))
		b.up.set(broken, fails(&fault{reason: job.ReasonMalformed}))
		w, _ := b.start()
		b.track(w, steady, broken)
		before := b.store.written()
		b.pass(5 * time.Hour)
		if n := b.store.written() - before; n != 0 {
			t.Errorf("%d writes for %d unchanged and %d failed looks, want 0", n, len(b.up.looks(steady)), len(b.up.looks(broken)))
		}
		if len(b.up.looks(steady)) < 500 {
			t.Errorf("only %d looks in 5 h", len(b.up.looks(steady)))
		}
	})
}

func TestJobAlreadyFinishedWhenTrackedIsAnnouncedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		id := idOf(1)
		b.up.set(id, runs(time.Now().Add(-time.Hour)))
		w, _ := b.start()
		b.track(w, id)
		b.track(w, id)
		b.pass(time.Minute)
		b.track(w, id)
		b.pass(time.Minute)
		if got := len(b.up.looks(id)); got != 1 {
			t.Errorf("%d looks, want 1", got)
		}
		if diff := cmp.Diff([]string{"completed"}, b.announced(id)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOverdueIsAnnouncedOnceAndAbandonedAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		id, began := idOf(1), time.Now()
		b.up.set(id, always(job.InProgress))
		w, _ := b.start()
		b.track(w, id)
		b.pass(6*time.Hour + time.Second)
		if diff := cmp.Diff([]string{"overdue"}, b.announced(id)); diff != "" {
			t.Error(diff)
		}
		if _, late := w.Watched(); late.Overdue != 1 {
			t.Errorf("%d jobs overdue, want 1", late.Overdue)
		}
		looks := b.up.looks(id)
		if last := looks[len(looks)-1].Sub(began); last != 6*time.Hour {
			t.Errorf("the last look was %v after tracking: not on the deadline", last)
		}
		b.pass(162*time.Hour + time.Second)
		if diff := cmp.Diff([]string{"abandoned", "overdue"}, b.announced(id)); diff != "" {
			t.Error(diff)
		}
		if j := b.store.job(id); j.Outcome != job.OutcomeAbandoned || j.Status != job.InProgress || !j.Overdue {
			t.Errorf("stored %+v", j)
		}
		looks = b.up.looks(id)
		if last := looks[len(looks)-1].Sub(began); last != 168*time.Hour {
			t.Errorf("abandoned %v after tracking", last)
		}
		if n := len(looks); n > 3000 {
			t.Errorf("%d looks in a week: overdue jobs are not watched slowly", n)
		}
	})
}

func TestDeniedJobIsLostOnlyWhenItLasts(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		gone, back, began := idOf(1), idOf(2), time.Now()
		b.up.set(gone, fails(&fault{reason: job.ReasonNotFound}))
		b.up.set(back, func(at time.Time) (job.Observation, error) {
			if at.Sub(began) < 119*time.Second {
				return job.Observation{}, &fault{reason: job.ReasonForbidden}
			}
			return always(job.InProgress)(at)
		})
		w, _ := b.start()
		b.track(w, gone, back)
		b.pass(119 * time.Second)
		if got := b.announced(gone); len(got) != 0 {
			t.Errorf("announced %v before two minutes were over", got)
		}
		b.pass(time.Minute)
		if diff := cmp.Diff([]string{"lost"}, b.announced(gone)); diff != "" {
			t.Error(diff)
		}
		if got := b.announced(back); len(got) != 0 {
			t.Errorf("the job that came back was announced: %v", got)
		}
		if j := b.store.job(gone); j.FinishedAt != job.At(began.Add(2*time.Minute)) {
			t.Errorf("lost after %v, want 2m", j.FinishedAt.Sub(job.At(began)))
		}
		if live, ok := w.Live(back); !ok || live.Denied != 0 {
			t.Errorf("the job that came back: %+v, %v", live, ok)
		}
	})
}

func TestUnknownStatusIsKeptAndLoggedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		a, c := idOf(1), idOf(2)
		b.up.set(a, always("Simmering"))
		b.up.set(c, always("Simmering"))
		w, _ := b.start()
		b.track(w, a, c)
		b.pass(time.Hour)
		if got := b.logged(zapcore.WarnLevel, "unknown status"); got != 1 {
			t.Errorf("logged %d times, want once", got)
		}
		if s := b.store.job(a).Status; s != "Simmering" {
			t.Errorf("stored status %q", s)
		}
		if byStatus, _ := w.Watched(); byStatus["Simmering"] != 2 {
			t.Errorf("watched %v", byStatus)
		}
		b.up.set(a, always("Completed"))
		b.pass(time.Minute)
		if diff := cmp.Diff([]string{"completed"}, b.announced(a)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestUntrackedJobIsNotAnnouncedWithItsLookInTheAir(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		id := idOf(1)
		b.up.set(id, runs(time.Now()))
		b.up.takes(5 * time.Second)
		w, _ := b.start()
		ended, cancel := w.Ended(id)
		defer cancel()
		b.track(w, id)
		b.pass(time.Second) // the look is in the air
		if err := w.Untrack(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ended:
		default:
			t.Error("who waits for the job was not told")
		}
		b.pass(time.Minute)
		if got := b.store.announced(); len(got) != 0 {
			t.Errorf("announced %v", got)
		}
		if got := len(b.up.looks(id)); got != 1 {
			t.Errorf("%d looks, want 1", got)
		}
		if err := w.Untrack(t.Context(), id); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("untracking twice: %v", err)
		}
		// Tracked anew while nothing remembers it: it is watched again.
		b.track(w, id)
		b.pass(time.Minute)
		if diff := cmp.Diff([]string{"completed"}, b.announced(id)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPollNowLooksAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		id := idOf(1)
		b.up.set(id, always(job.InProgress))
		w, _ := b.start()
		b.track(w, id)
		b.pass(10*time.Minute + 7*time.Second)
		before := len(b.up.looks(id))
		if err := w.PollNow(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Millisecond)
		if got := len(b.up.looks(id)) - before; got != 1 {
			t.Errorf("%d looks, want 1", got)
		}
		if err := w.PollNow(t.Context(), idOf(2)); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("an unknown job: %v", err)
		}
	})
}

// punctual notes how late each look is sent.
type punctual struct {
	*tenant
	mu   sync.Mutex
	w    *Watcher
	late []time.Duration
}

func (p *punctual) Get(ctx context.Context, id job.ID) (job.Observation, error) {
	p.mu.Lock()
	if live, ok := p.w.Live(id); ok {
		p.late = append(p.late, time.Since(live.NextPollAt.Time()))
	}
	p.mu.Unlock()
	return p.tenant.Get(ctx, id)
}

func TestLooksAreSentTheInstantTheyAreDue(t *testing.T) {
	const took = 30 * time.Millisecond
	for _, tc := range []struct {
		workers, jobs int
		worst         time.Duration
	}{
		{60, 60, 0},
		{1, 4, 3 * took}, // behind the three others at most
	} {
		t.Run(fmt.Sprintf("%d workers", tc.workers), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				b.up.setAll(inProgress)
				b.up.takes(took)
				up := &punctual{tenant: b.up}
				up.mu.Lock()
				w, _ := b.start(func(o *Options) {
					o.Upstream, o.MaxInFlight, o.Policy = up, tc.workers, Policy{Randomization: 0.5, MaxInterval: 2 * time.Second}
				})
				up.w = w
				up.mu.Unlock()
				b.many(w, tc.jobs)
				b.pass(30 * time.Minute)
				up.mu.Lock()
				defer up.mu.Unlock()
				if len(up.late) < 3000 {
					t.Fatalf("only %d looks", len(up.late))
				}
				if worst := slices.Max(up.late); worst > tc.worst {
					t.Errorf("a look was sent %v late, want at most %v", worst, tc.worst)
				}
			})
		})
	}
}

func TestDrainLetsLooksLandAndFreesEverything(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		slow, hung, waits := idOf(1), idOf(2), idOf(3)
		b.up.set(waits, always(job.InProgress))
		w, stop := b.start(func(o *Options) { o.Grace = 20 * time.Second })
		b.track(w, waits)
		b.up.set(slow, runs(time.Now()))
		b.up.takes(10 * time.Second)
		b.track(w, slow)
		b.pass(500 * time.Millisecond)
		began := time.Now()
		stop()
		if took := time.Since(began); took != 9500*time.Millisecond {
			t.Errorf("drained in %v, want the 9.5 s that the look needed", took)
		}
		if diff := cmp.Diff([]string{"completed"}, b.announced(slow)); diff != "" {
			t.Errorf("a finished look was thrown away: %s", diff)
		}
		if b.store.count("release") != 1 {
			t.Error("nothing was freed")
		}
		if _, err := w.Track(t.Context(), []job.Spec{{ID: hung}}, job.SourceAPI); !errors.Is(err, job.ErrDraining) {
			t.Errorf("track after the drain: %v", err)
		}
	})
}

func TestDrainIsBoundedWhenAnAnswerNeverComes(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		id := idOf(1)
		b.up.set(id, always(job.InProgress))
		b.up.takes(time.Hour)
		w, stop := b.start(func(o *Options) { o.Grace = 20 * time.Second })
		b.track(w, id)
		b.pass(time.Second)
		began := time.Now()
		stop()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("drained in %v, grace is 20 s", took)
		}
		if time.Since(w.Beat()) > 2*tick {
			t.Error("the heart stood still while draining")
		}
	})
}

func TestBeatGoesOnWhileStoreAndUpstreamHang(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.takes(time.Hour)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		o := b.options()
		o.Ownership = hanging{b.store, ctx}
		w, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		run, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = w.Run(run) }()
		for range 20 {
			b.pass(time.Second)
			if age := time.Since(w.Beat()); age > 2*tick {
				t.Fatalf("the last beat is %v old", age)
			}
		}
		stop()
		<-done
	})
}

// hanging is an ownership whose registration never returns by itself.
type hanging struct {
	*memory
	until context.Context
}

func (h hanging) Register(ctx context.Context, _ job.Replica, _ time.Duration, _ bool) error {
	select {
	case <-ctx.Done():
	case <-h.until.Done():
	}
	return context.Cause(ctx)
}
