package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Buckets for jobs that end in under a second or run for hours: Zuora gives a
// query four attempts of an hour (zuora-facts.md section 2), so nothing that is
// processed can lie beyond 4 h by much.
var processingBuckets = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10800, 14400}

// Buckets for rows: a live query has at most 500,000, a warehouse query
// 50,000,000 (zuora-facts.md section 4); none is a valid result.
var rowBuckets = []float64{0, 1, 10, 100, 1e3, 1e4, 5e4, 1e5, 2.5e5, 5e5, 1e6, 5e6, 1e7, 2.5e7, 5e7}

// delayBuckets go from the first interval of the backoff past a few of its
// largest, and on to an outage.
var delayBuckets = []float64{.25, .5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 120, 300, 900, 3600}

type jobMetrics struct {
	tracked, finished   *prometheus.CounterVec
	processing          *prometheus.HistogramVec
	rows, delay         prometheus.Observer
	rowsTotal, secTotal prometheus.Counter
	unknown             prometheus.Counter
	tenant              string
}

func (j *jobMetrics) register(reg prometheus.Registerer, tenant string) {
	j.tenant = tenant
	j.tracked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "jobs_tracked_total", Help: "Jobs taken in, by where they came from.",
	}, []string{"tenant", "source"})
	j.finished = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "jobs_finished_total", Help: "Jobs whose watching ended, by outcome.",
	}, []string{"tenant", "outcome"})
	j.processing = prometheus.NewHistogramVec(histogram("job_processing_seconds",
		"Processing time of ended jobs as Zuora gives it, converted from milliseconds.", processingBuckets), []string{"tenant", "outcome"})
	rows := prometheus.NewHistogramVec(histogram("job_output_rows",
		"Rows in the results of ended jobs as Zuora gives them.", rowBuckets), []string{"tenant"})
	rowsTotal := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "job_output_rows_total", Help: "Rows in the results of all ended jobs.",
	}, []string{"tenant"})
	secTotal := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "job_processing_seconds_total", Help: "Processing time of all ended jobs.",
	}, []string{"tenant"})
	delay := prometheus.NewHistogramVec(histogram("detection_delay_seconds",
		"From a job's end to our first sight of it, both by Zuora's clock.", delayBuckets), []string{"tenant"})
	unknown := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "unknown_statuses_total", Help: "Looks that showed a status which Zuora does not document.",
	}, []string{"tenant"})
	reg.MustRegister(j.tracked, j.finished, j.processing, rows, rowsTotal, secTotal, delay, unknown)
	j.rows, j.delay = rows.WithLabelValues(tenant), delay.WithLabelValues(tenant)
	j.rowsTotal, j.secTotal = rowsTotal.WithLabelValues(tenant), secTotal.WithLabelValues(tenant)
	j.unknown = unknown.WithLabelValues(tenant)
	for _, s := range job.Sources() {
		j.tracked.WithLabelValues(tenant, string(s))
	}
	for _, o := range job.Outcomes() {
		j.finished.WithLabelValues(tenant, string(o))
		j.processing.WithLabelValues(tenant, string(o))
	}
}

// JobsTracked counts n jobs newly taken in from source.
func (m *Metrics) JobsTracked(source job.Source, n int) {
	if m != nil {
		m.jobs.tracked.WithLabelValues(m.jobs.tenant, string(source)).Add(float64(n))
	}
}

// JobFinished counts an ended job with its processing time and rows, where Zuora
// said them: an absent number is no sample, not zero.
func (m *Metrics) JobFinished(j *job.Job) {
	if m == nil {
		return
	}
	m.jobs.finished.WithLabelValues(m.jobs.tenant, string(j.Outcome)).Inc()
	if j.ProcessingTime != nil {
		s := j.ProcessingTime.Seconds()
		m.jobs.processing.WithLabelValues(m.jobs.tenant, string(j.Outcome)).Observe(s)
		m.jobs.secTotal.Add(s)
	}
	if j.OutputRows != nil {
		m.jobs.rows.Observe(float64(*j.OutputRows))
		m.jobs.rowsTotal.Add(float64(*j.OutputRows))
	}
	m.series.add(j)
}

// Detected observes our first sight of an end minus Zuora's own time of it.
func (m *Metrics) Detected(delay time.Duration) {
	if m != nil {
		m.jobs.delay.Observe(delay.Seconds())
	}
}

// UnknownStatus counts a look that showed a status Zuora does not document.
func (m *Metrics) UnknownStatus() {
	if m != nil {
		m.jobs.unknown.Inc()
	}
}

// isAnswer reports whether an error is what the store was asked to find out.
func isAnswer(err error) bool {
	for _, answer := range []error{job.ErrNotFound, job.ErrConflict, job.ErrOwnerLost, job.ErrInvalid, context.Canceled} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}
