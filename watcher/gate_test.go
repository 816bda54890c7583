package watcher

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// many tracks n jobs that are all in progress and lets them settle.
func (b *bench) many(w *Watcher, n int) []job.ID {
	ids := make([]job.ID, n)
	for i := range ids {
		ids[i] = idOf(i + 1)
	}
	b.track(w, ids...)
	return ids
}

func inProgress(job.ID, time.Time) (job.Observation, error) {
	return job.Observation{Status: job.InProgress}, nil
}

// between counts requests in [from, to).
func between(at []time.Time, from, to time.Time) int {
	n := 0
	for _, t := range at {
		if !t.Before(from) && t.Before(to) {
			n++
		}
	}
	return n
}

func TestRetryAfterStopsTheWholeTenantUntilItIsOver(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		w, _ := b.start()
		b.many(w, 50)
		b.pass(3 * time.Minute)

		limited := false
		var at time.Time
		b.up.setAll(func(id job.ID, now time.Time) (job.Observation, error) {
			if !limited {
				limited, at = true, now
				return job.Observation{}, &fault{reason: job.ReasonRateLimited, after: 45 * time.Second, wide: true}
			}
			return inProgress(id, now)
		})
		b.pass(10 * time.Minute)
		requests := b.up.requests()
		if n := between(requests, at.Add(time.Nanosecond), at.Add(45*time.Second)); n != 0 {
			t.Errorf("%d requests before Retry-After was over, want 0", n)
		}
		i := slices.IndexFunc(requests, func(r time.Time) bool { return r.After(at) })
		if first := requests[i].Sub(at); first > 47*time.Second {
			t.Errorf("the first request came only %v later", first)
		}
		if n := between(requests, at.Add(45*time.Second), at.Add(3*time.Minute)); n < 50 {
			t.Errorf("%d looks in the two minutes after, want every job looked at", n)
		}
		if got := b.logged(zapcore.WarnLevel, "all requests wait"); got != 1 {
			t.Errorf("logged %d times that requests wait, want once", got)
		}
		if got := b.logged(zapcore.WarnLevel, "recovered after 1 failed requests"); got != 1 {
			t.Errorf("logged %d recoveries, want 1", got)
		}
	})
}

func TestOneProbeGoesFirstAndTheRestFollowAtAPace(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		w, _ := b.start()
		b.many(w, 400)
		b.pass(5 * time.Minute)

		down := time.Now()
		b.up.takes(20 * time.Millisecond)
		b.up.setAll(func(job.ID, time.Time) (job.Observation, error) {
			return job.Observation{}, &fault{reason: job.ReasonNetwork}
		})
		b.pass(10 * time.Minute)
		if h := w.Health(); h.Reachable || h.Reason != job.ReasonNetwork || h.Since.Time().Before(down.Add(-time.Second)) {
			t.Errorf("health while down: %+v", h)
		}
		if n := between(b.up.requests(), down.Add(time.Minute), down.Add(10*time.Minute)); n > 9*60/15 {
			t.Errorf("%d probes in nine minutes: that is hammering", n)
		}
		up := time.Now()
		b.up.setAll(inProgress)
		b.pass(2 * time.Minute)
		if h := w.Health(); !h.Reachable {
			t.Errorf("health afterwards: %+v", h)
		}
		requests := b.up.requests()
		i := slices.IndexFunc(requests, func(r time.Time) bool { return !r.Before(up) })
		probe := requests[i]
		if n := between(requests, probe, probe.Add(20*time.Millisecond)); n != 1 {
			t.Errorf("%d requests at once when it came back, want one probe", n)
		}
		// 400 that had piled up may take 10 s.
		if n := between(requests, probe, probe.Add(time.Second)); n > 60 {
			t.Errorf("%d requests in the first second: not spread", n)
		}
		if n := between(requests, probe, probe.Add(45*time.Second)); n < 400 {
			t.Errorf("%d requests in 45 s, want all 400 jobs looked at", n)
		}
	})
}

