package watcher

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// spendAll asks as often as it may for a time and returns when it was let through.
func spendAll(b *budget, from time.Time, d time.Duration) (at []time.Time) {
	for now := from; now.Before(from.Add(d)); {
		next, ok := b.admit(now)
		if ok {
			at = append(at, now)
			continue
		}
		if !next.After(now) {
			panic("not admitted, and not told when")
		}
		now = next
	}
	return at
}

// within is the most that fell into any span of that length.
func within(at []time.Time, span time.Duration) (most int) {
	first := 0
	for i := range at {
		for at[i].Sub(at[first]) >= span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func TestShareIsKeptInEverySpanOfTheWindow(t *testing.T) {
	t.Parallel()
	b := newBudget(BudgetPolicy{Share: 0.5}, noon)
	b.learn([]job.BudgetWindow{{Span: time.Minute, Limit: 2500, Remaining: -1}, {Span: time.Hour, Limit: 5000, Remaining: -1}}, noon)
	at := spendAll(b, noon, 3*time.Hour)
	if n := within(at, time.Minute); n > 1250 {
		t.Errorf("%d within a minute, ours is 1250", n)
	}
	if n := within(at, time.Hour); n > 2500 || n < 2300 {
		t.Errorf("%d within an hour, ours is 2500, and nearly all of it can be used", n)
	}
}

func TestFixedLimitsHoldWithoutAnyHeader(t *testing.T) {
	t.Parallel()
	b := newBudget(BudgetPolicy{Limits: map[time.Duration]int64{time.Minute: 30, time.Hour: 600}}, noon)
	at := spendAll(b, noon, 2*time.Hour)
	if m, h := within(at, time.Minute), within(at, time.Hour); m > 30 || h > 600 || h < 550 {
		t.Errorf("%d within a minute and %d within an hour, fixed are 30 and 600", m, h)
	}
}

func TestReplicasDivideTheShare(t *testing.T) {
	t.Parallel()
	var all []time.Time
	for range 4 {
		b := newBudget(BudgetPolicy{Share: 0.5}, noon)
		b.share(4)
		b.learn([]job.BudgetWindow{{Span: time.Hour, Limit: 5000, Remaining: -1}}, noon)
		all = append(all, spendAll(b, noon, time.Hour)...)
	}
	if len(all) > 2500 {
		t.Errorf("%d by all replicas, theirs is 2500", len(all))
	}
}

func TestWhatOthersSpendIsYieldedTo(t *testing.T) {
	t.Parallel()
	b := newBudget(BudgetPolicy{Share: 0.5}, noon)
	reset := noon.Add(10 * time.Minute)
	b.learn([]job.BudgetWindow{{Span: time.Hour, Limit: 5000, Remaining: 450, Reset: reset}}, noon)
	at := spendAll(b, noon, 9*time.Minute)
	// 250 are left to others whatever happens. Of the rest half is ours at any
	// moment, so that it is never used up, and spread over the time that is left.
	if len(at) > 150 || len(at) < 100 {
		t.Errorf("%d of 450 that remain, want above half of the 200 that are free", len(at))
	}
	if early := within(at[:len(at)/2], time.Minute); early > 20 {
		t.Errorf("%d in one of ten minutes, want them spread", early)
	}
	b.learn([]job.BudgetWindow{{Span: time.Hour, Limit: 5000, Remaining: 200, Reset: reset}}, noon.Add(time.Minute))
	if next := b.opens(noon.Add(time.Minute)); !next.Equal(reset) {
		t.Errorf("with 200 left the next is at %s, want the reset at %s", next, reset)
	}
	if next := b.opens(reset); next.After(reset) {
		t.Errorf("after the reset the next is at %s", next)
	}
}

func TestWhatWasSpentOutlivesARestart(t *testing.T) {
	t.Parallel()
	policy := BudgetPolicy{Limits: map[time.Duration]int64{24 * time.Hour: 1000}}
	b := newBudget(policy, noon)
	at := spendAll(b, noon, time.Hour)
	again := newBudget(policy, noon.Add(time.Hour))
	again.restore(b.states(noon.Add(time.Hour)), noon.Add(time.Hour))
	more := spendAll(again, noon.Add(time.Hour), 23*time.Hour)
	if n := len(at) + len(more); n > 1000 || n < 950 {
		t.Errorf("%d in the day, %d before the restart; ours is 1000", n, len(at))
	}
	if got := again.view("acme", 0, noon.Add(time.Hour)).Windows[0].Spent; got < int64(len(at)) {
		t.Errorf("the view has forgotten what was spent: %d of %d", got, len(at))
	}
}

func TestNothingKnownStopsNothing(t *testing.T) {
	t.Parallel()
	b := newBudget(BudgetPolicy{Share: 0.5}, noon)
	for range 10_000 {
		if _, ok := b.admit(noon); !ok {
			t.Fatal("stopped although nobody has told a limit")
		}
	}
	if v := b.view("acme", 0, noon); len(v.Windows) != 0 {
		t.Errorf("windows out of nowhere: %+v", v)
	}
}

func TestBudgetViewTellsTheTenantsUseAndOurs(t *testing.T) {
	t.Parallel()
	b := newBudget(BudgetPolicy{Share: 0.5}, noon)
	b.learn([]job.BudgetWindow{{Span: time.Minute, Limit: 2500, Remaining: 2400, Reset: noon.Add(30 * time.Second)}}, noon)
	for range 5 {
		b.admit(noon)
	}
	share := 0.5
	want := job.BudgetView{Tenant: "acme", Share: &share, LateSeconds: 2, Windows: []job.BudgetWindowView{{
		Window: "1m", Limit: 2500, Used: 105, Left: 2395, ResetsAt: job.At(noon.Add(30 * time.Second)), Ours: 1250, Spent: 5, NextAt: job.At(noon),
	}}}
	if diff := cmp.Diff(want, b.view("acme", 2*time.Second, noon)); diff != "" {
		t.Error(diff)
	}
}

func TestViewTellsWhenOursIsSpentAtThisPace(t *testing.T) {
	t.Parallel()
	midnight := noon.Truncate(24 * time.Hour)
	b := newBudget(BudgetPolicy{Limits: map[time.Duration]int64{24 * time.Hour: 1000}}, midnight)
	spendAll(b, midnight, time.Hour) // 250 at once and 31 more: at this pace 1,000 last less than four hours
	at := b.view("acme", 0, midnight.Add(time.Hour)).Windows[0].SpentAt
	if at < job.At(midnight.Add(3*time.Hour)) || at > job.At(midnight.Add(4*time.Hour)) {
		t.Errorf("spent at %s", at)
	}
	b = newBudget(BudgetPolicy{Share: 1}, midnight)
	b.learn([]job.BudgetWindow{{Span: 24 * time.Hour, Limit: 27_000_000, Remaining: -1}}, midnight)
	b.admit(midnight)
	if at := b.view("acme", 0, midnight.Add(22*time.Hour)).Windows[0].SpentAt; !at.IsZero() {
		t.Errorf("one of 27 million is spent at %s", at)
	}
}

// The loop sleeps until the gate opens, in whole milliseconds: a gate that opens
// "now" would open less than a millisecond later, again and again.
func TestGateWithABudgetLeftIsOpenAndNotAboutToOpen(t *testing.T) {
	t.Parallel()
	now := noon.Add(333 * time.Microsecond)
	b := newBudget(BudgetPolicy{Limits: map[time.Duration]int64{time.Minute: 4}}, noon)
	g := newGate(func() float64 { return 0.5 }, b)
	if at := g.opensAt(now); !at.IsZero() {
		t.Errorf("it opens at %s", at)
	}
	spendAll(b, now, time.Second)
	if at := g.opensAt(now.Add(time.Second)); !at.After(now.Add(time.Second)) {
		t.Errorf("with nothing left it opens at %s", at)
	}
	if _, ok := g.admit(now.Add(time.Second)); ok {
		t.Error("it lets a request through with nothing left")
	}
}

// Whatever answers tell, in any order: the share holds, and the budget opens
// again some time.
func FuzzBudgetHoldsAndOpens(f *testing.F) {
	f.Add(uint64(1), int64(2500), 0.5, 1)
	f.Add(uint64(2), int64(1), 1.0, 3)
	f.Fuzz(func(t *testing.T, seed uint64, limit int64, share float64, replicas int) {
		limit = 1 + (limit&0x7fffffff)%10_000
		if !(share > 0.001 && share <= 1) {
			share = 0.5
		}
		dice := rand.New(rand.NewPCG(seed, 1))
		b := newBudget(BudgetPolicy{Share: share}, noon)
		b.share(replicas % 16)
		b.learn([]job.BudgetWindow{{Span: time.Minute, Limit: limit, Remaining: -1}}, noon)
		var at []time.Time
		now := noon
		for range 300 {
			now = now.Add(time.Duration(dice.Int64N(int64(2 * time.Second))))
			if dice.IntN(4) == 0 {
				b.learn([]job.BudgetWindow{{
					Span: time.Minute, Limit: limit, Remaining: dice.Int64N(limit + 1), Reset: now.Add(time.Duration(dice.Int64N(int64(time.Minute)))),
				}}, now)
			}
			next, ok := b.admit(now)
			if ok {
				at = append(at, now)
			} else if !next.After(now) || next.Sub(now) > 3*time.Minute {
				t.Fatalf("at %s it opens at %s", now, next)
			}
		}
		if n, ours := within(at, time.Minute), float64(limit)*share; float64(n) > max(ours, 2)+1e-6 {
			t.Fatalf("%d within a minute, ours is %g", n, ours)
		}
	})
}
