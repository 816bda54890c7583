package job

import "time"

// Update is everything that one look changes about one job, with the event and
// the deliveries it owes. The store takes it whole or not at all.
type Update struct {
	Tenant string
	ID     ID
	// At is our clock when it was decided.
	At Instant
	// Status now in force and since when we have seen it.
	Status      Status
	StatusSince Instant
	// Seen holds the details to store; nil leaves the stored ones alone.
	Seen *Observation
	// KeepDataFile says that some destination asks for the result link; without
	// it the link is not stored.
	KeepDataFile bool
	// Shape and StartedAt are stored with what was seen; Took and Anomaly with an
	// outcome.
	Shape     Shape
	StartedAt Instant
	Took      time.Duration
	Anomaly   []string
	// Delay is how late the end was seen, by Zuora's clock; nil when that is not
	// known, or not ours.
	Delay *time.Duration
	// Outcome ends watching; Undecided goes on.
	Outcome    Outcome
	FinishedAt Instant // with an outcome: by Zuora's clock where it tells
	Overdue    bool
	Warned     bool
	NextPollAt Instant
	Interval   time.Duration
	Polls      int64
	// History is appended to the job's.
	History []Change
	// Event is what happened, if anything to announce did; one delivery to each
	// of Destinations is stored with it. An event that is already stored is left
	// as it is, and so are its deliveries.
	Event        *Event
	Destinations []string
	// GroupDestinations are told when this end decides the job's group.
	GroupDestinations []string
}
