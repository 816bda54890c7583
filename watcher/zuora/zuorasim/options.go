package zuorasim

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"
)

// The credentials of the first user where Options names none. Their lengths are
// the published ones: 36 for the ID, at most 42 for the secret.
const (
	DefaultClientID     = "5a1e0000-51b0-4c11-8e47-000000000001"
	DefaultClientSecret = "simulated-secret=with+signs&to/encode" // needs form encoding on purpose
)

// Options is all that can be chosen about a tenant. The zero value is a
// production tenant with one administrator; everything in it is plain data, so
// that a command can fill it from its flags.
type Options struct {
	// Seed decides everything that is drawn: job ids, run times, outcomes, rows,
	// tokens and which requests a fault hits. Equal seeds and equal requests at
	// equal times give equal answers, byte for byte.
	Seed uint64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// ClockSkew is how far Zuora's own clock (Date, updatedOn) is ahead of Now.
	ClockSkew time.Duration

	// ClientID and ClientSecret are the first user's; see DefaultClientID.
	ClientID, ClientSecret string
	// NonAdmin makes the first user one who sees only his own jobs.
	NonAdmin bool
	// Users are the others.
	Users []User
	// BearerToken, when set, is a token of the first user that never expires.
	BearerToken string
	// TokenLife is how long a token lives; 3,599 s when zero, as in the sample.
	TokenLife time.Duration
	// Entities, when set, are the only ones that Zuora-Entity-Ids may name.
	Entities []string

	// Plan holds the rate-limit windows; Production when zero.
	Plan Plan
	// Others is how many requests a minute other clients of the tenant make.
	Others float64
	// Concurrency is how many requests may be in flight; 40 when zero (facts
	// section 4), unlimited when negative.
	Concurrency int
	// RetryAfter puts that header on 429s of the windows. The two guides of
	// Zuora disagree about it, so a client has to live with either.
	RetryAfter bool

	// Live and Warehouse limit each source: 5 running and 10 queued, 15 and 30.
	Live, Warehouse Queue
	// RunTime is the distribution of run times; log-normal around 20 s when zero.
	RunTime RunTime
	// Speed divides drawn run times; 1 when zero.
	Speed float64
	// Rows is the distribution of outputRows.
	Rows Rows
	// FailRatio and CancelRatio are the shares of jobs that end so; of the
	// cancelled it is as if a person had stopped them.
	FailRatio, CancelRatio float64
	// AcceptAfter is how long a job stays submitted. Zero answers the submit
	// with accepted at once, as both samples do.
	AcceptAfter time.Duration
	// StartAfter is the least time a job stays accepted.
	StartAfter time.Duration
	// Arrivals is how many jobs a minute other people submit on average; those
	// that meet a full queue are turned away.
	Arrivals float64
	// Jobs are submitted by New, every fourth to LIVE, the rest to WAREHOUSE.
	Jobs int
	// Retention is how long a job is kept after its creation; 30 days when zero.
	Retention time.Duration
	// MaxPageSize is the largest pageSize; 1,000 when zero (100 before 2024-04-05).
	MaxPageSize int
	// DataFileToken is the X-Amz-Security-Token in every dataFile: a canary that
	// must turn up in no log, metric or message.
	DataFileToken string

	// Control serves /_sim/, which lets anyone who can connect script the
	// tenant. Meant for loopback only.
	Control bool
	// Log is how many requests are remembered; 65,536 when zero, none when
	// negative. Counters are exact in any case.
	Log int
}

// User is an OAuth client and the person it belongs to.
type User struct {
	ClientID, ClientSecret string
	// ID is the createdBy of the user's jobs; drawn when empty.
	ID string
	// Email is createdByUserEmail; made up when empty.
	Email string
	// Admin sees every job of the tenant, others only their own.
	Admin bool
}

// Queue limits one source. Zero means Zuora's number, negative none.
type Queue struct {
	Running int // in_progress at a time
	Queued  int // submitted and accepted at a time
}

// The defaults that are not zero, with their sources.
const (
	defaultTokenLife   = 3599 * time.Second  // the official sample's expires_in
	defaultConcurrency = 40                  // docs_guides_rate-limits
	defaultRetention   = 30 * 24 * time.Hour // DOCS25 help section
	defaultPageSize    = 20                  // OpenAPI
	defaultMaxPageSize = 1000                // OpenAPI, since 2024-04-05
	defaultLog         = 1 << 16
	// defaultDataFileToken is long and rare enough to be searched for.
	defaultDataFileToken = "FwoGZXIvYXdzEXAMPLEsimulatedCanaryDoNotLeak" //nolint:gosec // made up, and meant to be found
)

// Validate reports every fault of the options at once.
func (o *Options) Validate() error {
	var faults []error
	share := func(name string, v float64) {
		if math.IsNaN(v) || v < 0 || v > 1 {
			faults = append(faults, fmt.Errorf("%s: %v is not between 0 and 1", name, v))
		}
	}
	share("fail ratio", o.FailRatio)
	share("cancel ratio", o.CancelRatio)
	share("fail and cancel ratio together", o.FailRatio+o.CancelRatio)
	notNegative := func(name string, v float64) {
		if math.IsNaN(v) || v < 0 {
			faults = append(faults, fmt.Errorf("%s: %v is negative", name, v))
		}
	}
	notNegative("speed", o.Speed)
	notNegative("others", o.Others)
	notNegative("arrivals", o.Arrivals)
	notNegative("jobs", float64(o.Jobs))
	notNegative("token life", o.TokenLife.Seconds())
	notNegative("accept after", o.AcceptAfter.Seconds())
	notNegative("start after", o.StartAfter.Seconds())
	notNegative("retention", o.Retention.Seconds())
	notNegative("max page size", float64(o.MaxPageSize))
	if err := o.RunTime.check(); err != nil && o.RunTime != (RunTime{}) {
		faults = append(faults, err)
	}
	if err := o.Rows.check(); err != nil {
		faults = append(faults, err)
	}
	if err := o.Plan.check(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// filled returns the options with every default in place.
func filled(o Options) Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.ClientID = cmp.Or(o.ClientID, DefaultClientID)
	o.ClientSecret = cmp.Or(o.ClientSecret, DefaultClientSecret)
	o.TokenLife = cmp.Or(o.TokenLife, defaultTokenLife)
	if len(o.Plan.Windows) == 0 && o.Plan.Name == "" {
		o.Plan = Production()
	}
	o.Concurrency = cmp.Or(o.Concurrency, defaultConcurrency)
	// Simultaneous and queued jobs per tenant: DOCS25 overview-of-data-query.
	o.Live = Queue{cmp.Or(o.Live.Running, 5), cmp.Or(o.Live.Queued, 10)}
	o.Warehouse = Queue{cmp.Or(o.Warehouse.Running, 15), cmp.Or(o.Warehouse.Queued, 30)}
	if o.RunTime == (RunTime{}) {
		o.RunTime = LogNormal(20*time.Second, 1.2)
	}
	o.Speed = cmp.Or(o.Speed, 1)
	if o.Rows == (Rows{}) {
		o.Rows = Rows{Median: 2000, Sigma: 2, Zero: 0.02}
	}
	o.Retention = cmp.Or(o.Retention, defaultRetention)
	o.MaxPageSize = cmp.Or(o.MaxPageSize, defaultMaxPageSize)
	o.DataFileToken = cmp.Or(o.DataFileToken, defaultDataFileToken)
	o.Log = cmp.Or(o.Log, defaultLog)
	return o
}
