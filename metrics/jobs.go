package metrics

import (
	"slices"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// processingBuckets runs from under a second to four hours: jobs end "in under
// a second" (zuora-facts section 2), one attempt is cut at one hour, and three
// retries make it four (zuora-facts section 4, Data Query limits).
func processingBuckets() []float64 {
	const minute, hour = 60, 3600
	return []float64{
		0.25, 0.5, 1, 2.5, 5, 10, 30,
		minute, 2 * minute, 5 * minute, 10 * minute, 20 * minute, 30 * minute,
		hour, 1.5 * hour, 2 * hour, 3 * hour, 4 * hour,
	}
}

// rowBuckets runs from no row, which is an answer of its own, to 50,000,000,
// the most that a Warehouse query may put out; 500,000 is the most of a Live
// one (zuora-facts section 4, Data Query limits).
func rowBuckets() []float64 {
	return []float64{0, 1, 10, 100, 1e3, 1e4, 5e4, 1e5, 2.5e5, 5e5, 1e6, 5e6, 1e7, 2.5e7, 5e7}
}

// delayBuckets are dense up to the largest interval between two looks (30 s by
// default), beyond which something is wrong.
func delayBuckets() []float64 {
	return []float64{0.25, 0.5, 1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 120, 300, 900, 3600}
}

type jobMetrics struct {
	tracked         *prometheus.CounterVec
	finished        *prometheus.CounterVec
	processing      *prometheus.HistogramVec
	processingTotal prometheus.Counter
	rows            prometheus.Histogram
	rowsTotal       prometheus.Counter
	detection       prometheus.Histogram
	unknown         prometheus.Counter
	series          *series
}

func newJobMetrics(f promauto.Factory) jobMetrics {
	j := jobMetrics{
		tracked: f.NewCounterVec(counter("jobs_tracked_total",
			"Jobs newly taken in, by where they came from."), []string{"source"}),
		finished: f.NewCounterVec(counter("jobs_finished_total",
			"Jobs whose watching has ended, by how."), []string{"outcome"}),
		processing: f.NewHistogramVec(histogram("job_processing_seconds",
			"Processing time of ended jobs as Zuora gives it (processingTime); a job for which it gives none is not in here.",
			processingBuckets()), []string{"outcome"}),
		processingTotal: f.NewCounter(counter("job_processing_seconds_total",
			"Processing time of all ended jobs together, as Zuora gives it.")),
		rows: f.NewHistogram(histogram("job_output_rows",
			"Rows put out by ended jobs as Zuora gives them (outputRows); a job for which it gives none is not in here.", rowBuckets())),
		rowsTotal: f.NewCounter(counter("job_output_rows_total",
			"Rows put out by all ended jobs together, as Zuora gives them.")),
		detection: f.NewHistogram(histogram("detection_delay_seconds",
			"From the end of a job to our first sight of it, by Zuora's clock.", delayBuckets())),
		unknown: f.NewCounter(counter("unknown_statuses_total",
			"Looks that showed a status which Zuora does not document; such a job is watched on.")),
	}
	for _, s := range job.Sources() {
		j.tracked.WithLabelValues(string(s))
	}
	for _, o := range job.Outcomes() {
		j.finished.WithLabelValues(string(o))
		j.processing.WithLabelValues(string(o))
	}
	return j
}

// JobsTracked counts n jobs newly taken in from source.
func (m *Metrics) JobsTracked(source job.Source, n int) {
	if m == nil || n <= 0 {
		return
	}
	label := other
	if slices.Contains(job.Sources(), source) {
		label = string(source)
	}
	m.jobs.tracked.WithLabelValues(label).Add(float64(n))
}

// JobFinished counts an ended job with its processing time and rows, where
// Zuora said them: an absent number is no sample, not zero.
func (m *Metrics) JobFinished(j *job.Job) {
	if m == nil || j == nil {
		return
	}
	outcome := other
	if slices.Contains(job.Outcomes(), j.Outcome) {
		outcome = string(j.Outcome)
	}
	m.jobs.finished.WithLabelValues(outcome).Inc()
	one := jobSeries{id: j.ID, finished: j.FinishedAt.Time()}
	// What Zuora says is foreign: a counter does not take a negative number.
	if t := j.ProcessingTime; t != nil && *t >= 0 {
		took := t.Seconds()
		m.jobs.processing.WithLabelValues(outcome).Observe(took)
		m.jobs.processingTotal.Add(took)
		one.processing = &took
	}
	if n := j.OutputRows; n != nil && *n >= 0 {
		rows := float64(*n)
		m.jobs.rows.Observe(rows)
		m.jobs.rowsTotal.Add(rows)
		one.rows = &rows
	}
	m.jobs.series.add(one)
}

// Detected observes our first sight of an end minus Zuora's own time of it.
func (m *Metrics) Detected(delay time.Duration) {
	if m == nil {
		return
	}
	observe(m.jobs.detection, delay)
}

// UnknownStatus counts a look that showed a status Zuora does not document.
func (m *Metrics) UnknownStatus() {
	if m == nil {
		return
	}
	m.jobs.unknown.Inc()
}
