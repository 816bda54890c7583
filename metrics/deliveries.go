package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// endToEndBuckets: detection delay and delivery together, up to the last attempt.
var endToEndBuckets = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 1800, 3600, 7200, 21600, 43200, 86400}

type deliveryMetrics struct {
	attempts, failed, exhausted *prometheus.CounterVec
	latency, endToEnd           *prometheus.HistogramVec
}

func (d *deliveryMetrics) register(reg prometheus.Registerer) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	d.attempts = counter("delivery_attempts_total", "Attempts to tell a destination.", "destination")
	d.failed = counter("delivery_attempts_failed_total", "Attempts that the destination did not take, by reason.", "destination", "reason")
	d.exhausted = counter("deliveries_exhausted_total", "Deliveries given up after the last attempt.", "destination")
	d.latency = prometheus.NewHistogramVec(histogram("delivery_latency_seconds",
		"From an event being stored to the destination's 2xx.", endToEndBuckets), []string{"destination"})
	d.endToEnd = prometheus.NewHistogramVec(histogram("end_to_end_latency_seconds",
		"From a job's end, by Zuora's clock, to the destination's 2xx.", endToEndBuckets), []string{"destination"})
	reg.MustRegister(d.attempts, d.failed, d.exhausted, d.latency, d.endToEnd)
}

func (d *deliveryMetrics) zero(name string) {
	d.attempts.WithLabelValues(name)
	d.exhausted.WithLabelValues(name)
	d.latency.WithLabelValues(name)
	d.endToEnd.WithLabelValues(name)
	for _, r := range job.DeliveryReasons() {
		d.failed.WithLabelValues(name, string(r))
	}
}

// Attempt counts one delivery attempt and why it failed, if it did.
func (m *Metrics) Attempt(destination string, reason job.Reason) {
	if m == nil {
		return
	}
	m.delivery.attempts.WithLabelValues(destination).Inc()
	if reason != job.NoReason {
		m.delivery.failed.WithLabelValues(destination, string(reason)).Inc()
	}
}

// Delivered observes event stored to 2xx, and job ended to 2xx (skipped when negative).
func (m *Metrics) Delivered(destination string, latency, endToEnd time.Duration) {
	if m == nil {
		return
	}
	m.delivery.latency.WithLabelValues(destination).Observe(max(latency.Seconds(), 0))
	if endToEnd >= 0 {
		m.delivery.endToEnd.WithLabelValues(destination).Observe(endToEnd.Seconds())
	}
}

// Exhausted counts a delivery given up.
func (m *Metrics) Exhausted(destination string) {
	if m != nil {
		m.delivery.exhausted.WithLabelValues(destination).Inc()
	}
}
