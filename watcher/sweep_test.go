package watcher

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestListerLearnsWhichPageToAskFor(t *testing.T) {
	t.Parallel()
	auto := func(class int) lister { l := newLister(ModeAuto); l.class = class; return l }
	with := func(l lister, change func(*lister)) lister { change(&l); return l }
	for _, tt := range []struct {
		name string
		l    lister
		s    swept
		want lister
	}{
		{"all found", auto(1), swept{class: 1, shown: 50, found: 9, deepest: 40}, auto(1)},
		{"two fell off a full page", auto(1), swept{class: 1, shown: 50, found: 3, missed: 2, deepest: 40}, auto(2)},
		{"one fell off: asked for by itself it costs no more", auto(1), swept{class: 1, shown: 50, found: 3, missed: 1, deepest: 40}, auto(1)},
		{"two are not on a page that shows all", auto(1), swept{class: 1, shown: 30, found: 3, missed: 2, deepest: 20}, auto(1)},
		{"all near the top", auto(3), swept{class: 3, shown: 200, found: 3, deepest: 60}, auto(2)},
		{"nearly as deep as the smaller page", auto(3), swept{class: 3, shown: 200, found: 3, deepest: 90}, auto(3)},
		{"too large to carry", auto(3), swept{class: 3, shown: 200, found: 50, deepest: 190, bytes: 5 << 20}, with(auto(2), func(l *lister) { l.most = 2 })},
		{"largest page, many elsewhere", auto(5), swept{class: 5, shown: 1000, found: 7, missed: 20, deepest: 900}, auto(5)},
		{
			"spared no call", auto(5),
			swept{class: 5, shown: 1000, found: 1, missed: 20, deepest: 900},
			with(auto(5), func(l *lister) { l.until = noon.Add(leastSweepPause) }),
		},
		{
			"refused size", auto(2),
			swept{class: 2, fault: Failing{Reason: job.ReasonMalformed}},
			with(auto(1), func(l *lister) {
				l.most, l.failed, l.reason, l.until = 1, 1, job.ReasonMalformed, noon.Add(leastSweepPause)
			}),
		},
		{
			"forbidden list", auto(0),
			swept{fault: Failing{Reason: job.ReasonForbidden}},
			with(auto(0), func(l *lister) {
				l.failed, l.reason, l.until = 1, job.ReasonForbidden, noon.Add(mostSweepPause)
			}),
		},
		{
			"tenant down", with(auto(2), func(l *lister) { l.failed = 3 }),
			swept{class: 2, fault: Failing{Reason: job.ReasonServer}},
			with(auto(2), func(l *lister) {
				l.failed, l.reason, l.until = 4, job.ReasonServer, noon.Add(8*leastSweepPause)
			}),
		},
		{"well again", with(auto(2), func(l *lister) { l.failed, l.reason, l.until = 3, job.ReasonServer, noon }), swept{class: 2, shown: 100, found: 9, deepest: 80}, auto(2)},
	} {
		l := tt.l
		l.learn(tt.s, noon)
		if diff := cmp.Diff(tt.want, l, cmp.AllowUnexported(lister{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestModesSayWhenASweepIsWorthItsCall(t *testing.T) {
	t.Parallel()
	for mode, want := range map[Mode]int{ModeAuto: 2, ModeGet: 0, "": 0, ModeList: 1} {
		l := newLister(mode)
		if got := l.least(noon); got != want {
			t.Errorf("%q: at least %d jobs, want %d", mode, got, want)
		}
		l.until = noon.Add(time.Second)
		if got := l.least(noon); got != 0 {
			t.Errorf("%q: a sweep while the list is left alone", mode)
		}
	}
}

func FuzzListerNeverLeavesItsPages(f *testing.F) {
	f.Add(uint8(0), uint16(20), uint16(2), uint16(3), uint16(20), 0, false)
	f.Add(uint8(5), uint16(1000), uint16(0), uint16(900), uint16(1000), 9<<20, true)
	f.Fuzz(func(t *testing.T, class uint8, shown, found, missed, deepest uint16, bytes int, refused bool) {
		l := newLister(ModeAuto)
		s := swept{class: int(class) % len(pageSizes), shown: int(shown), found: int(found), missed: int(missed), deepest: int(deepest), bytes: bytes}
		if refused {
			s.fault.Reason = job.ReasonMalformed
		}
		l.class = s.class
		for range 20 {
			l.learn(s, noon)
			if l.class < 0 || l.class > l.most || l.most >= len(pageSizes) || l.most < 0 {
				t.Fatalf("after %+v: %+v", s, l)
			}
			if l.until.Sub(noon) > mostSweepPause {
				t.Fatalf("left alone for %s", l.until.Sub(noon))
			}
			s.class = l.class
		}
	})
}

// listOf shows these jobs, newest first, each as the tenant speaks of it.
func (u *tenant) listOf(ids ...job.ID) {
	u.lists(func(size int) ([]job.Observation, error) {
		var all []job.Observation
		for _, id := range ids[:min(size, len(ids))] {
			u.mu.Lock()
			say := u.says[id]
			u.mu.Unlock()
			o, err := say(time.Now())
			if err != nil {
				continue
			}
			o.ID = id
			all = append(all, o)
		}
		return all, nil
	})
}

func auto(o *Options) { o.Mode = ModeAuto }

func idsOf(n int) []job.ID {
	ids := make([]job.ID, n)
	for i := range ids {
		ids[i] = idOf(i + 1)
	}
	return ids
}

// The target of contract section 10: 50 jobs that run together cost at most a
// fifth of polling each.
func TestFiftyJobsThatRunTogetherCostAFifthOfPollingEach(t *testing.T) {
	calls := func(change func(*Options)) (requests, writes int) {
		bubble(t, func(t *testing.T, b *bench) {
			ids := idsOf(50)
			for i, id := range ids {
				b.up.set(id, runs(time.Now().Add(time.Duration(5+i)*time.Minute)))
			}
			reversed := slices.Clone(ids)
			slices.Reverse(reversed)
			b.up.listOf(reversed...)
			w, _ := b.start(change)
			for _, id := range ids {
				b.track(w, id)
				b.pass(time.Second)
			}
			b.pass(time.Hour)
			for _, id := range ids {
				if diff := cmp.Diff([]string{"completed"}, b.announced(id)); diff != "" {
					t.Error(diff)
				}
			}
			requests, writes = len(b.up.requests()), b.store.writes
		})
		return requests, writes
	}
	each, before := calls(func(*Options) {})
	together, after := calls(auto)
	t.Logf("polling each: %d calls, together: %d", each, together)
	if together*5 > each {
		t.Errorf("%d calls together, %d for each by itself: want at most a fifth", together, each)
	}
	if before != after {
		t.Errorf("%d writes together, %d for each by itself", after, before)
	}
}

func TestLoneJobIsPolledAsEver(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		id := idOf(1)
		b.up.set(id, runs(time.Now().Add(10*time.Second)))
		b.up.listOf(id)
		w, _ := b.start(auto)
		b.track(w, id)
		b.pass(time.Minute)
		if got := len(b.up.looks(id)); got != 6 || len(b.up.pages()) != 0 {
			t.Errorf("%d looks and the pages %v, want 6 and none", got, b.up.pages())
		}
	})
}

// A job that no page shows is asked for by itself, and absence proves nothing.
func TestJobThatIsNotOnThePageIsAskedForByItself(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		ids := idsOf(5)
		for _, id := range ids {
			b.up.set(id, runs(time.Now().Add(10*time.Minute)))
		}
		b.up.listOf(ids[:4]...)
		w, _ := b.start(auto)
		b.track(w, ids...)
		b.pass(5 * time.Minute)
		if n := len(b.up.looks(ids[4])); n < 10 {
			t.Errorf("the one that is not on the page was looked at %d times", n)
		}
		if n := len(b.up.looks(ids[0])); n > 2 {
			t.Errorf("one that is on the page was asked for %d times by itself", n)
		}
		e, _ := w.Explain(ids[4])
		if !containsText(e.Why, "the list does not show it") {
			t.Errorf("explain says %q", e.Why)
		}
		if e, _ = w.Explain(ids[0]); !containsText(e.Why, "one list call") {
			t.Errorf("explain says %q", e.Why)
		}
		b.pass(10 * time.Minute)
		for _, id := range ids {
			if diff := cmp.Diff([]string{"completed"}, b.announced(id)); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// Jobs of others push ours off the page: it grows until it reaches them.
func TestPageGrowsUntilItReachesTheJobs(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		all := idsOf(300)
		for _, id := range all {
			b.up.set(id, runs(time.Now().Add(time.Hour)))
		}
		b.up.listOf(all...)
		w, _ := b.start(auto)
		b.track(w, all[170], all[171], all[172])
		b.pass(30 * time.Minute)
		pages := b.up.pages()
		if last := pages[len(pages)-1]; last != 200 || len(pages) < 30 {
			t.Errorf("%d pages, the last of %d; want one of 200 now and then", len(pages), last)
		}
		if n := len(b.up.looks(all[170])); n > 12 {
			t.Errorf("%d looks at one job by itself", n)
		}
	})
}

func TestRefusedListFallsBackToPollsAndIsTriedAgain(t *testing.T) {
	for name, refusal := range map[string]error{
		"forbidden": &fault{reason: job.ReasonForbidden, wide: true}, "bad request": &fault{reason: job.ReasonMalformed}, "junk": errors.New("no JSON"),
	} {
		bubble(t, func(t *testing.T, b *bench) {
			ids := idsOf(3)
			for _, id := range ids {
				b.up.set(id, runs(time.Now().Add(40*time.Minute)))
			}
			b.up.lists(func(int) ([]job.Observation, error) { return nil, refusal })
			w, _ := b.start(auto)
			b.track(w, ids...)
			b.pass(30 * time.Minute)
			refused := len(b.up.pages())
			if refused < 2 || refused > 12 {
				t.Errorf("%s: the refused list was asked for %d times in half an hour", name, refused)
			}
			if n := len(b.up.looks(ids[0])); n < 50 {
				t.Errorf("%s: %d looks meanwhile, want polling as ever", name, n)
			}
			b.up.listOf(ids...)
			b.pass(15 * time.Minute)
			if len(b.up.pages()) < refused+3 {
				t.Errorf("%s: the list is not used again", name)
			}
			for _, id := range ids {
				if diff := cmp.Diff([]string{"completed"}, b.announced(id)); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		})
	}
}

func TestSweptJobThatIsUntrackedMeanwhileIsDropped(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		ids := idsOf(3)
		for _, id := range ids {
			b.up.set(id, runs(time.Now()))
		}
		w, _ := b.start(auto)
		b.up.lists(func(int) ([]job.Observation, error) {
			if err := w.Untrack(t.Context(), ids[1]); err != nil && !errors.Is(err, job.ErrNotFound) {
				t.Error(err)
			}
			var all []job.Observation
			for _, id := range ids {
				o, _ := runs(time.Now())(time.Now())
				o.ID = id
				all = append(all, o)
			}
			return all, nil
		})
		b.track(w, ids...)
		b.pass(time.Minute)
		if got := b.announced(ids[1]); got != nil {
			t.Errorf("the untracked job was announced: %v", got)
		}
		if diff := cmp.Diff([]string{"completed"}, b.announced(ids[0])); diff != "" {
			t.Error(diff)
		}
	})
}

// A look that panics is nobody's end: the job goes on being watched.
func TestJobWhoseSweepPanicsIsWatchedOn(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		ids := idsOf(3)
		for _, id := range ids {
			b.up.set(id, runs(time.Now().Add(5*time.Minute)))
		}
		b.up.listOf(ids...)
		broken := true
		w, _ := b.start(auto, func(o *Options) {
			o.Policy.Jitter = func() float64 {
				if broken {
					broken = false
					panic("no dice")
				}
				return 0.5
			}
		})
		b.track(w, ids...)
		b.pass(10 * time.Minute)
		if broken {
			t.Error("nothing has panicked")
		}
		for _, id := range ids {
			if diff := cmp.Diff([]string{"completed"}, b.announced(id)); diff != "" {
				t.Error(diff)
			}
		}
	})
}
