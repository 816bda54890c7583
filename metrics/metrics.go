// Package metrics counts. (Stub: the metrics helper fills the bodies; signatures are the joint.)
package metrics

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
)

// Options fixes what never changes while the process runs.
type Options struct {
	Tenant       string
	Destinations []string // names known at start: every combination starts at zero
	Version      string
	Revision     string
	GoVersion    string
	JobLimit     int           // how many finished jobs have series of their own; 0: none
	JobTTL       time.Duration // how long such a series lives; 0: a day
}

// Metrics counts what happens. A nil *Metrics counts nothing.
type Metrics struct{}

// New registers everything with reg, all known label combinations at zero.
func New(reg prometheus.Registerer, o Options) *Metrics { return &Metrics{} }

// JobsTracked counts n jobs newly taken in from source.
func (m *Metrics) JobsTracked(source job.Source, n int) {}

// JobFinished counts an ended job with its processing time and rows, where Zuora said them.
func (m *Metrics) JobFinished(j *job.Job) {}

// Detected observes our first sight of an end minus Zuora's own time of it.
func (m *Metrics) Detected(delay time.Duration) {}

// UnknownStatus counts a look that showed a status Zuora does not document.
func (m *Metrics) UnknownStatus() {}

// Poll counts one look; reason says why it failed (NoReason: it did not). mode is "get" or "list".
// A success sets last_successful_poll.
func (m *Metrics) Poll(mode string, reason job.Reason, at time.Time) {}

// PollLag observes the time from due to sent.
func (m *Metrics) PollLag(d time.Duration) {}

// UpstreamRequest observes one HTTP exchange with Zuora; code 0: no answer. endpoint: get, list, token.
func (m *Metrics) UpstreamRequest(endpoint string, code int, took time.Duration) {}

// Window sets what an answer said of one rate-limit window ("1m", "1h", "24h"). remaining<0 or zero reset: not said.
func (m *Metrics) Window(window string, limit, remaining int64, reset time.Time) {}

// Attempt counts one delivery attempt and why it failed, if it did.
func (m *Metrics) Attempt(destination string, reason job.Reason) {}

// Delivered observes event stored to 2xx, and job ended to 2xx (skipped when negative).
func (m *Metrics) Delivered(destination string, latency, endToEnd time.Duration) {}

// Exhausted counts a delivery given up.
func (m *Metrics) Exhausted(destination string) {}

// StoreOperation observes one store operation by name; err counts in store_errors_total
// (job.ErrNotFound, ErrConflict and context.Canceled do not).
func (m *Metrics) StoreOperation(operation string, took time.Duration, err error) {}

// ClaimLost counts a claim that ended under us.
func (m *Metrics) ClaimLost() {}

// Panicked counts a recovered panic in the named loop.
func (m *Metrics) Panicked(loop string) {}

// WatchSource is what this replica watches now, asked at scrape time.
type WatchSource interface {
	// Watched counts owned jobs by status (Unseen included), and the overdue ones.
	Watched() (byStatus map[job.Status]int, overdue int)
}

// StoreSource is what the store tells at scrape time.
type StoreSource interface {
	// DeliveryStats counts deliveries by destination and state (delivered ones may be left out of a cheap count),
	// with the creation time of the oldest not yet delivered or exhausted for each destination.
	DeliveryStats() (counts map[string]map[job.DeliveryState]int64, oldest map[string]job.Instant, err error)
	// ReplicaCount counts replicas believed alive.
	ReplicaCount() (int, error)
}

// Collect makes the gauges of contract section 7 that are read at scrape time come from these sources.
func (m *Metrics) Collect(w WatchSource, s StoreSource) {}
