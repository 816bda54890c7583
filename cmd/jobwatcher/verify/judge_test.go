package verify

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

var (
	noon  = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	oneID = job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104301")
)

// sound is evidence without a fault: one job that completed.
func sound() *Evidence {
	rows := int64(7)
	v := job.View{ID: oneID, State: job.Finished, Outcome: job.OutcomeCompleted, OutputRows: &rows}
	v.Deliveries.Delivered = 3
	e := &Evidence{
		Tenant: "acme",
		Jobs: []Watched{{
			Planned: PlannedJob{Outcome: job.Completed}, Acknowledged: true, AckedAt: noon.Add(-time.Minute), ID: oneID, View: &v,
			Truth: zuorasim.Job{ID: oneID, Status: job.Completed, Rows: &rows, EndedAt: noon, UpdatedOn: noon},
		}},
		Receptions: []Reception{{At: noon.Add(time.Second), Destination: "chat", Taken: true, Body: "job " + oneID.String()}},
		Lives:      []Life{{Began: noon.Add(-time.Hour), Over: noon.Add(time.Hour), Asked: syscall.SIGTERM}},
		Calm:       noon.Add(time.Minute),
	}
	for _, destination := range []string{"loader", "audit"} {
		e.Receptions = append(e.Receptions, Reception{
			At: noon.Add(time.Second), Destination: destination, Taken: true, Type: job.EventCompleted, Subject: oneID.String(),
			EventID: job.EventID("acme", oneID.String(), job.EventCompleted), Time: noon,
		})
	}
	return e
}

func breaches(e *Evidence) []string {
	j := &judge{e: e}
	j.all()
	var all []string
	for _, b := range j.breaches {
		all = append(all, b.String())
	}
	return all
}

