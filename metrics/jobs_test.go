package metrics_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func finished(n int) *job.Job {
	rows, took := int64(n), time.Duration(n)*time.Second
	return &job.Job{
		ID: job.ID{byte(n), byte(n >> 8), byte(n >> 16)}, Outcome: job.OutcomeCompleted,
		OutputRows: &rows, ProcessingTime: &took, FinishedAt: job.Instant(5000 + n),
	}
}

// wantLines checks that the scrape has these samples.
func wantLines(t *testing.T, reg *prometheus.Registry, lines ...string) {
	t.Helper()
	got := "\n" + gathered(t, reg)
	for _, want := range lines {
		if !strings.Contains(got, "\n"+want+"\n") {
			name, _, _ := strings.Cut(want, "{")
			var have []string
			for line := range strings.Lines(got) {
				if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
					have = append(have, strings.TrimSpace(line))
				}
			}
			t.Errorf("missing: %s\nthere is: %s", want, strings.Join(have, "\n          "))
		}
	}
}

func wantNone(t *testing.T, reg *prometheus.Registry, texts ...string) {
	t.Helper()
	got := gathered(t, reg)
	for _, text := range texts {
		if strings.Contains(got, text) {
			t.Errorf("the scrape has %s", text)
		}
	}
}

func TestAbsentNumbersAreNoSamples(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{JobLimit: 5})
	m.JobFinished(&job.Job{Outcome: job.OutcomeFailed, FinishedAt: 1000})
	m.JobFinished(finished(3))
	wantLines(t, reg,
		`jobwatcher_jobs_finished_total{outcome="failed",tenant="rest.zuora.com"} 1`,
		`jobwatcher_job_processing_seconds_count{outcome="failed",tenant="rest.zuora.com"} 0`,
		`jobwatcher_job_processing_seconds_sum{outcome="completed",tenant="rest.zuora.com"} 3`,
		`jobwatcher_job_processing_seconds_total{tenant="rest.zuora.com"} 3`,
		`jobwatcher_job_output_rows_count{tenant="rest.zuora.com"} 1`,
		`jobwatcher_job_output_rows_total{tenant="rest.zuora.com"} 3`,
		`jobwatcher_job_finished_timestamp_seconds{job_id="00000000-0000-0000-0000-000000000000",tenant="rest.zuora.com"} 1`,
	)
	wantNone(t, reg, `jobwatcher_job_last_output_rows{job_id="00000000`)
}

func TestZeroRowsAreASample(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{})
	m.JobFinished(finished(0))
	wantLines(t, reg,
		`jobwatcher_job_output_rows_count{tenant="rest.zuora.com"} 1`,
		`jobwatcher_job_output_rows_bucket{tenant="rest.zuora.com",le="0"} 1`,
	)
}

// What Zuora sends is foreign: no number of its may stop the daemon (a counter
// panics when it is to go down), no word may make a series.
func TestForeignValuesDoNoHarm(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{JobLimit: 1})
	rows, took := int64(-1), time.Duration(math.MinInt64)
	m.JobFinished(&job.Job{Outcome: "exploded", OutputRows: &rows, ProcessingTime: &took})
	m.JobFinished(nil)
	m.JobsTracked("dream", 2)
	m.JobsTracked(job.SourceAPI, -1)
	m.Detected(-time.Hour)
	m.PollLag(-time.Second)
	m.Poll("guess", "because", time.Time{})
	m.UpstreamRequest("home", 418, -time.Second)
	m.UpstreamRequest("get", 70000, time.Second)
	m.Window("1y", 1, 1, time.Time{})
	m.Delivered("loader", -time.Second, -time.Second)
	m.Attempt("loader", "because")
	m.APIRequest(299)
	wantLines(t, reg,
		`jobwatcher_jobs_finished_total{outcome="other",tenant="rest.zuora.com"} 1`,
		`jobwatcher_job_output_rows_count{tenant="rest.zuora.com"} 0`,
		`jobwatcher_job_processing_seconds_total{tenant="rest.zuora.com"} 0`,
		`jobwatcher_jobs_tracked_total{source="other",tenant="rest.zuora.com"} 2`,
		`jobwatcher_jobs_tracked_total{source="api",tenant="rest.zuora.com"} 0`,
		`jobwatcher_detection_delay_seconds_sum{tenant="rest.zuora.com"} 0`,
		`jobwatcher_detection_delay_seconds_count{tenant="rest.zuora.com"} 1`,
		`jobwatcher_poll_lag_seconds_sum{tenant="rest.zuora.com"} 0`,
		`jobwatcher_polls_failed_total{mode="other",reason="other",tenant="rest.zuora.com"} 1`,
		`jobwatcher_upstream_request_duration_seconds_count{code="4xx",endpoint="other",tenant="rest.zuora.com"} 1`,
		`jobwatcher_upstream_request_duration_seconds_count{code="other",endpoint="get",tenant="rest.zuora.com"} 1`,
		`jobwatcher_delivery_latency_seconds_sum{destination="loader"} 0`,
		`jobwatcher_end_to_end_latency_seconds_count{destination="loader"} 0`,
		`jobwatcher_delivery_attempts_failed_total{destination="loader",reason="other"} 1`,
		`jobwatcher_api_requests_total{code="2xx"} 1`,
	)
	wantNone(t, reg, `window="1y"`)
}

func TestSeriesOfSingleJobsAreCappedAndExpire(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	m, reg := newMetrics(t, metrics.Options{JobLimit: 2, JobTTL: time.Hour, Now: func() time.Time { return now }})
	ids := func() []string {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, f := range families {
			if f.GetName() != "jobwatcher_job_finished_timestamp_seconds" {
				continue
			}
			for _, one := range f.GetMetric() {
				for _, l := range one.GetLabel() {
					if l.GetName() == "job_id" {
						all = append(all, l.GetValue()[:2])
					}
				}
			}
		}
		return all
	}
	var got [][]string
	step := func(act func()) { act(); got = append(got, ids()) }
	step(func() {})
	step(func() { m.JobFinished(finished(1)); m.JobFinished(finished(2)) })
	step(func() { now = now.Add(30 * time.Minute); m.JobFinished(finished(3)) }) // 1 makes room
	step(func() { m.JobFinished(finished(2)); m.JobFinished(finished(4)) })      // 2 is young again, 3 makes room
	step(func() { now = now.Add(time.Hour - time.Second) })
	step(func() { now = now.Add(time.Second) })
	want := [][]string{nil, {"01", "02"}, {"02", "03"}, {"02", "04"}, {"02", "04"}, nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("jobs with series of their own (-want +got):\n%s", diff)
	}
}

func TestSeriesStayTheSameHoweverManyJobsEnd(t *testing.T) {
	t.Parallel()
	const limit = 10
	m, reg := newMetrics(t, metrics.Options{JobLimit: limit})
	count := func() int {
		n, err := testutil.GatherAndCount(reg)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	for n := range 100_000 {
		j := finished(n)
		j.Outcome = job.Outcomes()[n%5]
		m.JobFinished(j)
		m.UpstreamRequest("get", 200, time.Millisecond)
		m.Detected(time.Duration(n) * time.Millisecond)
		m.Delivered("loader", time.Millisecond, time.Second)
	}
	if got, want := count(), before+3*limit; got != want {
		t.Errorf("series: got %d, want %d, those from the start and three for each of %d jobs", got, want, limit)
	}
	if size := len(gathered(t, reg)); size > 1<<20 {
		t.Errorf("size of the scrape: got %d bytes, want less than 1 MB", size)
	}
}