func TestRefusedCredentialsAreSaidOnceAndTriedSlowly(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(func(job.ID, time.Time) (job.Observation, error) {
			return job.Observation{}, &fault{reason: job.ReasonAuth, wide: true}
		})
		w, _ := b.start()
		b.many(w, 30)
		b.pass(time.Hour)
		if n := len(b.up.requests()); n > 8+4+60*60/(5*60/2) {
			t.Errorf("%d requests in an hour of refused credentials", n)
		}
		if got := b.logged(zapcore.ErrorLevel, ""); got != 1 {
			t.Errorf("%d error lines, want one", got)
		}
		if h := w.Health(); h.Reachable || h.Reason != job.ReasonAuth {
			t.Errorf("health %+v", h)
		}
		if e, _ := w.Explain(idOf(1)); e.TenantWait.IsZero() || e.Why == "" {
			t.Errorf("explanation %+v", e)
		}
		if got := b.store.announced(); len(got) != 0 {
			t.Errorf("announced %v", got)
		}
		b.up.setAll(inProgress)
		b.pass(6 * time.Minute)
		if h := w.Health(); !h.Reachable {
			t.Errorf("health after the credentials were mended: %+v", h)
		}
		if got := b.logged(zapcore.WarnLevel, "recovered after"); got != 1 {
			t.Errorf("logged %d recoveries, want 1", got)
		}
	})
}

func TestUpstreamDownAtStartIsSaidAndRecoversFrom(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(func(job.ID, time.Time) (job.Observation, error) {
			return job.Observation{}, &fault{reason: job.ReasonNetwork}
		})
		w, _ := b.start()
		b.many(w, 1)
		b.pass(time.Second)
		if h := w.Health(); h.Reachable || h.Reason != job.ReasonNetwork {
			t.Errorf("health a second after the start: %+v", h)
		}
		b.pass(10 * time.Minute)
		b.up.setAll(inProgress)
		b.pass(time.Minute)
		if h := w.Health(); !h.Reachable {
			t.Errorf("health a minute after it came back: %+v", h)
		}
	})
}

func TestAFewFaultsAmongManyAnswersDoNotShutTheGate(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		n := 0
		b.up.setAll(func(id job.ID, at time.Time) (job.Observation, error) {
			if n++; n%10 == 0 {
				return job.Observation{}, &fault{reason: job.ReasonServer}
			}
			return inProgress(id, at)
		})
		w, _ := b.start()
		b.many(w, 100)
		b.pass(30 * time.Minute)
		if got := b.logged(zapcore.WarnLevel, "all requests wait"); got != 0 {
			t.Errorf("the gate was shut %d times by one fault in ten", got)
		}
	})
}

func TestGateIgnoresAnswersFromBeforeItShut(t *testing.T) {
	t.Parallel()
	g := newGate(func() float64 { return 0.5 }, nil)
	now := noon
	early, _ := g.admit(now)
	late, _ := g.admit(now)
	if turn := g.report(early, Failing{Reason: job.ReasonRateLimited, Hint: time.Minute, TenantWide: true}, now); !turn.shut {
		t.Fatal("a 429 did not shut it")
	}
	// An answer to a look that went out before must not open it, nor a fault
	// lengthen it but by its own hint.
	if turn := g.report(late, Failing{}, now); turn.opened {
		t.Error("an old answer opened it")
	}
	if _, ok := g.admit(now.Add(time.Minute - time.Millisecond)); ok {
		t.Error("let through before the hint was over")
	}
	probe, ok := g.admit(now.Add(2 * time.Minute))
	if !ok || !probe.probe {
		t.Fatalf("no probe: %+v, %v", probe, ok)
	}
	if _, ok := g.admit(now.Add(2 * time.Minute)); ok {
		t.Error("a second look beside the probe")
	}
	g.abandon(probe, now.Add(2*time.Minute))
	probe, ok = g.admit(now.Add(2 * time.Minute))
	if !ok {
		t.Fatal("no probe after the first one was given up")
	}
	if turn := g.report(probe, Failing{Reason: job.ReasonNotFound}, now.Add(2*time.Minute)); !turn.opened {
		t.Error("a 404 is an answer: the tenant is there")
	}
}

