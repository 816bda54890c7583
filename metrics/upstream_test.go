package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
)

func TestLooksAndRequestsAreCounted(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{})
	m.Poll("get", job.NoReason, time.Unix(1700, 0))
	m.Poll("get", job.ReasonRateLimited, time.Unix(1800, 0))
	m.Poll("list", job.NoReason, time.UnixMilli(1750_500))
	m.PollLag(3 * time.Millisecond)
	m.UpstreamRequest("token", 401, 20*time.Millisecond)
	m.UpstreamRequest("get", 0, 30*time.Second)
	m.UnknownStatus()
	m.Detected(1500 * time.Millisecond)
	m.JobsTracked(job.SourceDiscover, 7)
	m.ClaimLost()
	m.Panicked("look")
	m.Exhausted("loader")
	m.APIRequest(422)
	wantLines(t, reg,
		`jobwatcher_polls_total{mode="get",tenant="rest.zuora.com"} 2`,
		`jobwatcher_polls_total{mode="list",tenant="rest.zuora.com"} 1`,
		`jobwatcher_polls_failed_total{mode="get",reason="rate_limited",tenant="rest.zuora.com"} 1`,
		`jobwatcher_last_successful_poll_timestamp_seconds{tenant="rest.zuora.com"} 1750.5`,
		`jobwatcher_poll_lag_seconds_bucket{tenant="rest.zuora.com",le="0.005"} 1`,
		`jobwatcher_upstream_request_duration_seconds_count{code="401",endpoint="token",tenant="rest.zuora.com"} 1`,
		`jobwatcher_upstream_request_duration_seconds_sum{code="none",endpoint="get",tenant="rest.zuora.com"} 30`,
		`jobwatcher_unknown_statuses_total{tenant="rest.zuora.com"} 1`,
		`jobwatcher_detection_delay_seconds_sum{tenant="rest.zuora.com"} 1.5`,
		`jobwatcher_jobs_tracked_total{source="discover",tenant="rest.zuora.com"} 7`,
		`jobwatcher_claims_lost_total 1`,
		`jobwatcher_panics_total{loop="look"} 1`,
		`jobwatcher_deliveries_exhausted_total{destination="loader"} 1`,
		`jobwatcher_api_requests_total{code="422"} 1`,
	)
}

// An alert asks what share of a window is left: a zero that nobody said, or one
// that was true before the window was reset, would ring at night.
func TestWhatIsLeftOfAWindowIsNotANumberUntilItIsKnown(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	m, reg := newMetrics(t, metrics.Options{Now: func() time.Time { return now }})
	left := func(value string) string {
		return `jobwatcher_budget_remaining{tenant="rest.zuora.com",window="1m"} ` + value
	}
	limit := `jobwatcher_budget_limit{tenant="rest.zuora.com",window="1m"} 50000`
	wantLines(t, reg, left("NaN"), `jobwatcher_budget_limit{tenant="rest.zuora.com",window="24h"} NaN`,
		`jobwatcher_budget_reset_timestamp_seconds{tenant="rest.zuora.com",window="1h"} NaN`)
	m.Window("1m", 50_000, -1, time.Time{})
	wantLines(t, reg, left("NaN"), limit)
	m.Window("1m", 50_000, 7, now.Add(30*time.Second))
	wantLines(t, reg, left("7"), limit, `jobwatcher_budget_reset_timestamp_seconds{tenant="rest.zuora.com",window="1m"} 1.00003e+06`)
	m.Window("1m", 50_000, -1, time.Time{}) // the next answer speaks of another window
	wantLines(t, reg, left("7"))
	now = now.Add(30 * time.Second)
	wantLines(t, reg, left("NaN"), limit)
	m.Window("1m", 50_000, 0, now.Add(time.Second))
	wantLines(t, reg, left("0"))
}

func TestScrapesAndCountsMayRunTogether(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{JobLimit: 3})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := range 200 {
				m.JobFinished(finished(worker*1000 + n))
				m.Window("1h", 100, int64(n), time.Now().Add(time.Hour))
				m.Delivered("new", time.Second, time.Second)
				m.StoreOperation("commit", time.Second, nil)
				m.Collect(fakeSource{}, fakeSource{})
			}
		})
	}
	for range 10 {
		gathered(t, reg)
	}
	wg.Wait()
	wantLines(t, reg, `jobwatcher_jobs_finished_total{outcome="completed",tenant="rest.zuora.com"} 800`)
}

// The scrape of a daemon with 20 destinations and series of 100 single jobs after
// 100,000 jobs: below 50 ms and 1 MB.
func BenchmarkScrape(b *testing.B) {
	reg := prometheus.NewRegistry()
	o := metrics.Options{Tenant: "rest.zuora.com", JobLimit: 100}
	for n := range 20 {
		o.Destinations = append(o.Destinations, fmt.Sprintf("destination-%d", n))
	}
	m := metrics.New(reg, o)
	m.Collect(fakeSource{}, fakeSource{})
	for n := range 100_000 {
		m.JobFinished(finished(n))
		m.Delivered(o.Destinations[n%len(o.Destinations)], time.Duration(n)*time.Millisecond, time.Duration(n)*time.Millisecond)
	}
	h := metrics.Handler(reg)
	size := 0
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		size = w.Body.Len()
	}
	b.ReportMetric(float64(size), "bytes/scrape")
}
