package metrics

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// latencyBuckets are dense around the target, a p99 below 100 ms (contract
// section 10), and then follow the schedule of attempts: 5 s, 1 min, 5 min,
// 30 min, 2 h … 24 h (contract section 6).
func latencyBuckets() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200, 86400}
}

// spareDestinations is how many destinations beyond the configured ones have
// series of their own: those of an earlier configuration that still own rows.
const spareDestinations = 64

type deliveryMetrics struct {
	attempts  *prometheus.CounterVec
	failed    *prometheus.CounterVec
	exhausted *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	endToEnd  *prometheus.HistogramVec
	names     *names
}

func newDeliveryMetrics(f promauto.Factory, destinations []string) deliveryMetrics {
	label := []string{"destination"}
	d := deliveryMetrics{
		attempts: f.NewCounterVec(counter("delivery_attempts_total",
			"Attempts to tell a destination of an event, failed ones included."), label),
		failed: f.NewCounterVec(counter("delivery_attempts_failed_total",
			"Attempts that failed, by why."), []string{"destination", "reason"}),
		exhausted: f.NewCounterVec(counter("deliveries_exhausted_total",
			"Deliveries given up after their last attempt; they can be replayed."), label),
		latency: f.NewHistogramVec(histogram("delivery_latency_seconds",
			"From an event being stored to the destination's confirmation.", latencyBuckets()), label),
		endToEnd: f.NewHistogramVec(histogram("end_to_end_latency_seconds",
			"From the end of a job to the destination's confirmation.", latencyBuckets()), label),
		names: newNames(spareDestinations),
	}
	d.learn(destinations)
	return d
}

// learn puts everything about these destinations to zero.
func (d *deliveryMetrics) learn(destinations []string) {
	d.names.learn(destinations...)
	for _, name := range destinations {
		d.attempts.WithLabelValues(name)
		d.exhausted.WithLabelValues(name)
		d.latency.WithLabelValues(name)
		d.endToEnd.WithLabelValues(name)
		for _, r := range job.DeliveryReasons() {
			d.failed.WithLabelValues(name, string(r))
		}
	}
}

// AddDestinations brings every combination of newly configured destinations in at zero.
func (m *Metrics) AddDestinations(names ...string) {
	if m == nil {
		return
	}
	m.deliveries.learn(names)
}

// Attempt counts one delivery attempt and why it failed, if it did.
func (m *Metrics) Attempt(destination string, reason job.Reason) {
	if m == nil {
		return
	}
	destination = m.deliveries.names.label(destination)
	m.deliveries.attempts.WithLabelValues(destination).Inc()
	if reason != job.NoReason {
		m.deliveries.failed.WithLabelValues(destination, reasonLabel(reason, job.DeliveryReasons())).Inc()
	}
}

// Delivered observes event stored to 2xx, and job ended to 2xx (skipped when negative).
func (m *Metrics) Delivered(destination string, latency, endToEnd time.Duration) {
	if m == nil {
		return
	}
	destination = m.deliveries.names.label(destination)
	observe(m.deliveries.latency.WithLabelValues(destination), latency)
	if endToEnd >= 0 {
		observe(m.deliveries.endToEnd.WithLabelValues(destination), endToEnd)
	}
}

// Exhausted counts a delivery given up.
func (m *Metrics) Exhausted(destination string) {
	if m == nil {
		return
	}
	m.deliveries.exhausted.WithLabelValues(m.deliveries.names.label(destination)).Inc()
}
