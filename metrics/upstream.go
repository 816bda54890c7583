package metrics

import (
	"strconv"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// lagBuckets are dense around the target, a p99 below 20 ms (contract section 10).
func lagBuckets() []float64 {
	return []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}

// requestBuckets end where Zuora does: it cuts a request after 120 s
// (zuora-facts section 4, retry advice); we do after 30 s by default.
func requestBuckets() []float64 {
	return []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120}
}

// The two ways to look, and what we ask of Zuora.
var (
	modes     = []string{"get", "list"}
	endpoints = []string{"get", "list", "token"}
)

// noAnswer is the code of a request that nobody answered.
const noAnswer = "none"

// upstreamCodes are the statuses documented for our operations (zuora-facts
// section 1) and those that its retry advice adds. A code outside of them
// counts in its class, since what an upstream sends must not make series.
var upstreamCodes = []string{"200", "400", "401", "403", "404", "429", "500", "502", "503", "504", noAnswer}

type upstreamMetrics struct {
	polls    *prometheus.CounterVec
	failed   *prometheus.CounterVec
	lag      prometheus.Histogram
	requests *prometheus.HistogramVec
	lastGood prometheus.Gauge
	windows  *windows
}

func newUpstreamMetrics(f promauto.Factory) upstreamMetrics {
	u := upstreamMetrics{
		polls: f.NewCounterVec(counter("polls_total",
			"Looks at jobs, failed ones included: one job at a time (get) or many (list)."), []string{"mode"}),
		failed: f.NewCounterVec(counter("polls_failed_total",
			"Looks that failed, by why."), []string{"mode", "reason"}),
		lag: f.NewHistogram(histogram("poll_lag_seconds",
			"From the time a look was due to the time it was sent.", lagBuckets())),
		requests: f.NewHistogramVec(histogram("upstream_request_duration_seconds",
			"HTTP exchanges with Zuora by endpoint and status code (none: no answer).", requestBuckets()), []string{"endpoint", "code"}),
		lastGood: f.NewGauge(gauge("last_successful_poll_timestamp_seconds",
			"When Zuora last answered a look; 0 before the first time.")),
	}
	for _, mode := range modes {
		u.polls.WithLabelValues(mode)
		for _, r := range job.PollReasons() {
			u.failed.WithLabelValues(mode, string(r))
		}
	}
	for _, e := range endpoints {
		for _, code := range upstreamCodes {
			u.requests.WithLabelValues(e, code)
		}
	}
	return u
}

// Poll counts one look; reason says why it failed (NoReason: it did not). mode is "get" or "list".
// A success sets last_successful_poll.
func (m *Metrics) Poll(mode string, reason job.Reason, at time.Time) {
	if m == nil {
		return
	}
	mode = oneOf(mode, modes)
	m.upstream.polls.WithLabelValues(mode).Inc()
	if reason != job.NoReason {
		m.upstream.failed.WithLabelValues(mode, reasonLabel(reason, job.PollReasons())).Inc()
		return
	}
	m.upstream.lastGood.Set(seconds(at))
}

// PollLag observes the time from due to sent.
func (m *Metrics) PollLag(d time.Duration) {
	if m == nil {
		return
	}
	observe(m.upstream.lag, d)
}

// UpstreamRequest observes one HTTP exchange with Zuora; code 0: no answer. endpoint: get, list, token.
func (m *Metrics) UpstreamRequest(endpoint string, code int, took time.Duration) {
	if m == nil {
		return
	}
	observe(m.upstream.requests.WithLabelValues(oneOf(endpoint, endpoints), codeLabel(code, upstreamCodes)), took)
}

// codeLabel is a status code that is known, or the class of another one.
func codeLabel(code int, known []string) string {
	if code == 0 {
		return noAnswer
	}
	if label := oneOf(strconv.Itoa(code), known); label != other {
		return label
	}
	if code < 100 || code > 599 {
		return other
	}
	return strconv.Itoa(code/100) + "xx"
}
