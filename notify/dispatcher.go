package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Options are a Dispatcher's parts and numbers. Outbox, Replica and NewSender
// are required; everything else has a good zero value.
type Options struct {
	Outbox Outbox
	// Replica is who we are now; it changes when a claim was lost.
	Replica      func() job.ReplicaID
	Tenant       string
	Destinations []Destination
	NewSender    func(Destination) (Sender, error)
	Metrics      *metrics.Metrics
	Log          *zap.Logger
	Policy       Policy
	// Concurrency is how many sends a destination may have in the air; 0 means 8.
	Concurrency int
	// Timeout bounds one send; 0 means SendTimeout.
	Timeout time.Duration
	// Grace is how long Run may take to drain; 0 means 15 s.
	Grace time.Duration
	Now   func() time.Time
	// Counts tells the deliveries by destination and state, for Views; nil: none.
	Counts func() (map[string]map[job.DeliveryState]int64, error)
}

const (
	defaultConcurrency = 8
	defaultGrace       = 15 * time.Second
	// bound is how long a lane sleeps at most: the insurance against a wake-up
	// that got lost, and how soon another replica's leavings are seen.
	bound = 30 * time.Second
)

// Dispatcher tells destinations what has happened. Its methods may be called
// from any goroutine, before, during and after Run.
type Dispatcher struct {
	o       Options
	settler *settler

	mu       sync.Mutex
	all      []Destination
	lanes    map[string]*lane
	reloaded chan struct{} // closed when lanes have been replaced
}

// NewDispatcher checks the options and builds the senders. It starts nothing.
func NewDispatcher(o Options) (*Dispatcher, error) {
	if o.Outbox == nil || o.Replica == nil || o.NewSender == nil {
		return nil, fmt.Errorf("new dispatcher: outbox, replica and senders are required: %w", job.ErrInvalid)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.Log = o.Log.Named("notify")
	if o.Policy.Jitter == nil {
		o.Policy.Jitter = rand.Float64
	}
	o.Policy = o.Policy.complete()
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Timeout <= 0 {
		o.Timeout = SendTimeout
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Dispatcher{o: o, reloaded: make(chan struct{})}
	d.settler = newSettler(&d.o)
	lanes, err := d.build(o.Destinations)
	if err != nil {
		return nil, fmt.Errorf("new dispatcher: %w", err)
	}
	d.all, d.lanes = slices.Clone(o.Destinations), lanes
	return d, nil
}

func (d *Dispatcher) build(all []Destination) (map[string]*lane, error) {
	lanes := make(map[string]*lane, len(all))
	for _, one := range all {
		if lanes[one.Name] != nil {
			return nil, fmt.Errorf("destination %s: named twice: %w", one.Name, job.ErrInvalid)
		}
		sender, err := d.o.NewSender(one)
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", one.Name, err)
		}
		lanes[one.Name] = newLane(d, one, sender)
	}
	return lanes, nil
}

// Run sends until ctx ends, then drains: it takes nothing new, lets what is in
// the air finish within Grace and settles it. It returns nil.
func (d *Dispatcher) Run(ctx context.Context) error {
	hard, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(d.o.Grace, abort) })()
	var settling sync.WaitGroup
	settling.Go(func() { d.settler.run(hard) })
	var running sync.WaitGroup
	for ctx.Err() == nil {
		d.mu.Lock()
		lanes, reloaded := d.lanes, d.reloaded
		d.mu.Unlock()
		soft, stop := context.WithCancel(ctx)
		d.leftBehind(soft, lanes)
		for _, l := range lanes {
			running.Go(func() { l.run(soft, hard) })
		}
		select {
		case <-ctx.Done():
		case <-reloaded:
		}
		// New lanes do not wait for what the old ones have in the air.
		stop()
	}
	running.Wait()
	d.settler.close()
	settling.Wait()
	return nil
}

// Wake tells the lanes of these destinations that deliveries have been stored;
// without names, all of them.
func (d *Dispatcher) Wake(destinations ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(destinations) == 0 {
		for _, l := range d.lanes {
			l.nudge()
		}
	}
	for _, name := range destinations {
		if l := d.lanes[name]; l != nil {
			l.nudge()
		}
	}
}

func (d *Dispatcher) destinations() []Destination {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all
}

func (d *Dispatcher) lane(name string) (*lane, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.lanes[name]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("destination %s: %w", job.Cut(name, 80), job.ErrNotFound)
}