func TestGateObeysTheLongestHintOfLooksInTheAir(t *testing.T) {
	t.Parallel()
	g := newGate(func() float64 { return 0 }, nil)
	first, _ := g.admit(noon)
	second, _ := g.admit(noon)
	g.report(first, Failing{Reason: job.ReasonRateLimited, Hint: 10 * time.Second, TenantWide: true}, noon)
	g.report(second, Failing{Reason: job.ReasonRateLimited, Hint: time.Minute, TenantWide: true}, noon)
	if _, ok := g.admit(noon.Add(59 * time.Second)); ok {
		t.Error("the second hint was not obeyed")
	}
	if p, ok := g.admit(noon.Add(time.Minute)); !ok || !p.probe {
		t.Error("shut for longer than was asked for")
	}
}

func TestAHumanIsToldOnceAnEpisode(t *testing.T) {
	t.Parallel()
	g := newGate(func() float64 { return 0 }, nil)
	now, told := noon, 0
	for i := range 20 {
		p, ok := g.admit(now)
		if !ok {
			t.Fatal("no pass after an hour")
		}
		r := job.ReasonNetwork
		if i%3 == 1 {
			r = job.ReasonAuth
		}
		if g.report(p, Failing{Reason: r}, now).human {
			told++
		}
		now = now.Add(time.Hour)
	}
	if told != 1 {
		t.Errorf("told %d times in one episode, want once", told)
	}
}

func TestFaultsFromBeforeAnEpisodeDoNotBeginAnother(t *testing.T) {
	t.Parallel()
	g := newGate(func() float64 { return 0 }, nil)
	passes := make([]pass, 2*runLength)
	for i := range passes {
		passes[i], _ = g.admit(noon)
	}
	for _, p := range passes[:runLength] {
		g.report(p, Failing{Reason: job.ReasonTimeout}, noon)
	}
	later := noon.Add(time.Minute)
	probe, ok := g.admit(later)
	if !ok || !g.report(probe, Failing{}, later).opened {
		t.Fatal("not opened by the probe")
	}
	for _, p := range passes[runLength:] {
		if g.report(p, Failing{Reason: job.ReasonTimeout}, later).shut {
			t.Fatal("shut again by looks that were sent before")
		}
	}
}

func FuzzGateNeverOpensBeforeAHintIsOver(f *testing.F) {
	f.Add([]byte{0, 1, 9, 30, 2, 1, 40, 0, 60, 3})
	f.Fuzz(func(t *testing.T, steps []byte) {
		g := newGate(func() float64 { return 0.3 }, nil)
		now, floor := noon, noon
		reasons := append([]job.Reason{job.NoReason}, job.PollReasons()...)
		var out []pass
		for len(steps) >= 3 {
			a, b, c := steps[0], steps[1], steps[2]
			steps = steps[3:]
			now = now.Add(time.Duration(a) * 100 * time.Millisecond)
			if p, ok := g.admit(now); ok {
				if now.Before(floor) {
					t.Fatalf("let through %v before a hint was over", floor.Sub(now))
				}
				out = append(out, p)
			}
			if len(out) == 0 {
				continue
			}
			p := out[0]
			out = out[1:]
			f := Failing{Reason: reasons[int(b)%len(reasons)]}
			if f.Reason == job.ReasonRateLimited {
				f.Hint, f.TenantWide = time.Duration(c)*time.Second, true
				if until := now.Add(f.Hint); until.After(floor) {
					floor = until
				}
			}
			g.report(p, f, now)
		}
		// It always opens in the end.
		for _, p := range out {
			g.report(p, Failing{}, now)
		}
		p, ok := g.admit(now.Add(24 * time.Hour))
		if !ok {
			t.Fatal("shut for ever")
		}
		g.report(p, Failing{}, now.Add(24*time.Hour))
		if _, ok := g.admit(now.Add(48 * time.Hour)); !ok {
			t.Fatal("shut for ever after an answer")
		}
	})
}
