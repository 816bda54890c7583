package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func learn(past []time.Duration) *History {
	runs := make([]job.Run, len(past))
	for i, took := range past {
		runs[i].Took = took
	}
	return Learn(runs, configured)
}

func repeat(n int, d time.Duration) []time.Duration { return slices.Repeat([]time.Duration{d}, n) }

func TestTooFewRunsMakeNoPlan(t *testing.T) {
	for _, h := range []*History{nil, learn(nil), learn(repeat(planFrom-1, time.Minute))} {
		if _, ok := h.Next(0); ok || h.Price() != 0 {
			t.Error("a plan was made of too few runs")
		}
	}
	if m := Fit(repeat(Enough-1, time.Minute), time.Second); m != nil {
		t.Error("a model was made of too few runs")
	}
}

func TestRunsThatAlwaysTakeAMinuteAreLookedAtAfterAMinute(t *testing.T) {
	p := learn(repeat(100, time.Minute))
	first, ok := p.Next(0)
	if !ok || first < 55*time.Second || first > 75*time.Second {
		t.Errorf("the first look comes after %s, want about a minute", first)
	}
	if gap, ok := p.Next(3 * time.Minute); ok {
		t.Errorf("three times as long as ever before, it still plans: %s", gap)
	}
}

func TestAHistoryThatMisleadsIsNotBelieved(t *testing.T) {
	// Since a while runs take seconds instead of an hour.
	runs := append(repeat(80, time.Hour), repeat(24, 3*time.Second)...)
	if gap, ok := learn(runs).Next(0); ok {
		t.Errorf("the history is believed: the first look comes after %s", gap)
	}
	// When the old times have been forgotten, the new ones make a plan.
	if _, ok := learn(append(runs, repeat(100, 3*time.Second)...)).Next(0); !ok {
		t.Error("the new times are not believed")
	}
}

func TestALookIsNeverFarOff(t *testing.T) {
	for _, w := range worlds() {
		p := learn(w.past(3, 100))
		for at := time.Duration(0); ; {
			gap, ok := p.Next(at)
			if !ok {
				break
			}
			if gap < 50*time.Millisecond || gap > (patience+1)*configured.Max {
				t.Fatalf("%s: after %s it waits %s", w.name, at, gap)
			}
			at += gap
		}
	}
}

func TestLikelyEndAndDeadline(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	runs := make([]time.Duration, 100)
	for i := range runs {
		runs[i] = seconds(drawLog(r, 600, 0.2))
	}
	m := Fit(runs, 3*time.Second)
	end, ok := m.Likely(0)
	if !ok || end < 9*time.Minute || end > 11*time.Minute {
		t.Errorf("it will likely take %s, want about 10 minutes", end)
	}
	later, ok := m.Likely(11 * time.Minute)
	if !ok || later < 11*time.Minute || later > 15*time.Minute {
		t.Errorf("after 11 minutes it will likely take %s", later)
	}
	if _, ok := m.Likely(10 * time.Hour); ok {
		t.Error("a run that outlived all others has a forecast")
	}
	for _, c := range []struct {
		limit   time.Duration
		elapsed time.Duration
		lo, hi  float64
	}{
		{time.Hour, 0, 0, 0.02},
		{time.Minute, 0, 0.98, 1},
		{10 * time.Minute, 0, 0.3, 0.7},
		{12 * time.Minute, 11 * time.Minute, 0.3, 0.9},
	} {
		if p, ok := m.Exceeds(c.limit, c.elapsed); !ok || p < c.lo || p > c.hi {
			t.Errorf("after %s, longer than %s with chance %.3f, want %.2f to %.2f", c.elapsed, c.limit, p, c.lo, c.hi)
		}
	}
}

func TestAnomaly(t *testing.T) {
	rows := func(n int64) *int64 { return &n }
	took := func(d time.Duration) *time.Duration { return &d }
	var usual, never []job.Run
	for i := range 20 {
		usual = append(usual, job.Run{Rows: rows(1000 + int64(i)), Processing: took(time.Minute + time.Duration(i)*time.Second), Completed: true})
		never = append(never, job.Run{Rows: rows(0), Completed: true})
	}
	failed := slices.Clone(never)
	for i := range failed {
		failed[i].Completed = false
	}
	for _, c := range []struct {
		name string
		run  job.Run
		past []job.Run
		want []string
	}{
		{"as ever", job.Run{Rows: rows(1100), Processing: took(70 * time.Second)}, usual, nil},
		{"no rows", job.Run{Rows: rows(0)}, usual, []string{NoRows}},
		{"no rows, no history", job.Run{Rows: rows(0)}, nil, []string{NoRows}},
		{"no rows, as ever", job.Run{Rows: rows(0)}, never, nil},
		{"no rows, and failed runs had none", job.Run{Rows: rows(0)}, failed, []string{NoRows}},
		{"few rows", job.Run{Rows: rows(20)}, usual, []string{FewRows}},
		{"many rows", job.Run{Rows: rows(90_000)}, usual, []string{ManyRows}},
		{"many rows, no history", job.Run{Rows: rows(90_000)}, usual[:Enough-1], nil},
		{"slow", job.Run{Rows: rows(1000), Processing: took(time.Hour)}, usual, []string{Slow}},
		{"fast and few", job.Run{Rows: rows(1), Processing: took(time.Millisecond)}, usual, []string{FewRows, Fast}},
		{"nothing known", job.Run{}, usual, nil},
		{"the second run with rows after empty ones", job.Run{Rows: rows(5)}, never, nil},
	} {
		if got := Anomaly(c.run, c.past); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// FuzzLearn: whatever the history, plans end, wait for some time and not for
// ever, and chances are chances.
func FuzzLearn(f *testing.F) {
	f.Add(uint64(1), uint16(30), 60.0, 1.2, int64(time.Second), int64(30*time.Second), 1.5)
	f.Add(uint64(2), uint16(200), 0.0, 0.0, int64(time.Millisecond), int64(time.Millisecond), 1.0)
	f.Add(uint64(3), uint16(25), 1e9, 9.0, int64(time.Hour), int64(24*time.Hour), 100.0)
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, middle, sigma float64, initial, most int64, multiplier float64) {
		b := Backoff{
			Initial:    time.Duration(min(max(initial, int64(time.Millisecond)), int64(24*time.Hour))),
			Multiplier: min(max(multiplier, 1), 100),
		}
		b.Max = max(time.Duration(min(most, int64(24*time.Hour))), b.Initial)
		if math.IsNaN(b.Multiplier) {
			b.Multiplier = 1
		}
		r := rand.New(rand.NewPCG(seed, 0))
		runs := make([]job.Run, n%300)
		for i := range runs {
			d := middle * math.Exp(min(math.Abs(sigma), 20)*r.NormFloat64())
			runs[i].Took = time.Duration(min(max(d, 0), 1e8) * 1e9)
			if math.IsNaN(d) {
				runs[i].Took = -time.Second
			}
		}
		p := Learn(runs, b)
		at := time.Duration(0)
		for range 10_000 {
			gap, ok := p.Next(at)
			if !ok {
				break
			}
			if gap <= 0 || gap > 25*time.Hour {
				t.Fatalf("after %s it waits %s", at, gap)
			}
			if c, ok := p.Exceeds(time.Hour, at); ok && !(c >= 0 && c <= 1) {
				t.Fatalf("chance %v", c)
			}
			if end, ok := p.Likely(at); ok && end < at {
				t.Fatalf("it ended %s ago", at-end)
			}
			at += gap
		}
	})
}
