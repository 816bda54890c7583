package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// storeBuckets run from a read out of memory to a database that hangs: the
// watcher gives a call 30 s.
func storeBuckets() []float64 {
	return []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30}
}

// operations are the store's, as it names them; a test reads them from its
// source. delivery_stats and replica_count are ours (collector.go).
var operations = []string{
	"budget", "claim", "claim_deliveries", "commit", "delivery", "delivery_stats", "destinations", "hand_back", "heartbeat", "jobs",
	"list_deliveries", "list_jobs", "owned", "purge", "register", "release", "replay", "replica_count", "runs", "save_budget",
	"set_destination", "settle", "tell", "track", "untrack",
}

// loops are where panics are recovered.
var loops = []string{"announce", "api", "deliver", "list", "look", "sweep"}

// apiCodes are the statuses that the API answers (openapi.yaml).
var apiCodes = []string{"200", "201", "202", "204", "400", "401", "403", "404", "405", "409", "413", "415", "422", "500", "503"}

// spareWords is how many words of the code itself (an operation, a loop) may
// come beyond the lists above before they count as "other".
const spareWords = 32

// The results of a reload.
const (
	reloadSuccess = "success"
	reloadFailure = "failure"
)

type daemonMetrics struct {
	operation  *prometheus.HistogramVec
	errors     *prometheus.CounterVec
	operations *names
	claimsLost prometheus.Counter
	panics     *prometheus.CounterVec
	loops      *names
	api        *prometheus.CounterVec
	reloads    *prometheus.CounterVec
	reloaded   prometheus.Gauge
}

func newDaemonMetrics(f promauto.Factory) daemonMetrics {
	d := daemonMetrics{
		operation: f.NewHistogramVec(histogram("store_operation_duration_seconds",
			"Operations of the store, failed ones included.", storeBuckets()), []string{"operation"}),
		errors: f.NewCounterVec(counter("store_errors_total",
			"Operations of the store that failed; one that found nothing, or lost a race, has not failed."), []string{"operation"}),
		operations: newNames(spareWords, operations...),
		claimsLost: f.NewCounter(counter("claims_lost_total",
			"Claims to jobs and deliveries that ended under us, because another replica took over.")),
		panics: f.NewCounterVec(counter("panics_total",
			"Recovered panics, by the loop that they happened in; each is a bug."), []string{"loop"}),
		loops: newNames(spareWords, loops...),
		api: f.NewCounterVec(counter("api_requests_total",
			"Answered requests to the HTTP API, by status code."), []string{"code"}),
		reloads: f.NewCounterVec(counter("destinations_reloads_total",
			"Changes of the destinations file, by whether they took effect; after a failure the old destinations stay in force."), []string{"result"}),
		reloaded: f.NewGauge(gauge("destinations_last_reload_success_timestamp_seconds",
			"When the destinations in force were read.")),
	}
	for _, result := range []string{reloadSuccess, reloadFailure} {
		d.reloads.WithLabelValues(result)
	}
	for _, o := range operations {
		d.operation.WithLabelValues(o)
		d.errors.WithLabelValues(o)
	}
	for _, l := range loops {
		d.panics.WithLabelValues(l)
	}
	for _, code := range apiCodes {
		d.api.WithLabelValues(code)
	}
	return d
}

// StoreOperation observes one store operation by name; err counts in store_errors_total
// (job.ErrNotFound, ErrConflict and context.Canceled do not).
func (m *Metrics) StoreOperation(operation string, took time.Duration, err error) {
	if m == nil {
		return
	}
	operation = m.daemon.operations.label(operation)
	observe(m.daemon.operation.WithLabelValues(operation), took)
	if storeFailed(err) {
		m.daemon.errors.WithLabelValues(operation).Inc()
	}
}

// storeFailed tells a store at fault from an answer that somebody did not like.
// A lost claim has a counter of its own, and bad input is the caller's fault.
func storeFailed(err error) bool {
	if err == nil {
		return false
	}
	for _, answer := range []error{job.ErrNotFound, job.ErrConflict, job.ErrOwnerLost, job.ErrInvalid, context.Canceled} {
		if errors.Is(err, answer) {
			return false
		}
	}
	return true
}

// ClaimLost counts a claim that ended under us.
func (m *Metrics) ClaimLost() {
	if m == nil {
		return
	}
	m.daemon.claimsLost.Inc()
}

// Panicked counts a recovered panic in the named loop.
func (m *Metrics) Panicked(loop string) {
	if m == nil {
		return
	}
	m.daemon.panics.WithLabelValues(m.daemon.loops.label(loop)).Inc()
}

// APIRequest counts an answered request to the HTTP API.
func (m *Metrics) APIRequest(code int) {
	if m == nil {
		return
	}
	m.daemon.api.WithLabelValues(codeLabel(code, apiCodes)).Inc()
}

// DestinationsRead says that destinations have come into force, at the start or
// by a reload.
func (m *Metrics) DestinationsRead() {
	if m == nil {
		return
	}
	m.daemon.reloaded.Set(seconds(m.now()))
}

// DestinationsReloaded counts a change of the destinations file, and whether it
// took effect.
func (m *Metrics) DestinationsReloaded(ok bool) {
	switch {
	case m == nil:
	case ok:
		m.daemon.reloads.WithLabelValues(reloadSuccess).Inc()
		m.DestinationsRead()
	default:
		m.daemon.reloads.WithLabelValues(reloadFailure).Inc()
	}
}
