package watcher

import (
	"context"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Upstream asks Zuora. Errors carry a reason (see [Fault]).
type Upstream interface {
	// Get looks at one job.
	Get(ctx context.Context, id job.ID) (job.Observation, error)
	// List streams the newest jobs to yield, newest first, at most pageSize of
	// them (1 to 1000), and stops early when yield returns false. It never holds
	// more than one of them. status "" lists all.
	List(ctx context.Context, status job.Status, pageSize int, yield func(job.Observation) bool) error
}

// Fault is what an Upstream's error tells about itself. *zuora.Error has it;
// any other error counts as a network fault.
type Fault interface {
	error
	// FaultReason is one of job.PollReasons.
	FaultReason() job.Reason
	// FaultRetryAfter is how long the answer asked us to wait; zero when it did
	// not say. FaultTenantWide says that it means the tenant and not the job.
	FaultRetryAfter() time.Duration
	FaultTenantWide() bool
}

// Store keeps jobs. Every method that changes something returns only after the
// change is durable, and changes nothing for a replica whose claim has ended
// (job.ErrOwnerLost).
type Store interface {
	// Track takes jobs in, owned by replica, and says for each whether it was new.
	Track(ctx context.Context, replica job.ReplicaID, items []job.Tracking) ([]bool, error)
	// Untrack forgets a watched job; job.ErrNotFound when there is none,
	// job.ErrConflict when it has already ended.
	Untrack(ctx context.Context, tenant string, id job.ID) error
	// Owned yields every watched job that replica owns, inherited rows included.
	Owned(ctx context.Context, replica job.ReplicaID, tenant string, yield func(job.Watch) error) error
	// Claim takes up to limit watched jobs that nobody owns.
	Claim(ctx context.Context, replica job.ReplicaID, tenant string, limit int) ([]job.Watch, error)
	// Jobs reads these jobs; those that do not exist are missing from the map.
	Jobs(ctx context.Context, tenant string, ids []job.ID) (map[job.ID]job.Job, error)
	// Commit stores updates in one transaction, each whole or not at all. The
	// slice has one entry for each update: nil when it is stored (or had been
	// stored before: finishing twice is finishing once), job.ErrNotFound when the
	// job is gone, job.ErrConflict when another replica owns it now. err speaks
	// of all of them.
	Commit(ctx context.Context, replica job.ReplicaID, updates []job.Update) (results []error, err error)
}

// Ownership is the replica's own row: who works on what.
type Ownership interface {
	// Register enters the replica and lets it inherit every row whose heartbeat
	// is older than lease by the database's clock, or every row at all when
	// alone (the store is a file that only this process may open).
	Register(ctx context.Context, r job.Replica, lease time.Duration, alone bool) error
	// Heartbeat renews the row, and inherits dead ones; inherited is how many.
	// job.ErrOwnerLost when somebody has inherited ours.
	Heartbeat(ctx context.Context, id job.ReplicaID, lease time.Duration) (inherited int, err error)
	// Release frees everything at once, so that others go on without waiting.
	Release(ctx context.Context, id job.ReplicaID) error
	// Purge deletes up to limit jobs that ended before the instant, with their
	// events and deliveries (only when none of those is still owed), and returns
	// how many.
	Purge(ctx context.Context, before job.Instant, limit int) (int, error)
}
