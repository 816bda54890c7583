package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// lagBuckets go from a free worker to a queue that does not keep up.
var lagBuckets = []float64{.0005, .001, .0025, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// requestBuckets end at the server's own limit of 120 s (zuora-facts.md section 4).
var requestBuckets = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

type upstreamMetrics struct {
	tenant                  string
	polls                   map[string]prometheus.Counter
	failed                  *prometheus.CounterVec
	lag                     prometheus.Observer
	requests                *prometheus.HistogramVec
	limit, remaining, reset *prometheus.GaugeVec
	lastPoll                prometheus.Gauge
}

// The modes of a look and the endpoints that are asked.
var (
	pollModes = []string{"get", "list"}
	endpoints = []string{"get", "list", "token"}
)

func (u *upstreamMetrics) register(reg prometheus.Registerer, tenant string) {
	u.tenant = tenant
	polls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "polls_total", Help: "Questions to Zuora: get asks about one job, list about many.",
	}, []string{"tenant", "mode"})
	u.failed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "polls_failed_total", Help: "Questions to Zuora that were not answered, by reason.",
	}, []string{"tenant", "mode", "reason"})
	lag := prometheus.NewHistogramVec(histogram("poll_lag_seconds", "From a look's due time to its request.", lagBuckets), []string{"tenant"})
	u.requests = prometheus.NewHistogramVec(histogram("upstream_request_duration_seconds",
		"Time of one exchange with Zuora; code 0 means that no answer came.", requestBuckets), []string{"tenant", "endpoint", "code"})
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, []string{"tenant", "window"})
	}
	u.limit = gauge("budget_limit", "Requests that the tenant may make in a rate-limit window, as Zuora last said.")
	u.remaining = gauge("budget_remaining", "Requests left in the window closest to exhaustion, as Zuora last said.")
	u.reset = gauge("budget_reset_timestamp_seconds", "When that window begins anew.")
	last := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "last_successful_poll_timestamp_seconds", Help: "When Zuora last answered a question; 0 before the first time.",
	}, []string{"tenant"})
	reg.MustRegister(polls, u.failed, lag, u.requests, u.limit, u.remaining, u.reset, last)
	u.lag, u.lastPoll = lag.WithLabelValues(tenant), last.WithLabelValues(tenant)
	u.polls = map[string]prometheus.Counter{}
	for _, mode := range pollModes {
		u.polls[mode] = polls.WithLabelValues(tenant, mode)
		for _, r := range job.PollReasons() {
			u.failed.WithLabelValues(tenant, mode, string(r))
		}
	}
	for _, endpoint := range endpoints {
		u.requests.WithLabelValues(tenant, endpoint, "200")
	}
}

// Poll counts one look; reason says why it failed (NoReason: it did not). A
// success sets last_successful_poll.
func (m *Metrics) Poll(mode string, reason job.Reason, at time.Time) {
	if m == nil {
		return
	}
	if c := m.upstream.polls[mode]; c != nil {
		c.Inc()
	}
	if reason != job.NoReason {
		m.upstream.failed.WithLabelValues(m.upstream.tenant, mode, string(reason)).Inc()
		return
	}
	m.upstream.lastPoll.Set(unixSeconds(at))
}

// PollLag observes the time from due to sent.
func (m *Metrics) PollLag(d time.Duration) {
	if m != nil {
		m.upstream.lag.Observe(max(d.Seconds(), 0))
	}
}

// UpstreamRequest observes one HTTP exchange with Zuora; code 0: no answer.
func (m *Metrics) UpstreamRequest(endpoint string, code int, took time.Duration) {
	if m != nil {
		m.upstream.requests.WithLabelValues(m.upstream.tenant, endpoint, statusLabel(code)).Observe(took.Seconds())
	}
}

// statusLabel keeps the label's values few, whatever a server makes up.
func statusLabel(code int) string {
	if code == 0 || code >= 100 && code < 600 {
		return strconv.Itoa(code)
	}
	return "other"
}

// Window sets what an answer said of one rate-limit window. A remaining below
// zero or a zero reset was not said and leaves the gauge alone. Windows other
// than the contract's three are not counted.
func (m *Metrics) Window(window string, limit, remaining int64, reset time.Time) {
	if m == nil || window != "1m" && window != "1h" && window != "24h" {
		return
	}
	m.upstream.limit.WithLabelValues(m.upstream.tenant, window).Set(float64(limit))
	if remaining >= 0 {
		m.upstream.remaining.WithLabelValues(m.upstream.tenant, window).Set(float64(remaining))
	}
	if !reset.IsZero() {
		m.upstream.reset.WithLabelValues(m.upstream.tenant, window).Set(unixSeconds(reset))
	}
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
