package metrics_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

var update = flag.Bool("update", false, "write the golden files anew")

type fakeSource struct{}

func (fakeSource) Watched() (map[job.Status]int, job.Lateness) {
	return map[job.Status]int{job.Unseen: 1, job.Accepted: 2, "resting": 3, "napping": 4}, job.Lateness{Overdue: 1, Expected: 2, LastEnd: 5000}
}

func (fakeSource) Budget() job.BudgetView {
	return job.BudgetView{LateSeconds: 1.5, Windows: []job.BudgetWindowView{{Window: "1h", SpentAt: 9000}, {Window: "1m"}, {Window: "7m", SpentAt: 1}}}
}

func (fakeSource) DeliveryStats() (map[string]map[job.DeliveryState]int64, map[string]job.Instant, error) {
	return map[string]map[job.DeliveryState]int64{"gone": {job.DeliveryHeld: 5, job.DeliveryDelivered: 3}}, map[string]job.Instant{"gone": 2000}, nil
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

// gathered is the text of a scrape, those of Go and process collectors included.
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

// ours leaves out the families of the Go and process collectors, which differ
// from one Go release to the next.
func ours(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "); strings.HasPrefix(name, "jobwatcher_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestFirstScrapeHasEveryKnownCombinationAtZero(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	metrics.New(reg, metrics.Options{
		Tenant: "rest.zuora.com", Destinations: []string{"loader"}, Version: "1.2.3", Revision: "abc", GoVersion: "go1.26",
	})
	got := ours(gathered(t, reg))
	golden := filepath.Join("testdata", "initial.prom")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the first scrape (-want +got; -update writes it anew):\n%s", diff)
	}
}

// The names of contract section 7, and the labels that it gives them.
func TestNamesAndLabelsAreTheContracts(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{JobLimit: 1})
	m.JobFinished(finished(1))
	want := map[string]string{
		"jobwatcher_build_info":                                         "goversion revision version",
		"jobwatcher_jobs":                                               "status tenant",
		"jobwatcher_jobs_overdue":                                       "tenant",
		"jobwatcher_jobs_overdue_expected":                              "tenant",
		"jobwatcher_polls_late_seconds":                                 "tenant",
		"jobwatcher_budget_spent_timestamp_seconds":                     "tenant window",
		"jobwatcher_jobs_expected_end_timestamp_seconds":                "tenant",
		"jobwatcher_jobs_tracked_total":                                 "source tenant",
		"jobwatcher_jobs_finished_total":                                "outcome tenant",
		"jobwatcher_job_processing_seconds":                             "outcome tenant",
		"jobwatcher_job_output_rows":                                    "tenant",
		"jobwatcher_job_output_rows_total":                              "tenant",
		"jobwatcher_job_processing_seconds_total":                       "tenant",
		"jobwatcher_job_last_processing_seconds":                        "job_id tenant",
		"jobwatcher_job_last_output_rows":                               "job_id tenant",
		"jobwatcher_job_finished_timestamp_seconds":                     "job_id tenant",
		"jobwatcher_detection_delay_seconds":                            "tenant",
		"jobwatcher_polls_total":                                        "mode tenant",
		"jobwatcher_polls_failed_total":                                 "mode reason tenant",
		"jobwatcher_poll_lag_seconds":                                   "tenant",
		"jobwatcher_upstream_request_duration_seconds":                  "code endpoint tenant",
		"jobwatcher_budget_limit":                                       "tenant window",
		"jobwatcher_budget_remaining":                                   "tenant window",
		"jobwatcher_budget_reset_timestamp_seconds":                     "tenant window",
		"jobwatcher_deliveries":                                         "destination state",
		"jobwatcher_destinations_last_reload_success_timestamp_seconds": "",
		"jobwatcher_destinations_reloads_total":                         "result",
		"jobwatcher_delivery_attempts_total":                            "destination",
		"jobwatcher_delivery_attempts_failed_total":                     "destination reason",
		"jobwatcher_delivery_latency_seconds":                           "destination",
		"jobwatcher_end_to_end_latency_seconds":                         "destination",
		"jobwatcher_outbox_oldest_pending_timestamp_seconds":            "destination",
		"jobwatcher_last_successful_poll_timestamp_seconds":             "tenant",
		"jobwatcher_store_operation_duration_seconds":                   "operation",
		"jobwatcher_store_errors_total":                                 "operation",
		"jobwatcher_replicas":                                           "",
		"jobwatcher_claims_lost_total":                                  "",
		// beyond the contract
		"jobwatcher_unknown_statuses_total":     "tenant",
		"jobwatcher_deliveries_exhausted_total": "destination",
		"jobwatcher_panics_total":               "loop",
		"jobwatcher_api_requests_total":         "code",
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	standard := 0
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
			if l.GetName() == "job" || l.GetName() == "instance" {
				t.Errorf("%s has the label %s, which Prometheus itself sets", f.GetName(), l.GetName())
			}
		}
		if !strings.HasPrefix(f.GetName(), "jobwatcher_") {
			standard++
			continue
		}
		got[f.GetName()] = strings.Join(labels, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names and labels (-want +got):\n%s", diff)
	}
	if standard == 0 {
		t.Error("the Go and process collectors are missing")
	}
}

