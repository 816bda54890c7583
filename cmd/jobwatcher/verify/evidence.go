package verify

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

// Evidence is what everybody saw, with all faults over and everything settled,
// or the patience for that at its end.
type Evidence struct {
	Tenant     string
	Jobs       []Watched
	Receptions []Reception
	Lives      []Life
	// Disturbances are when a message could be sent and not recorded: ends of
	// the daemon, freezes, and times when the store could not be written.
	Disturbances []Disturbance
	// Jumps are when Zuora's clock was elsewhere: an end before and a look after
	// one do not agree, and nobody can know which of them is right.
	Jumps []Disturbance
	// Calm is when everything was settled and the daemon was killed once more,
	// after which nothing may come.
	Calm time.Time
	// Overlaps are jobs that were asked for twice at a time; PolledAfter those
	// that were asked for after Calm.
	Overlaps, PolledAfter []string
	// Leaks are secrets, and where they were found.
	Leaks []string
	// SelfMade are the 429s that we have brought upon ourselves.
	SelfMade int64
}

// Watched is one job: what the tenant knows and what the daemon says.
type Watched struct {
	Planned      PlannedJob
	Acknowledged bool
	AckedAt      time.Time
	Truth        zuorasim.Job
	View         *job.View // nil: the daemon does not know it
	ID           job.ID
}

// Disturbance is one, from when to when.
type Disturbance struct {
	Kind     Kind
	From, To time.Time
}