// Names lists the configured destinations.
func (d *Dispatcher) Names() []string {
	all := d.destinations()
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return names
}

// Route names the destinations that the event owes.
func (d *Dispatcher) Route(e job.Event) []string { return route(d.destinations(), &e) }

// ExplainRoute says of every destination whether it is told about the job, and why.
func (d *Dispatcher) ExplainRoute(j job.Job) []job.RouteReason {
	return explainRoute(d.destinations(), &j)
}

// KeepsDataFile reports whether some destination that serves the job asks for
// its result link.
func (d *Dispatcher) KeepsDataFile(j job.Job) bool { return keepsDataFile(d.destinations(), &j) }

// Pause holds the destination's deliveries until somebody resumes it.
func (d *Dispatcher) Pause(ctx context.Context, name string) error {
	l, err := d.lane(name)
	if err != nil {
		return err
	}
	return l.change(ctx, func(s *job.DestinationState) {
		if !s.Paused {
			s.Paused, s.PausedBy, s.PausedAt = true, pausedByOperator, job.At(d.o.Now())
		}
	})
}

// Resume lets held deliveries go out, at once and as if nothing had failed.
func (d *Dispatcher) Resume(ctx context.Context, name string) error {
	l, err := d.lane(name)
	if err != nil {
		return err
	}
	return l.change(ctx, func(s *job.DestinationState) {
		*s = job.DestinationState{Name: s.Name}
	})
}

// Test sends a test event at once, outside the outbox, and returns the attempt,
// whatever became of it. The error is for what could not be tried at all.
func (d *Dispatcher) Test(ctx context.Context, name string) (job.Attempt, error) {
	l, err := d.lane(name)
	if err != nil {
		return job.Attempt{}, err
	}
	now := job.At(d.o.Now())
	data, err := json.Marshal(map[string]string{
		"destination": name, "message": "jobwatcher can reach this destination",
	})
	if err != nil {
		return job.Attempt{}, fmt.Errorf("build test event: %w", err)
	}
	e := job.Event{
		ID:   job.EventID(d.o.Tenant, name+" "+now.String(), job.EventTest),
		Type: job.EventTest, Tenant: d.o.Tenant, Subject: name, Time: now, CreatedAt: now, Data: data,
	}
	out := job.Outgoing{Delivery: job.Delivery{
		ID: job.DeliveryID(e.ID, name), EventID: e.ID, EventType: e.Type, Tenant: e.Tenant, Destination: name,
		State: job.DeliverySending, CreatedAt: now,
	}, Event: e}
	attempt, _ := l.attempt(ctx, []job.Outgoing{out})
	attempt.N = 1
	return attempt, nil
}

// Views are the configured destinations with what is remembered of them.
func (d *Dispatcher) Views(ctx context.Context) ([]job.DestinationView, error) {
	states, err := d.o.Outbox.Destinations(ctx)
	if err != nil {
		return nil, fmt.Errorf("read destinations: %w", err)
	}
	var counts map[string]map[job.DeliveryState]int64
	if d.o.Counts != nil {
		if counts, err = d.o.Counts(); err != nil {
			return nil, fmt.Errorf("count deliveries: %w", err)
		}
	}
	all := d.destinations()
	views := make([]job.DestinationView, 0, len(all))
	for i := range all {
		one := &all[i]
		s := states[one.Name]
		v := job.DestinationView{
			Name: one.Name, Kind: one.Kind(), On: one.On, When: one.When.shown(), Include: one.Include,
			Paused: s.Paused, PausedBy: s.PausedBy, PausedAt: s.PausedAt, NotBefore: s.NotBefore, Failures: s.Failures,
			Deliveries: map[job.DeliveryState]int64{},
		}
		if l, err := d.lane(one.Name); err == nil {
			v.Failures = max(v.Failures, l.failing())
		}
		if len(v.On) == 0 {
			v.On = slices.Clone(announced)
		}
		for _, m := range one.Match {
			if v.Match == nil {
				v.Match = map[string]string{}
			}
			v.Match[m.Label] = m.String()
		}
		for _, state := range job.DeliveryStates() {
			v.Deliveries[state] = counts[one.Name][state]
		}
		views = append(views, v)
	}
	return append(views, removedViews(all, states, counts)...), nil
}

// lostClaim reports whether an error means that another replica has taken over.
func lostClaim(err error) bool { return errors.Is(err, job.ErrOwnerLost) }
