package zuora

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "1.5": 1500 * time.Millisecond,
		"86400": maxWait, "86401": maxWait, "99999999999999999999": maxWait,
		"999999999999999999999": 0, // longer than any number that is meant
		"-1":                    0, "+5": 0, "NaN": 0, "Inf": 0, "1e3": 0, "0x10": 0, "1_0": 0, "soon": 0, "12s": 0, ".": 0, "5, 5": 0,
		date(90 * time.Second): 90 * time.Second, date(-time.Hour): 0, date(0): 0, date(48 * time.Hour): maxWait,
		"Monday, 05-Jan-26 12:00:07 GMT": 7 * time.Second, "Mon Jan  5 12:00:07 2026": 7 * time.Second,
		now.Add(time.Minute).Format(time.RFC3339): 0,
	} {
		if got := retryAfter(headers("Retry-After", text), now); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	// Zuora's clock against ours: the two agree on the distance.
	skewed := headers("Retry-After", date(time.Hour+30*time.Second), "Date", date(time.Hour))
	if got := retryAfter(skewed, now); got != 30*time.Second {
		t.Errorf("with a clock an hour ahead: got %s, want 30s", got)
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	const official = "2250000, 50000;w=60, 2250000;w=3600, 27000000;w=86400"
	minute := Window{Name: "1m", Span: time.Minute, Limit: 50_000, Remaining: -1}
	hour := Window{Name: "1h", Span: time.Hour, Limit: 2_250_000, Remaining: -1}
	day := Window{Name: "24h", Span: 24 * time.Hour, Limit: 27_000_000, Remaining: -1}
	told := func(w Window, left int64, in time.Duration) Window {
		w.Remaining = left
		if in > 0 {
			w.Reset = now.Add(in)
		}
		return w
	}
	for name, c := range map[string]struct {
		h    http.Header
		want []Window
	}{
		"as in the guide": {
			headers("RateLimit-Limit", official, "RateLimit-Remaining", "2249000", "RateLimit-Reset", "1234"),
			[]Window{minute, told(hour, 2_249_000, 1234*time.Second), day},
		},
		"without spaces": {
			headers("RateLimit-Limit", "50000,50000;w=60,2250000;w=3600", "RateLimit-Remaining", "0", "RateLimit-Reset", "7"),
			[]Window{told(minute, 0, 7*time.Second), hour},
		},
		"more spaces and parameters": {
			headers("RateLimit-Limit", " 50000 , 50000 ; burst=9 ; w = 60 ", "RateLimit-Remaining", " 12.0 ", "RateLimit-Reset", " 7.5 "),
			[]Window{told(minute, 12, 7500*time.Millisecond)},
		},
		"the closest one with its span": {
			headers("RateLimit-Limit", "50000;w=60, 2250000;w=3600", "RateLimit-Remaining", "3", "RateLimit-Reset", "7"),
			[]Window{told(minute, 3, 7*time.Second), hour},
		},
		"two of the same quota: the reset says which": {
			headers("RateLimit-Limit", "50000, 50000;w=60, 50000;w=3600", "RateLimit-Remaining", "3", "RateLimit-Reset", "1800"),
			[]Window{minute, told(Window{Name: "1h", Span: time.Hour, Limit: 50_000}, 3, 30*time.Minute)},
		},
		"no reset":                  {headers("RateLimit-Limit", official, "RateLimit-Remaining", "5"), []Window{minute, told(hour, 5, 0), day}},
		"a reset beyond the window": {headers("RateLimit-Limit", official, "RateLimit-Remaining", "5", "RateLimit-Reset", "3601"), []Window{minute, hour, day}},
		"more left than the limit":  {headers("RateLimit-Limit", official, "RateLimit-Remaining", "2250001", "RateLimit-Reset", "5"), []Window{minute, hour, day}},
		"nothing said of it":        {headers("RateLimit-Limit", official), []Window{minute, hour, day}},
		"junk left":                 {headers("RateLimit-Limit", official, "RateLimit-Remaining", "NaN", "RateLimit-Reset", "5"), []Window{minute, hour, day}},
		"negative left":             {headers("RateLimit-Limit", official, "RateLimit-Remaining", "-5", "RateLimit-Reset", "5"), []Window{minute, hour, day}},
		"a window of ours":          {headers("RateLimit-Limit", "5, 5;w=300", "RateLimit-Remaining", "5"), []Window{{Name: "5m0s", Span: 5 * time.Minute, Limit: 5, Remaining: 5}}},
		"no windows":                {headers("RateLimit-Limit", "2250000", "RateLimit-Remaining", "5", "RateLimit-Reset", "5"), nil},
		"junk among them":           {headers("RateLimit-Limit", "x, 50000;w=60, -1;w=3600, 5;w=0, 5;w=-1, 5;w=1e9, 5;w=NaN, ;w=60, 5;v=60, 1e300;w=60"), []Window{minute}},
		"huge":                      {headers("RateLimit-Limit", "9, "+strings.Repeat("9;w=60, ", 1000)), nil},
		"many":                      {headers("RateLimit-Limit", "9"+strings.Repeat(",9;w=60", 20)), make8(Window{Name: "1m", Span: time.Minute, Limit: 9, Remaining: -1})},
		"empty":                     {headers(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []Window
			c2 := newFake(t, &fake{}, func(o *Options) { o.OnWindows = func(w []Window) { got = w } })
			for range 2 { // read, and remembered
				got = nil
				c2.report(c.h, now)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("windows (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func make8(w Window) (all []Window) {
	for range maxWindows {
		all = append(all, w)
	}
	return all
}

// What one listener does to its slice is not seen by the next.
func TestWindowsAreTheListenersOwn(t *testing.T) {
	t.Parallel()
	var limits []int64
	c := newFake(t, &fake{}, func(o *Options) {
		o.OnWindows = func(w []Window) {
			limits = append(limits, w[0].Limit)
			w[0].Limit = -7
		}
	})
	h := headers("RateLimit-Limit", "5, 5;w=60", "RateLimit-Remaining", "1")
	c.report(h, time.Now())
	c.report(h, time.Now())
	c.report(headers("RateLimit-Limit", "9, 9;w=60"), time.Now())
	if diff := cmp.Diff([]int64{5, 5, 9}, limits); diff != "" {
		t.Errorf("limits heard (-want +got):\n%s", diff)
	}
}

func TestEveryAnswerTellsItsWindows(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	var heard int
	f := &fake{api: func(_ *http.Request, n int) (*http.Response, error) {
		status := []int{200, 404, 429, 500}[n-1]
		return reply(status, inProgress, "RateLimit-Limit", "50000, 50000;w=60, 2250000;w=3600", "RateLimit-Remaining", "40", "RateLimit-Reset", "30"), nil
	}}
	clock := newClock()
	c := newFake(t, f, func(o *Options) {
		o.Metrics = metrics.New(registry, metrics.Options{Tenant: "acme", Now: clock.Now})
		o.OnWindows = func([]Window) { heard++ }
		o.Now = clock.Now
	})
	for range 4 {
		_, _ = c.Get(t.Context(), jobID)
	}
	if heard != 4 {
		t.Errorf("heard of the windows %d times, want 4", heard)
	}
	got := map[string]float64{}
	counts := map[string]uint64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			switch family.GetName() {
			case "jobwatcher_budget_limit", "jobwatcher_budget_remaining", "jobwatcher_budget_reset_timestamp_seconds":
				if v := m.GetGauge().GetValue(); !math.IsNaN(v) {
					got[family.GetName()+" "+labels["window"]] = v
				}
			case "jobwatcher_upstream_request_duration_seconds":
				if n := m.GetHistogram().GetSampleCount(); n > 0 {
					counts[labels["endpoint"]+" "+labels["code"]] = n
				}
			}
		}
	}
	want := map[string]float64{
		"jobwatcher_budget_limit 1m": 50_000, "jobwatcher_budget_limit 1h": 2_250_000, "jobwatcher_budget_remaining 1m": 40,
		"jobwatcher_budget_reset_timestamp_seconds 1m": float64(clock.Now().Unix() + 30),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("gauges (-want +got):\n%s", diff)
	}
	requests := map[string]uint64{"token 200": 1, "get 200": 1, "get 404": 1, "get 429": 1, "get 500": 1}
	if diff := cmp.Diff(requests, counts); diff != "" {
		t.Errorf("requests counted (-want +got):\n%s", diff)
	}
}

func TestARequestIDThatIsNoneIsDropped(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"0a1b2c3d-0000-4000-8000-000000000001": "0a1b2c3d-0000-4000-8000-000000000001", "": "", "a b": "", "a\nb": "", "a\"b": "",
		"é": "", "https://x": "", strings.Repeat("a", 65): "",
	} {
		_, err := newFake(t, &fake{api: always(404, "", "Zuora-Request-Id", id)}).Get(t.Context(), jobID)
		if e := faultOf(t, err); e.RequestID != want || e.Reason != job.ReasonNotFound {
			t.Errorf("%q: got %q, %v", id, e.RequestID, e)
		}
	}
}