func TestMetricsHaveNothingToLint(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{JobLimit: 2})
	m.JobFinished(finished(1))
	m.Window("1m", 10, 5, time.Now().Add(time.Hour))
	m.Delivered("loader", time.Second, time.Second)
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

// scraped is one answer of the handler.
func scraped(t *testing.T, h http.Handler, accept string) (*http.Response, string) {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
	req.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	answer := w.Result()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

func TestHistogramsAreNativeAndClassic(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{})
	m.JobFinished(finished(3))
	h := metrics.Handler(reg)
	if _, text := scraped(t, h, "text/plain"); !strings.Contains(text, `jobwatcher_job_output_rows_bucket{tenant="rest.zuora.com",le="5e+07"} 1`) {
		t.Error("the text has no classic buckets up to 50,000,000 rows")
	}
	answer, body := scraped(t, h, protobuf)
	decoder := expfmt.NewDecoder(strings.NewReader(body), expfmt.ResponseFormat(answer.Header))
	found := 0
	for {
		var f dto.MetricFamily
		if err := decoder.Decode(&f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if f.GetType() != dto.MetricType_HISTOGRAM {
			continue
		}
		found++
		one := f.GetMetric()[0].GetHistogram()
		if len(one.GetBucket()) == 0 || one.Schema == nil {
			t.Errorf("%s: %d classic buckets, schema %v: want both kinds", f.GetName(), len(one.GetBucket()), one.Schema)
		}
	}
	if found < 8 {
		t.Errorf("histograms: got %d, want at least 8", found)
	}
}

// Two pairs of the contract's names would be one family there.
func TestOpenMetricsIsNotOffered(t *testing.T) {
	t.Parallel()
	_, reg := newMetrics(t, metrics.Options{})
	answer, body := scraped(t, metrics.Handler(reg), "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
	if got := answer.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
		t.Errorf("content type: got %s, want text/plain", got)
	}
	types := regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(body, -1)
	seen := map[string]bool{}
	for _, found := range types {
		if seen[found[1]] {
			t.Errorf("two families are called %s", found[1])
		}
		seen[found[1]] = true
	}
	if !seen["jobwatcher_job_output_rows"] || !seen["jobwatcher_job_output_rows_total"] {
		t.Error("the histogram or the counter of rows is missing")
	}
}

func TestNilMetricsCountNothing(t *testing.T) {
	t.Parallel()
	var m *metrics.Metrics
	v := reflect.ValueOf(m)
	for i := range v.NumMethod() {
		method := v.Type().Method(i)
		args := []reflect.Value{}
		for n := 1; n < method.Type.NumIn(); n++ {
			if method.Type.IsVariadic() && n == method.Type.NumIn()-1 {
				break
			}
			args = append(args, reflect.Zero(method.Type.In(n)))
		}
		v.Method(i).Call(args) // a panic names the method
	}
	if v.NumMethod() < 16 {
		t.Errorf("methods tried: got %d, want all 16 or more", v.NumMethod())
	}
}

// Another package's registry may hold the standard collectors already, and a
// daemon without a listener has no registry at all.
func TestRegistriesThatAreNotEmptyOrNotThere(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGoCollector()) //nolint:staticcheck // the old name, as other code still has it
	metrics.New(reg, metrics.Options{Tenant: "t"}).ClaimLost()
	metrics.New(nil, metrics.Options{Tenant: "t"}).ClaimLost()
	if n, err := testutil.GatherAndCount(reg, "jobwatcher_claims_lost_total", "go_goroutines"); err != nil || n != 2 {
		t.Errorf("families: got %d (%v), want 2", n, err)
	}
}
