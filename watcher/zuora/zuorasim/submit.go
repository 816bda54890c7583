package zuorasim

import (
	"cmp"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Spec says what a job is to be; the zero value leaves everything to the dice.
type Spec struct {
	// ID is drawn when zero.
	ID    job.ID
	Query string
	// Source is LIVE (when empty) or WAREHOUSE.
	Source string
	// Client is the client id of the user who submits; "" for the first.
	Client string
	// RunTime from start to end; drawn when zero.
	RunTime time.Duration
	// Forever lets the job run until Finish.
	Forever bool
	// Outcome is how it ends; drawn when empty. Any word is allowed.
	Outcome job.Status
	// Rows of the result; drawn when nil.
	Rows *int64
	// Error is the errorMessage if it fails; one of the known ones when empty.
	Error string
	// Retries is how many attempts fail before the last; remainingRetries counts
	// down from 3 (whether it visibly does upstream is not documented).
	Retries int
	// Unlimited starts the job at once, whatever runs, and takes no slot.
	Unlimited bool
	IndexJoin bool
}

// Facts about how queries run (facts sections 2 and 4).
const (
	zuoraRetries  = 3
	attemptLimit  = time.Hour
	maxProcessing = (zuoraRetries + 1) * attemptLimit
	timeLimitText = "Query exceeded the maximum time limit of 3600.00s"

	maxRowsLive      = 500_000
	maxRowsWarehouse = 50_000_000
)

// failures are the known texts of jobs that failed.
var failures = [...]string{
	"Column 'updateddate' cannot be resolved",
	"Table owl.data.x does not exist",
	"failed to process object",
	"Internal message: Service Temporarily Unavailable. LINK_30000007",
}

// queries are what jobs ask when nobody says: a few shapes, so that a watcher
// that learns from shapes has something to learn.
var queries = [...]string{
	"SELECT accountnumber, balance FROM Account WHERE Account.balance > 100",
	"SELECT s.id FROM Subscription s JOIN RatePlan rp ON s.id = rp.subscriptionid WHERE rp.name = 'Premium Monthly'",
	"SELECT id, amount, duedate FROM Invoice WHERE status = 'Posted'",
	"SELECT accountid, sum(quantity) FROM Usage GROUP BY accountid",
}

func newBook(o *Options, now time.Time, first *account) *book {
	b := &book{
		o: o, skew: o.ClockSkew, byID: map[job.ID]*record{}, first: first,
		lanes:  [2]lane{{Queue: o.Live}, {Queue: o.Warehouse}},
		arrive: dice(o.Seed, streamArrival, 0),
	}
	for i := range o.Jobs {
		s := Spec{Source: warehouse.String()}
		if i%4 == 0 { // as the limits are: 5 and 15 running, 10 and 30 queued
			s.Source = live.String()
		}
		b.submit(now.UnixNano(), s, first)
	}
	if o.Arrivals > 0 {
		b.nextArrival(now.UnixNano())
	}
	return b
}

// submit takes a job in. It does not ask whether there is room.
func (b *book) submit(now int64, s Spec, owner *account) *record {
	b.drawn++
	d := dice(b.o.Seed, streamJob, b.drawn)
	r := &record{
		id: uuid(d), query: s.Query, owner: owner, created: now,
		processing: -1, remaining: zuoraRetries, free: s.Unlimited, indexJoin: s.IndexJoin,
	}
	// Everything is drawn in one order whether it is used or not.
	run := time.Duration(max(1, float64(b.o.RunTime.Draw(d))/b.o.Speed))
	end := d.Float64()
	rows := [2]int64{b.o.Rows.Draw(d, maxRowsLive), b.o.Rows.Draw(d, maxRowsWarehouse)}
	r.text = failures[d.IntN(len(failures))]
	query := queries[d.IntN(len(queries))]

	if s.ID != (job.ID{}) {
		r.id = s.ID
	}
	r.query = cmp.Or(s.Query, query)
	if strings.EqualFold(s.Source, warehouse.String()) {
		r.source = warehouse
	}
	r.rows = rows[r.source]
	if s.Rows != nil {
		r.rows = *s.Rows
	}
	r.fate = s.Outcome
	if r.fate == "" {
		r.fate = b.fate(end)
	}
	b.plan(r, s, run)
	r.text = cmp.Or(s.Error, r.text)
	b.open(r)
	return r
}

func (b *book) fate(u float64) job.Status {
	switch {
	case u < b.o.FailRatio:
		return job.Failed
	case u < b.o.FailRatio+b.o.CancelRatio:
		return job.Cancelled
	}
	return job.Completed
}

// plan fixes how long it runs and in how many attempts. What is drawn keeps
// Zuora's rule of an hour for each attempt and three retries; what a test asks
// for is taken as it is.
func (b *book) plan(r *record, s Spec, drawn time.Duration) {
	r.runTime = int64(cmp.Or(s.RunTime, drawn))
	switch {
	case s.Forever:
		r.runTime = -1
	case s.Retries > 0:
		r.retries = int8(min(s.Retries, zuoraRetries))
		r.attempt = r.runTime / int64(r.retries+1)
	case s.RunTime != 0:
	case drawn >= maxProcessing:
		r.runTime, r.attempt, r.retries = int64(maxProcessing), int64(attemptLimit), zuoraRetries
		if s.Outcome == "" {
			r.fate, r.text = job.Failed, timeLimitText
		}
	default:
		r.attempt, r.retries = int64(attemptLimit), int8(drawn/attemptLimit)
	}
}

// open files a new job and sets it on its way.
func (b *book) open(r *record) {
	b.add(r)
	if !r.free {
		r.queued = true
		b.lanes[r.source].queued++
	}
	if b.o.AcceptAfter > 0 {
		b.set(r, job.Submitted, r.created)
		b.at(r.created+int64(b.o.AcceptAfter), stepAccept, r)
		return
	}
	b.accept(r, r.created)
	b.at(r.created+int64(b.o.StartAfter), stepQueue, r)
}

// arrival is a job of somebody else, or a refusal that only he sees.
func (b *book) arrival(at int64) {
	s := Spec{}
	if b.arrive.IntN(4) != 0 {
		s.Source = warehouse.String()
	}
	src := live
	if s.Source != "" {
		src = warehouse
	}
	if !b.lanes[src].full() {
		b.submit(at, s, b.first)
	}
	b.nextArrival(at)
}

func (b *book) nextArrival(at int64) {
	wait := b.arrive.ExpFloat64() / b.o.Arrivals * float64(time.Minute)
	b.at(at+int64(max(1, min(wait, float64(day)))), stepArrive, nil)
}