func TestSoundEvidenceHasNoBreach(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string(nil), breaches(sound())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEachBreachIsFound(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(*Evidence)
		want  string
	}{
		"never acknowledged": {func(e *Evidence) { e.Jobs[0].Acknowledged = false }, "could not be tracked"},
		"forgotten":          {func(e *Evidence) { e.Jobs[0].View = nil }, "invariant 1: job " + oneID.String() + ": was acknowledged and is forgotten"},
		"still watched":      {func(e *Evidence) { e.Jobs[0].View.State = job.Watching }, "invariant 1"},
		"wrong outcome":      {func(e *Evidence) { e.Jobs[0].Truth.Status = job.Failed }, "invariant 1"},
		"erased, not lost":   {func(e *Evidence) { e.Jobs[0].Planned.Erased = true }, `ended as "lost"`},
		"other rows":         {func(e *Evidence) { e.Jobs[0].Truth.Rows = new(int64) }, "other rows"},
		"a delivery short":   {func(e *Evidence) { e.Jobs[0].View.Deliveries.Delivered = 2 }, "invariant 2"},
		"a delivery held":    {func(e *Evidence) { e.Jobs[0].View.Deliveries.Held = 1 }, "invariant 2"},
		"overdue unsaid":     {func(e *Evidence) { e.Jobs[0].View.Overdue, e.Jobs[0].View.Deliveries.Delivered = true, 6 }, "overdue never reached loader"},
		"not in the chat":    {func(e *Evidence) { e.Receptions[0].Body = "" }, "no message to chat"},
		"not at the loader":  {func(e *Evidence) { e.Receptions[1].Taken = false }, "never reached loader"},
		"another id":         {func(e *Evidence) { e.Receptions[1].EventID = "evt_x" }, "another webhook-id"},
		"another type":       {func(e *Evidence) { e.Receptions[2].Type = job.EventFailed }, "was told dev.jobwatcher.job.failed"},
		"badly signed":       {func(e *Evidence) { e.Receptions[1].Fault = "lies" }, "got a message that lies"},
		"nobody's job":       {func(e *Evidence) { e.Receptions[1].Subject = "x" }, "nobody tracked"},
		"another time":       {func(e *Evidence) { e.Receptions[1].Time = noon.Add(time.Second) }, "invariant 5"},
		"late in the calm":   {func(e *Evidence) { e.Receptions[1].At = e.Calm.Add(time.Second) }, "although everything had been delivered"},
		"repeated":           {func(e *Evidence) { e.Receptions = append(e.Receptions, e.Receptions[1]) }, "took event"},
		"overlap":            {func(e *Evidence) { e.Overlaps = []string{oneID.String()} }, "twice at a time"},
		"asked after":        {func(e *Evidence) { e.PolledAfter = []string{oneID.String()} }, "after its end"},
		"leak":               {func(e *Evidence) { e.Leaks = []string{"the log: x"} }, "invariant 6: the log: x"},
		"throttled":          {func(e *Evidence) { e.SelfMade = 2 }, "2 answers of 429"},
		"died by itself":     {func(e *Evidence) { e.Lives[0] = Life{Code: 3} }, "exit code 3"},
		"panicked":           {func(e *Evidence) { e.Lives[0] = Life{Code: -1, Signal: syscall.SIGABRT} }, "aborted"},
		"would not stop":     {func(e *Evidence) { e.Lives[0] = Life{Signal: syscall.SIGKILL, Asked: syscall.SIGTERM} }, "SIGTERM did not end it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := sound()
			tt.spoil(e)
			got := strings.Join(breaches(e), "\n")
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestWhatADisturbanceExplains(t *testing.T) {
	t.Parallel()
	e := sound()
	again := e.Receptions[1]
	again.At = again.At.Add(10 * time.Second)
	e.Receptions = append(e.Receptions, again)
	e.Disturbances = []Disturbance{{Kill, noon.Add(3 * time.Second), noon.Add(4 * time.Second)}}
	j := &judge{e: e}
	if j.all(); len(j.breaches) != 0 || j.repeats != 1 {
		t.Errorf("%v, %d repeats", j.breaches, j.repeats)
	}
	e.Disturbances[0].From, e.Disturbances[0].To = noon.Add(20*time.Second), noon.Add(21*time.Second)
	if got := breaches(e); len(got) != 1 {
		t.Errorf("a disturbance after both explains them: %v", got)
	}
	e = sound()
	e.Lives[0] = Life{Code: 1, Began: noon, Over: noon.Add(time.Second)}
	e.Disturbances = []Disturbance{{FullDisk, noon, noon.Add(time.Minute)}}
	if got := breaches(e); len(got) != 0 {
		t.Errorf("a start on a full disk may be refused: %v", got)
	}
	e = sound()
	e.Jobs[0].Truth.UpdatedOn = noon.Add(10 * time.Minute)
	e.Jumps = []Disturbance{{ClockAhead, noon.Add(-time.Second), noon}}
	if got := breaches(e); len(got) != 0 {
		t.Errorf("an end in the future need not be believed: %v", got)
	}
}

func TestEqualSeedsMakeEqualPlans(t *testing.T) {
	t.Parallel()
	can := Abilities{FullDisk: true}
	one, two := MakePlan(7, time.Minute, 100, can), MakePlan(7, time.Minute, 100, can)
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	if three := MakePlan(8, time.Minute, 100, can); cmp.Equal(one.Steps, three.Steps) {
		t.Error("another seed makes the same plan")
	}
	seen := map[Kind]bool{}
	for _, s := range one.Steps {
		if seen[s.Kind] = true; s.At < 0 || s.At+s.For > time.Minute {
			t.Errorf("outside of the plan: %s", s)
		}
	}
	all := append(append([]Kind{Kill, Freeze, Stop, FullDisk}, tenantKinds...), receiverKinds...)
	for _, k := range all {
		if !seen[k] {
			t.Errorf("a minute has no %s", k)
		}
	}
	if seen[CutStore] {
		t.Error("connections to a store that has none are cut")
	}
	if text := one.String(); !strings.Contains(text, "seed 7: 100 jobs in 1m0s") || !strings.Contains(text, string(Kill)) {
		t.Errorf("the plan as text:\n%s", text)
	}
}

// Jobs that are there must not look like jobs that are gone: no silence about
// them, nor two that touch, lasts as long as it takes to call one lost.
func TestPlannedSilencesAreTooShortToMeanAnything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		p := MakePlan(seed, 3*time.Minute, 1, Abilities{FullDisk: true})
		var began, ended time.Duration
		for _, s := range p.Steps {
			if s.Kind != Missing && s.Kind != Denied {
				continue
			}
			if s.At-ended > 500*time.Millisecond {
				began = s.At
			}
			if ended = s.At + s.For; ended-began >= lostAfter {
				t.Fatalf("seed %d: silent from %s to %s", seed, began, ended)
			}
		}
	}
}

func TestLeaksAreFoundInEveryForm(t *testing.T) {
	t.Parallel()
	l := &leakSearch{secrets: func() []string { return []string{"a+b/c=secret", "whsec_c2VjcmV0"} }}
	for _, part := range []string{"fine\nform a%2Bb%2Fc%3D", "secret\nkey c2VjcmV0 ", "\nSELECT canary_of", "_the_query FROM account\n", "unended a+b/c=secret"} {
		if _, err := l.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	found, tail, lines := l.results()
	if len(found) != 3 || lines != 4 || len(tail) != 4 {
		t.Errorf("%d leaks in %d lines: %q", len(found), lines, found)
	}
}

func FuzzParseCrash(f *testing.F) {
	for _, s := range append(CrashPoints(), "", "::", "track:before", "track:before:0", "poll:after:1", "settle:after:99999999999999999999") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCrash(s)
		if (c == nil) == (err == nil) || c != nil && c.n < 1 {
			t.Errorf("%q: %v, %v", s, c, err)
		}
	})
}
