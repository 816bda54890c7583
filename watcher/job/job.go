// Package job holds the nouns that every other package speaks of: jobs, what a
// look tells us, events, deliveries, owners and reasons. It does no I/O and
// imports nothing but the standard library and watcher/secret.
//
// Reading order: id.go and instant.go (small value types), state.go (status,
// state, outcome), job.go (a job, and what a user asks for), watch.go (the
// compact form that is kept for each watched job), observation.go (what one
// look told us), update.go (what is committed after a look), event.go and
// delivery.go (what leaves the house), replica.go (who owns work), reason.go
// and errors.go (what can go wrong), shape.go and run.go (which queries are alike,
// and how they ran), budget.go (the tenant's rate limits), notice.go (what those who look on are told), labels.go (checks on what users
// give), filter.go (what lists and explanations ask for), view.go (the JSON of contract
// section 4).
package job

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// Spec is what a user asks for when a job is tracked. Check it with Validate.
type Spec struct {
	ID ID
	// Labels are the user's own; keys and values follow Kubernetes' label syntax.
	Labels Labels
	// Destinations, when not empty, names the only destinations that are told
	// about this job.
	Destinations []string
	// Deadline after which the job is overdue; zero means the configured one.
	Deadline time.Duration
	// Group joins jobs into a set that can be announced together; "" for none.
	Group string
}

// Tracking is a checked Spec with everything that is fixed when tracking begins.
type Tracking struct {
	Spec
	Tenant     string
	Source     Source
	TrackedAt  Instant
	DeadlineAt Instant
	AbandonAt  Instant
}

// Job is everything the store knows about one job. Absent values are nil, zero
// or "".
type Job struct {
	Tenant       string
	ID           ID
	State        State
	Status       Status
	Outcome      Outcome
	Source       Source
	Labels       Labels
	Destinations []string
	Group        string
	Overdue      bool
	Warned       bool // that it would likely become overdue has been announced

	Query            string
	SourceData       string
	CreatedBy        string
	OutputRows       *int64
	ProcessingTime   *time.Duration
	RemainingRetries *int64
	Error            string
	DataFile         secret.Text

	// Shape tells which queries are alike. StartedAt is when the run began, by
	// our clock and as far as that is known; Took, once it has ended, how long it
	// took. Anomaly is what was unusual about its result.
	Shape     Shape
	StartedAt Instant
	Took      time.Duration
	Anomaly   []string
	// Delay is how late its end was seen, by Zuora's clock; nil: not known.
	Delay *time.Duration

	TrackedAt   Instant
	DeadlineAt  Instant
	AbandonAt   Instant
	StatusSince Instant // when we first saw the present status, by our clock
	UpdatedAt   Instant // Zuora's updatedOn
	FinishedAt  Instant // when it ended, by Zuora's clock where it tells
	DetectedAt  Instant // when we saw that it had ended, by our clock
	NextPollAt  Instant // zero once finished
	Polls       int64   // looks so far; a kill may lose those since the last change

	History    []Change
	Deliveries DeliveryCounts
}

// Change is one entry of a job's history: tracked, a status seen for the first
// time, overdue, finished.
type Change struct {
	At      Instant `json:"at"`
	Kind    string  `json:"kind"` // one of the Kind constants
	Status  Status  `json:"status,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	Polls   int64   `json:"polls,omitempty"` // looks made until then
}

// The kinds of a Change.
const (
	KindTracked  = "tracked"
	KindStatus   = "status"
	KindOverdue  = "overdue"
	KindWarned   = "overdue_expected"
	KindFinished = "finished"
)

// DeliveryCounts counts a job's deliveries by state; sending ones count as pending.
type DeliveryCounts struct {
	Delivered int64 `json:"delivered"`
	Pending   int64 `json:"pending"`
	Exhausted int64 `json:"exhausted"`
	Held      int64 `json:"held"`
}
