package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Options fixes what never changes while the process runs.
type Options struct {
	Tenant       string
	Destinations []string // names known at start: every combination starts at zero
	Version      string
	Revision     string
	GoVersion    string
	JobLimit     int              // how many finished jobs have series of their own; 0: none
	JobTTL       time.Duration    // how long such a series lives; 0: a day
	Now          func() time.Time // nil: time.Now
}

// Metrics counts what happens. A nil *Metrics counts nothing.
type Metrics struct {
	o        Options
	registry prometheus.Registerer
	jobs     jobMetrics
	upstream upstreamMetrics
	delivery deliveryMetrics
	series   *series

	storeDuration *prometheus.HistogramVec
	storeErrors   *prometheus.CounterVec
	claimsLost    prometheus.Counter
	panics        *prometheus.CounterVec
}

const namespace = "jobwatcher"

// Native histograms beside the classic ones: a growth of 1.1 keeps a quantile
// within 5 per cent; 100 buckets bound what one series can cost.
const (
	nativeFactor     = 1.1
	nativeBuckets    = 100
	nativeResetAfter = time.Hour
)

func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     nativeFactor,
		NativeHistogramMaxBucketNumber:  nativeBuckets,
		NativeHistogramMinResetDuration: nativeResetAfter,
	}
}

// latencyBuckets go from a local write to a slow receiver's time-out.
var latencyBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 30, 60}

// New registers everything with reg, all known label combinations at zero.
func New(reg prometheus.Registerer, o Options) *Metrics {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Metrics{o: o, registry: reg}
	m.jobs.register(reg, o.Tenant)
	m.upstream.register(reg, o.Tenant)
	m.delivery.register(reg)
	m.series = newSeries(o)
	m.storeDuration = prometheus.NewHistogramVec(histogram("store_operation_duration_seconds",
		"Time that one store operation took, queueing for its turn to write included.", latencyBuckets), []string{"operation"})
	m.storeErrors = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "store_errors_total", Help: "Store operations that the database refused or did not answer.",
	}, []string{"operation"})
	m.claimsLost = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "claims_lost_total", Help: "Times that this replica's claim ended under it.",
	})
	m.panics = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "panics_total", Help: "Panics that a loop recovered from; each is a mistake in this program.",
	}, []string{"loop"})
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Which program this is; the value is always 1.",
	}, []string{"version", "revision", "goversion"})
	build.WithLabelValues(o.Version, o.Revision, o.GoVersion).Set(1)
	reg.MustRegister(m.storeDuration, m.storeErrors, m.claimsLost, m.panics, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if o.JobLimit > 0 {
		reg.MustRegister(m.series)
	}
	for _, operation := range storeOperations {
		m.storeDuration.WithLabelValues(operation)
		m.storeErrors.WithLabelValues(operation)
	}
	m.AddDestinations(o.Destinations...)
	return m
}

// storeOperations are the names that package store observes.
var storeOperations = []string{
	"claim", "claim_deliveries", "commit", "deliveries", "delivery", "destinations", "heartbeat", "jobs", "list_deliveries",
	"list_jobs", "owned", "purge", "register", "release", "replay", "set_destination", "settle", "track", "untrack",
}

// StoreOperation observes one store operation by name. An error counts unless
// it is an answer: not found, conflict, ownership lost, or a caller that gave up.
func (m *Metrics) StoreOperation(operation string, took time.Duration, err error) {
	if m == nil {
		return
	}
	m.storeDuration.WithLabelValues(operation).Observe(took.Seconds())
	if err != nil && !isAnswer(err) {
		m.storeErrors.WithLabelValues(operation).Inc()
	}
}

// ClaimLost counts a claim that ended under us.
func (m *Metrics) ClaimLost() {
	if m != nil {
		m.claimsLost.Inc()
	}
}

// Panicked counts a recovered panic in the named loop.
func (m *Metrics) Panicked(loop string) {
	if m != nil {
		m.panics.WithLabelValues(loop).Inc()
	}
}

// AddDestinations brings every combination of newly configured destinations in at zero.
func (m *Metrics) AddDestinations(names ...string) {
	if m == nil {
		return
	}
	for _, name := range names {
		m.delivery.zero(name)
	}
}
