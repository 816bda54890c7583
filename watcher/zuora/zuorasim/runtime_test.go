package zuorasim

import (
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestParseRunTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]RunTime{
		"fixed:20s":           Fixed(20 * time.Second),
		"lognormal:20s:1.2":   LogNormal(20*time.Second, 1.2),
		"bimodal:5s:20m:0.3":  Bimodal(5*time.Second, 20*time.Minute, 0.3),
		"bimodal:5s:20m":      Bimodal(5*time.Second, 20*time.Minute, 0.5),
		"heavy:10s:1.1":       HeavyTail(10*time.Second, 1.1),
		"lognormal:1m30s:0.0": LogNormal(90*time.Second, 0),
	} {
		got, err := ParseRunTime(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
		again, err := ParseRunTime(got.String())
		if err != nil || again != got {
			t.Errorf("%q: read back as %v, %v", text, again, err)
		}
	}
	for _, text := range []string{
		"", "fixed", "fixed:", "fixed:20", "fixed:-1s", "fixed:0s", "fixed:20s:1", "fixed:9000h", "lognormal:20s", "lognormal:20s:x",
		"lognormal:20s:-1", "lognormal:20s:NaN", "lognormal:20s:99", "bimodal:5s", "bimodal:5s:x", "bimodal:5s:20m:2", "heavy:5s:0", "uniform:1s:2s",
	} {
		if got, err := ParseRunTime(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func FuzzParseRunTime(f *testing.F) {
	for _, s := range []string{"fixed:20s", "lognormal:20s:1.2", "bimodal:5s:20m:0.3", "heavy:10s:1.1", "heavy:1ns:0.0001", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRunTime(s)
		if err != nil {
			return
		}
		d := dice(1, streamJob, 1)
		for range 20 {
			if x := r.Draw(d); x < 1 || x > maxRunTime {
				t.Fatalf("%q: drew %s", s, x)
			}
		}
	})
}

func TestDistributionsHaveTheirMedians(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r    RunTime
		p    float64
		want time.Duration
	}{
		{Fixed(time.Minute), 0.01, time.Minute},
		{LogNormal(20*time.Second, 1.2), 0.5, 20 * time.Second},
		{LogNormal(20*time.Second, 1.2), 0.841, time.Duration(20e9 * math.Exp(1.2))}, // one sigma
		{Bimodal(5*time.Second, 20*time.Minute, 0.3), 0.35, 5 * time.Second},
		{Bimodal(5*time.Second, 20*time.Minute, 0.3), 0.85, 20 * time.Minute},
		{HeavyTail(10*time.Second, 1.1), 0.5, 10 * time.Second},
	} {
		d := dice(1, streamJob, 1)
		all := make([]time.Duration, 100_000)
		for i := range all {
			all[i] = c.r.Draw(d)
		}
		slices.Sort(all)
		got := all[int(c.p*float64(len(all)))]
		if ratio := float64(got) / float64(c.want); ratio < 0.95 || ratio > 1.05 {
			t.Errorf("%s at %v: got %s, want about %s", c.r, c.p, got, c.want)
		}
	}
}

func TestDrawnJobsKeepToTheOptions(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{
		Seed: 2, FailRatio: 0.2, CancelRatio: 0.1, Speed: 10, RunTime: Fixed(100 * time.Second), Jobs: 40,
		Rows: Rows{Median: 400_000, Sigma: 3, Zero: 0.1}, Live: Queue{-1, -1},
	})
	if got := len(s.Jobs()); got != 40 {
		t.Errorf("prefilled: got %d", got)
	}
	for range 2000 {
		s.Submit(Spec{})
	}
	s.clock.pass(10 * time.Second)
	count, empty := map[job.Status]int{}, 0
	for _, j := range s.Jobs() {
		if j.Source != "LIVE" {
			continue
		}
		count[j.Status]++
		if j.Rows != nil {
			if *j.Rows > maxRowsLive {
				t.Fatalf("%d rows", *j.Rows)
			}
			if *j.Rows == 0 {
				empty++
			}
		}
		if j.Status == job.Failed && j.Error == "" {
			t.Error("failed without a message")
		}
	}
	if c := count; c[job.Failed] < 350 || c[job.Failed] > 460 || c[job.Cancelled] < 160 || c[job.Cancelled] > 250 || c[job.InProgress] != 0 {
		t.Errorf("got %v", count)
	}
	if empty < 100 || empty > 190 {
		t.Errorf("%d results are empty", empty)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for i, o := range []Options{
		{FailRatio: 1.1},
		{FailRatio: nan},
		{FailRatio: 0.6, CancelRatio: 0.6},
		{Speed: -1},
		{Jobs: -1},
		{Arrivals: nan},
		{RunTime: RunTime{Shape: "uniform", Median: 1}},
		{Rows: Rows{Zero: 2}},
		{Plan: Plan{Windows: []Window{{0, time.Minute}}}},
		{TokenLife: -1},
	} {
		if o.Validate() == nil {
			t.Errorf("%d is taken: %+v", i, o)
		}
	}
	if err := new(Options).Validate(); err != nil {
		t.Error(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("New took bad options")
		}
	}()
	New(Options{FailRatio: 2})
}

func BenchmarkGet(b *testing.B) {
	s := New(Options{BearerToken: "t", Plan: Unlimited(), Log: -1})
	path := jobsPath + "/" + s.Submit(Spec{Forever: true}).String()
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequest(http.MethodGet, path, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer t")
		w := discard{}
		s.ServeHTTP(w, req)
	}
}

type discard map[string][]string

func (d discard) Header() http.Header         { return http.Header(d) }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
