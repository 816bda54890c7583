package watcher

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/forecast"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Upstream asks Zuora. Errors carry a reason (see [Fault]). Every call returns
// within a time-out of its own.
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
	// HandBack frees jobs that replica owns, so that others take them.
	HandBack(ctx context.Context, replica job.ReplicaID, tenant string, ids []job.ID) error
	// Jobs reads these jobs; those that do not exist are missing from the map.
	Jobs(ctx context.Context, tenant string, ids []job.ID) (map[job.ID]job.Job, error)
	// Runs reads the newest finished runs of queries of one shape, at most limit
	// of them, the newest last.
	Runs(ctx context.Context, tenant string, shape job.Shape, limit int) ([]job.Run, error)
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
	// Heartbeat renews the row, says how many jobs we watch, inherits dead rows,
	// and tells about the others. job.ErrOwnerLost when somebody has inherited ours.
	Heartbeat(ctx context.Context, id job.ReplicaID, lease time.Duration, jobs int) (job.Pulse, error)
	// Release frees everything at once, so that others go on without waiting.
	Release(ctx context.Context, id job.ReplicaID) error
	// Purge deletes up to limit jobs that ended before the instant, with their
	// events and deliveries (only when none of those is still owed), and returns
	// how many.
	Purge(ctx context.Context, before job.Instant, limit int) (int, error)
}

// BudgetStore remembers what has been spent.
type BudgetStore interface {
	Budget(ctx context.Context, tenant string) ([]job.BudgetState, error)
	SaveBudget(ctx context.Context, tenant string, states []job.BudgetState) error
}

// Options are a Watcher's parts and numbers. Upstream, Store, Ownership and
// Tenant are required; everything else has a good zero value.
type Options struct {
	Tenant    string
	Upstream  Upstream
	Store     Store
	Ownership Ownership
	Metrics   *metrics.Metrics
	Log       *zap.Logger
	Policy    Policy
	// Mode says whether one list call may answer for many jobs; "" is ModeGet.
	Mode Mode

	// Budget is how much of the tenant's rate limits may be ours; the zero value
	// heeds nothing but the answers. BudgetStore keeps it across restarts; nil:
	// nobody does.
	Budget      BudgetPolicy
	BudgetStore BudgetStore

	// MaxInFlight is how many requests may be in flight, all replicas together;
	// 0 means 8 (ZUORA_MAX_IN_FLIGHT).
	MaxInFlight int
	// Replica describes this process. Its ID is used for the first registration;
	// "" makes one. Later registrations, after a lost claim, make their own.
	Replica job.Replica
	// Lease is how long a silent replica is believed alive; 0 means 30 s. Its
	// third is the heartbeat's interval.
	Lease time.Duration
	// Alone says that the store is a file that no other process can open, so
	// that everything in it is ours at once.
	Alone bool

	// Bus carries notes to and from the other replicas; nil: there are none.
	Bus Bus
	// Replicas is told, with each heartbeat, how many replicas are alive.
	Replicas func(n int)

	// Route names the destinations that an event owes; nil: none.
	Route func(job.Event) []string
	// KeepDataFile says whether some destination asks for the job's result link;
	// nil: none does.
	KeepDataFile func(job.Job) bool
	// Wake tells the dispatcher that deliveries have been stored for these
	// destinations; nil: nobody needs to be told.
	Wake func(destinations ...string)
	// KnownDestinations lists the names that a Spec may use; nil: any.
	KnownDestinations func() []string

	// IDs are tracked at start (source env); IDsFile holds one ID a line and is
	// read again whenever it changes (source file).
	IDs     []job.ID
	IDsFile string
	// Discover adopts every job that the list shows and that is newer than
	// DiscoverSince (0: 24 h); DiscoverEvery is how often it asks (0: 1 min).
	// DiscoverOnly narrows down which.
	Discover      bool
	DiscoverOnly  DiscoverFilter
	DiscoverSince time.Duration
	DiscoverEvery time.Duration

	// Greet makes one list call at the start when there is no job to look at, so
	// that [Watcher.Health] knows of an upstream that refuses us.
	Greet bool

	// Retention is how long finished jobs are kept; 0: for ever.
	Retention time.Duration
	// Grace is how long Run may take to drain; 0 means 15 s, below the process's
	// JOBWATCHER_SHUTDOWN_GRACE.
	Grace time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Watcher watches the jobs that this replica owns. Its methods may be called
// from any goroutine, before, during and after Run.
type Watcher struct {
	o         Options
	queue     *queue
	sweeps    sweeps
	budget    *budget
	gate      *gate
	crew      *crew
	commits   *committer
	claim     *claim
	ends      *endings
	feed      *feed
	histories *histories
	outbox    *outbox
	beat      atomic.Int64
}

const (
	defaultMaxInFlight   = 8 // contract section 3
	defaultLease         = 30 * time.Second
	defaultGrace         = 15 * time.Second
	defaultDiscoverSince = 24 * time.Hour // contract section 3
	defaultDiscoverEvery = time.Minute
	maxMaxInFlight       = 10_000
)

// New checks the options. It starts nothing: Run does.
func New(o Options) (*Watcher, error) {
	if o.Tenant == "" || o.Upstream == nil || o.Store == nil || o.Ownership == nil {
		return nil, fmt.Errorf("new watcher: tenant, upstream, store and ownership are required: %w", job.ErrInvalid)
	}
	if o.MaxInFlight < 0 || o.MaxInFlight > maxMaxInFlight {
		return nil, fmt.Errorf("new watcher: %d requests in flight, allowed are 1 to %d: %w", o.MaxInFlight, maxMaxInFlight, job.ErrInvalid)
	}
	if err := o.Policy.fill(); err != nil {
		return nil, fmt.Errorf("new watcher: %w", err)
	}
	o.MaxInFlight = orDefault(o.MaxInFlight, defaultMaxInFlight)
	o.Lease = orDefault(o.Lease, defaultLease)
	o.Grace = orDefault(o.Grace, defaultGrace)
	o.DiscoverSince = orDefault(o.DiscoverSince, defaultDiscoverSince)
	o.DiscoverEvery = orDefault(o.DiscoverEvery, defaultDiscoverEvery)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.Log = o.Log.Named("watcher").With(zap.String("tenant", o.Tenant))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Route == nil {
		o.Route = func(job.Event) []string { return nil }
	}
	if o.KeepDataFile == nil {
		o.KeepDataFile = func(job.Job) bool { return false }
	}
	if o.Wake == nil {
		o.Wake = func(...string) {}
	}
	w := &Watcher{o: o, queue: newQueue(), budget: newBudget(o.Budget, o.Now()), ends: newEndings(), feed: newFeed(), histories: newHistories(), outbox: newOutbox()}
	w.o.Policy.Histories = func(s job.Shape) *forecast.History { return w.histories.of(s, w.o.Now()) }
	w.gate = newGate(o.Policy.Jitter, w.budget)
	w.sweeps = sweeps{list: newLister(o.Mode), drawn: map[job.ID]ticket{}}
	w.crew = newCrew(o.MaxInFlight)
	w.claim = newClaim(o.Replica.ID)
	w.commits = newCommitter(w)
	w.beat.Store(o.Now().UnixNano())
	return w, nil
}

func orDefault[T ~int | ~int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
