package metrics_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

type fakeSource struct{}

func (fakeSource) Watched() (map[job.Status]int, int) {
	return map[job.Status]int{job.Unseen: 1, job.Accepted: 2, "resting": 3, "napping": 4}, 1
}

func (fakeSource) DeliveryStats() (map[string]map[job.DeliveryState]int64, map[string]job.Instant, error) {
	return map[string]map[job.DeliveryState]int64{"gone": {job.DeliveryHeld: 5}}, map[string]job.Instant{"gone": 2000}, nil
}

func (fakeSource) ReplicaCount() (int, error) { return 1, nil }

func newMetrics(t *testing.T, o metrics.Options) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	o.Tenant = "rest.zuora.com"
	o.Destinations = []string{"loader"}
	m := metrics.New(reg, o)
	m.Collect(fakeSource{}, fakeSource{})
	return m, reg
}

// gathered is every sample line without those of Go and process collectors.
func gathered(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestEveryKnownCombinationStartsAtZero(t *testing.T) {
	t.Parallel()
	_, reg := newMetrics(t, metrics.Options{Version: "1", Revision: "r", GoVersion: "go"})
	got := gathered(t, reg)
	for _, want := range []string{
		`jobwatcher_build_info{goversion="go",revision="r",version="1"} 1`,
		`jobwatcher_jobs{status="accepted",tenant="rest.zuora.com"} 2`,
		`jobwatcher_jobs{status="completed",tenant="rest.zuora.com"} 0`,
		`jobwatcher_jobs{status="unseen",tenant="rest.zuora.com"} 1`,
		`jobwatcher_jobs{status="other",tenant="rest.zuora.com"} 7`,
		`jobwatcher_jobs_overdue{tenant="rest.zuora.com"} 1`,
		`jobwatcher_jobs_tracked_total{source="discover",tenant="rest.zuora.com"} 0`,
		`jobwatcher_jobs_finished_total{outcome="abandoned",tenant="rest.zuora.com"} 0`,
		`jobwatcher_job_processing_seconds_count{outcome="cancelled",tenant="rest.zuora.com"} 0`,
		`jobwatcher_job_output_rows_count{tenant="rest.zuora.com"} 0`,
		`jobwatcher_job_output_rows_total{tenant="rest.zuora.com"} 0`,
		`jobwatcher_job_processing_seconds_total{tenant="rest.zuora.com"} 0`,
		`jobwatcher_detection_delay_seconds_count{tenant="rest.zuora.com"} 0`,
		`jobwatcher_polls_total{mode="list",tenant="rest.zuora.com"} 0`,
		`jobwatcher_polls_failed_total{mode="get",reason="malformed",tenant="rest.zuora.com"} 0`,
		`jobwatcher_poll_lag_seconds_count{tenant="rest.zuora.com"} 0`,
		`jobwatcher_deliveries{destination="loader",state="sending"} 0`,
		`jobwatcher_deliveries{destination="gone",state="held"} 5`,
		`jobwatcher_delivery_attempts_total{destination="loader"} 0`,
		`jobwatcher_delivery_attempts_failed_total{destination="loader",reason="gone"} 0`,
		`jobwatcher_delivery_latency_seconds_count{destination="loader"} 0`,
		`jobwatcher_end_to_end_latency_seconds_count{destination="loader"} 0`,
		`jobwatcher_outbox_oldest_pending_timestamp_seconds{destination="gone"} 2`,
		`jobwatcher_last_successful_poll_timestamp_seconds{tenant="rest.zuora.com"} 0`,
		`jobwatcher_store_errors_total{operation="commit"} 0`,
		`jobwatcher_replicas 1`,
		`jobwatcher_claims_lost_total 0`,
	} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("missing at the start: %s", want)
		}
	}
	for _, forbidden := range []string{`job="`, `instance="`} {
		if strings.Contains(strings.ReplaceAll(got, "job_id=", ""), "{"+forbidden) {
			t.Errorf("a label that Prometheus itself sets: %s", forbidden)
		}
	}
}

func TestMetricsHaveNothingToLint(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{JobLimit: 2})
	m.JobFinished(finished(1))
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not installed")
		}
		t.Skip("promtool is not installed: only the library's lint was run")
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(gathered(t, reg))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func finished(n byte) *job.Job {
	rows, took := int64(n), time.Duration(n)*time.Second
	return &job.Job{ID: job.ID{n}, Outcome: job.OutcomeCompleted, OutputRows: &rows, ProcessingTime: &took, FinishedAt: 5000}
}

func TestAbsentNumbersAreNoSamples(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{})
	m.JobFinished(&job.Job{Outcome: job.OutcomeFailed})
	m.JobFinished(finished(3))
	got := gathered(t, reg)
	for _, want := range []string{
		`jobwatcher_jobs_finished_total{outcome="failed",tenant="rest.zuora.com"} 1`,
		`jobwatcher_job_processing_seconds_count{outcome="failed",tenant="rest.zuora.com"} 0`,
		`jobwatcher_job_processing_seconds_sum{outcome="completed",tenant="rest.zuora.com"} 3`,
		`jobwatcher_job_output_rows_count{tenant="rest.zuora.com"} 1`,
	} {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestSeriesOfSingleJobsAreCappedAndExpire(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	m, reg := newMetrics(t, metrics.Options{JobLimit: 2, JobTTL: time.Hour, Now: func() time.Time { return now }})
	count := func() int {
		n, err := testutil.GatherAndCount(reg, "jobwatcher_job_last_output_rows")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	got := []int{count()}
	for n := range byte(5) {
		m.JobFinished(finished(n))
	}
	got = append(got, count())
	now = now.Add(time.Hour + time.Second)
	got = append(got, count())
	if diff := cmp.Diff([]int{0, 2, 0}, got); diff != "" {
		t.Errorf("series at start, after five jobs, after their time (-want +got):\n%s", diff)
	}
}

func TestSeriesStayTheSameHoweverManyJobsEnd(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{})
	count := func() int {
		n, err := testutil.GatherAndCount(reg)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	m.JobFinished(finished(1))
	before := count()
	for n := range 100_000 {
		m.JobFinished(finished(byte(n)))
		m.UpstreamRequest("get", 200, time.Millisecond)
	}
	if after := count(); after != before {
		t.Errorf("series: got %d, want %d as before", after, before)
	}
}

func TestNilMetricsCountNothing(t *testing.T) {
	t.Parallel()
	var m *metrics.Metrics
	m.JobsTracked(job.SourceAPI, 1)
	m.JobFinished(finished(1))
	m.Detected(0)
	m.UnknownStatus()
	m.Poll("get", job.NoReason, time.Time{})
	m.PollLag(0)
	m.UpstreamRequest("get", 200, 0)
	m.Window("1m", 1, 1, time.Time{})
	m.Attempt("a", job.NoReason)
	m.Delivered("a", 0, 0)
	m.Exhausted("a")
	m.StoreOperation("track", 0, nil)
	m.ClaimLost()
	m.Panicked("x")
	m.AddDestinations("a")
	m.Collect(nil, nil)
}
