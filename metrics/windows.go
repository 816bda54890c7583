package metrics

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// windowNames are the rate limits that Zuora documents (zuora-facts section 4).
var windowNames = []string{"1m", "1h", "24h"}

// Window sets what an answer said of one rate-limit window ("1m", "1h", "24h"). remaining<0 or zero reset: not said.
func (m *Metrics) Window(window string, limit, remaining int64, reset time.Time) {
	if m == nil || !slices.Contains(windowNames, window) {
		return
	}
	m.upstream.windows.set(window, limit, remaining, reset)
}

// windows shows what the last answers said of the rate limits. It decides at
// scrape time, because an answer speaks only of the window that is nearest to
// its end: what was left of another one is no longer true once that has been
// reset. What is not known is NaN, never 0: nothing left is an alarm.
type windows struct {
	limit, remaining, reset *prometheus.Desc
	now                     func() time.Time

	mu    sync.Mutex
	known map[string]rateWindow
}

type rateWindow struct {
	limit     int64 // 0: not said
	remaining int64 // negative: not said
	reset     time.Time
}

func newWindows(now func() time.Time) *windows {
	return &windows{
		limit: desc("budget_limit",
			"Requests that the tenant may make in a window, as Zuora says; NaN before it has said so.", "window"),
		remaining: desc("budget_remaining",
			"Requests that the tenant has left in a window, as Zuora last said; NaN when it has not said so since the window was reset.", "window"),
		reset: desc("budget_reset_timestamp_seconds",
			"When the window is reset, as Zuora last said; NaN before it has said so.", "window"),
		now: now, known: map[string]rateWindow{},
	}
}

// set keeps what an answer said. One that names the limit alone leaves what
// another said of the rest, until that is out of date.
func (w *windows) set(name string, limit, remaining int64, reset time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was, heard := w.known[name]
	if !heard {
		was.remaining = -1
	}
	if limit > 0 {
		was.limit = limit
	}
	if remaining >= 0 {
		was.remaining, was.reset = remaining, reset
	} else if !reset.IsZero() {
		was.reset = reset
	}
	w.known[name] = was
}

// Describe implements [prometheus.Collector].
func (w *windows) Describe(ch chan<- *prometheus.Desc) {
	ch <- w.limit
	ch <- w.remaining
	ch <- w.reset
}

// Collect implements [prometheus.Collector].
func (w *windows) Collect(ch chan<- prometheus.Metric) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range windowNames {
		limit, remaining, reset := math.NaN(), math.NaN(), math.NaN()
		if one, heard := w.known[name]; heard {
			if one.limit > 0 {
				limit = float64(one.limit)
			}
			if one.remaining >= 0 && (one.reset.IsZero() || now.Before(one.reset)) {
				remaining = float64(one.remaining)
			}
			if !one.reset.IsZero() {
				reset = seconds(one.reset)
			}
		}
		ch <- prometheus.MustNewConstMetric(w.limit, prometheus.GaugeValue, limit, name)
		ch <- prometheus.MustNewConstMetric(w.remaining, prometheus.GaugeValue, remaining, name)
		ch <- prometheus.MustNewConstMetric(w.reset, prometheus.GaugeValue, reset, name)
	}
}
