package notify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// removedFor is how long a destination that another replica does not know any
// more stays held while we still know it. Replicas see a new file within about
// a minute and a half of each other (a ConfigMap's propagation); who still has
// the destination after that means it.
const removedFor = 2 * time.Minute

// Reload replaces the destinations. Old lanes take nothing new and finish what
// they have in the air, new ones start at once; nothing is lost, since what
// waits are rows. When one of the new ones is at fault, all stay as they were.
func (d *Dispatcher) Reload(all []Destination) error {
	lanes, err := d.build(all)
	if err != nil {
		return fmt.Errorf("reload destinations: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, l := range lanes {
		d.o.Metrics.AddDestinations(name)
		if old := d.lanes[name]; old != nil {
			l.takeOver(old)
		}
	}
	d.all, d.lanes = slices.Clone(all), lanes
	close(d.reloaded)
	d.reloaded = make(chan struct{})
	return nil
}

// takeOver goes on counting where the destination's former lane stopped.
func (l *lane) takeOver(old *lane) {
	old.mu.Lock()
	state, began := old.state, old.run1
	old.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.run1 = state, began
}

// leftBehind holds the deliveries that wait for destinations which are not
// configured any more, and says so: they are kept, and go out when those come
// back.
func (d *Dispatcher) leftBehind(ctx context.Context, lanes map[string]*lane) {
	if d.o.Counts == nil || ctx.Err() != nil {
		return
	}
	counts, err := d.o.Counts()
	if err != nil {
		return // the lanes will say so
	}
	states, err := d.o.Outbox.Destinations(ctx)
	if err != nil {
		return
	}
	for name, count := range counts {
		n := count[job.DeliveryPending] + count[job.DeliverySending] + count[job.DeliveryHeld]
		if lanes[name] != nil || n == 0 {
			continue
		}
		log := d.o.Log.With(zap.String("destination", name), zap.Int64("count", n))
		if s := states[name]; !s.Paused || s.PausedBy == pausedByFailing {
			s.Name, s.Paused, s.PausedBy, s.PausedAt = name, true, pausedByRemoved, job.At(d.o.Now())
			if err := d.o.Outbox.SetDestination(ctx, s); err != nil {
				log.Error("hold deliveries of a destination that is not configured", zap.Error(err))
				continue
			}
		}
		log.Warn("held: these deliveries wait for a destination that is not configured any more")
	}
}

// returned says whether the destination is held only because some replica did
// not know it, and may go on.
func (l *lane) returned() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.state
	return s.Paused && s.PausedBy == pausedByRemoved &&
		(l.began >= s.PausedAt || job.At(l.o.Now()) >= s.PausedAt.Add(removedFor))
}

// removedViews shows what is left of destinations that are not configured any more.
func removedViews(all []Destination, states map[string]job.DestinationState, counts map[string]map[job.DeliveryState]int64) []job.DestinationView {
	var views []job.DestinationView
	for name, count := range counts {
		known := slices.ContainsFunc(all, func(d Destination) bool { return d.Name == name })
		if known || count[job.DeliveryPending]+count[job.DeliverySending]+count[job.DeliveryHeld] == 0 {
			continue
		}
		s := states[name]
		views = append(views, job.DestinationView{
			Name: name, Removed: true, Paused: s.Paused, PausedBy: s.PausedBy, PausedAt: s.PausedAt,
			NotBefore: s.NotBefore, Failures: s.Failures, Deliveries: count,
		})
	}
	slices.SortFunc(views, func(a, b job.DestinationView) int { return cmp.Compare(a.Name, b.Name) })
	return views
}
