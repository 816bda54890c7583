package job

// Watch is all that a replica keeps in memory for each watched job: what it
// takes to decide when to look next and what an answer means. Everything else
// (labels, query, history) waits in the store until the job ends.
//
// Its only pointer is the status word, which is a constant for every documented
// status: contract section 10 allows 400 bytes a job in all.
type Watch struct {
	ID          ID
	Status      Status
	TrackedAt   Instant
	DeadlineAt  Instant
	AbandonAt   Instant
	NextPollAt  Instant
	StatusSince Instant
	// DeniedSince is when the first of an unbroken run of 403s or 404s came.
	DeniedSince Instant
	// StartedAt is when the run began, by our clock and as far as that is known;
	// Shape tells which queries are alike. Zero before the first look.
	StartedAt Instant
	Shape     Shape
	// IntervalMS is the present backoff interval, in milliseconds; zero before
	// the first look.
	IntervalMS int32
	Polls      int32
	// Denied counts that run's answers, Failures the unbroken run of failed
	// looks of any kind.
	Denied   uint16
	Failures uint16
	Overdue  bool
	// Late: by past runs it will more likely become overdue than not; not stored.
	// Warned: that it very likely will has been announced.
	Late bool
	// ETA is when it will likely end, by past runs; zero when they do not tell.
	// Not stored.
	ETA    Instant
	Warned bool
	// Cause is why NextPollAt is when it is, for explain.
	Cause Cause
	// Reason is why the last look failed, an index into PollReasons plus one;
	// zero when it did not.
	Reason uint8
}

// Cause is why the next look is when it is. Its sentence is made on demand, so
// that a million jobs need not each carry a text.
type Cause uint8

// The causes.
const (
	CauseTracked     Cause = iota // just tracked: look at once
	CauseRestart                  // spread after a restart
	CauseHistory                  // not ended yet: where past runs of the query say a look pays
	CauseBackoff                  // not ended yet: the backoff's next interval
	CauseDeadline                 // not ended yet: a look on the deadline
	CauseOverdue                  // overdue: watched on, slowly
	CauseFailed                   // the last look failed: retried with backoff
	CauseDenied                   // 403 or 404, which must last before it is believed
	CauseTenant                   // the tenant as a whole waits
	CauseAsked                    // somebody asked for a look now
	CauseUncommitted              // ended, but the store has not taken it yet
)

// Lateness is how late the jobs are that a replica watches.
type Lateness struct {
	Overdue  int
	Expected int // that will likely become overdue
	// LastEnd is when the last of those whose end can be foretold will likely
	// have ended; zero when none can be, or there are too many to ask.
	LastEnd Instant
}
