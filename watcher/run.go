package watcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// tick bounds how long the loop sleeps: the heartbeat that livez asks for, and
// the insurance against a wake-up that got lost.
const tick = time.Second

var (
	errGrace = errors.New("the time to drain is over")
	errOver  = errors.New("session over")
)

// Run watches until ctx ends, then drains: it takes nothing new, lets looks in
// flight finish within Grace, commits what they found and frees what it owns.
// It returns nil after a drain. A claim that ends under it is not an error: it
// drops what it had, registers anew and starts over.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.claim.drain()
	defer context.AfterFunc(ctx, w.claim.drain)()
	var intake sync.WaitGroup
	inner, stop := context.WithCancel(ctx)
	defer func() { stop(); intake.Wait() }()
	w.takeIn(inner, &intake)
	if w.o.Bus != nil {
		intake.Go(func() { w.talk(inner) })
		intake.Go(func() { w.listen(inner) })
	}
	for {
		began := w.o.Now()
		err := w.session(ctx)
		if !errors.Is(err, job.ErrOwnerLost) || ctx.Err() != nil {
			return nil
		}
		w.o.Metrics.ClaimLost()
		w.o.Log.Warn("claim lost: another replica has taken over; starting anew")
		w.queue.clear()
		w.commits.clear()
		if w.o.Now().Sub(began) < tick {
			w.idle(ctx, tick)
		}
	}
}

// session is the life of one registration. It ends with ErrOwnerLost or drained.
func (w *Watcher) session(ctx context.Context) error {
	lost := w.claim.renew()
	// soft: take nothing new. hard: abort looks in the air. storing: give up what
	// has not been committed. A drain ends them in this order.
	soft, stop := context.WithCancelCause(ctx)
	hard, abort := context.WithCancelCause(context.WithoutCancel(ctx))
	storing, give := context.WithCancelCause(context.WithoutCancel(ctx))
	defer give(errOver)
	defer abort(errOver)
	defer stop(errOver)

	var looks, commits, keeping sync.WaitGroup
	w.crew.begin()
	w.commits.begin()
	for range w.o.MaxInFlight {
		looks.Go(func() { w.work(soft, hard) })
	}
	commits.Go(func() { w.commits.run(storing) })
	keeping.Go(func() { w.keep(soft) })
	keeping.Go(func() { w.purge(soft) })
	keeping.Go(func() { w.learn(soft) })
	if w.o.BudgetStore != nil {
		keeping.Go(func() { w.account(soft) })
	}

	w.loop(soft, lost)

	select {
	case <-lost:
		// What is in the air may commit nothing any more.
		stop(job.ErrOwnerLost)
		abort(job.ErrOwnerLost)
		give(job.ErrOwnerLost)
	default:
		stop(context.Cause(ctx))
		w.o.Log.Info(fmt.Sprintf("draining: %d jobs are watched on by whoever comes next", w.queue.size()))
	}
	// Looks get three quarters of the grace, so that commits have the rest.
	defer time.AfterFunc(w.o.Grace*3/4, func() { abort(errGrace) }).Stop()
	w.await(&looks)
	w.commits.close()
	defer time.AfterFunc(w.o.Grace/4, func() { give(errGrace) }).Stop()
	w.await(&commits)
	w.await(&keeping)
	select {
	case <-lost:
		return job.ErrOwnerLost
	default:
	}
	w.release(context.WithoutCancel(ctx))
	return nil
}

// loop says when: it wakes one worker when something is due and sleeps until
// the next due time. It never waits for store or upstream, so that livez tells
// of the scheduler and of nothing else.
func (w *Watcher) loop(soft context.Context, lost <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := w.o.Now()
	for {
		select {
		case <-soft.Done():
			return
		case <-lost:
			return
		case <-timer.C:
		case <-w.queue.bell:
		}
		now := w.o.Now()
		w.beat.Store(now.UnixNano())
		if back := setBack(last, now); back < 0 {
			w.queue.shift(back)
		}
		last = now
		timer.Reset(w.turn(now))
	}
}

// turn wakes a worker when something is due and says how long to sleep.
func (w *Watcher) turn(now time.Time) time.Duration {
	bound := now.Add(tick)
	opens := w.gate.opensAt(now)
	if !w.claim.believed(now) {
		opens = bound
	}
	alarm, due := w.queue.sleep(job.At(now), instantAfter(opens, 0), instantAfter(bound, 0))
	if due {
		w.crew.call()
	}
	return alarm.Time().Sub(now)
}

// setBack is by how much the wall clock was set back between two readings that
// carry the monotonic clock too: negative, or zero when it was not.
func setBack(last, now time.Time) time.Duration {
	drift := now.Round(0).Sub(last.Round(0)) - now.Sub(last)
	if drift > -time.Second {
		return 0
	}
	return drift
}

// await waits for a group and keeps the heart beating meanwhile.
func (w *Watcher) await(group *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	beat := time.NewTicker(tick)
	defer beat.Stop()
	for {
		select {
		case <-done:
			return
		case <-beat.C:
			w.beat.Store(w.o.Now().UnixNano())
		}
	}
}

// idle lets time pass, heart beating, until d is over or ctx ends.
func (w *Watcher) idle(ctx context.Context, d time.Duration) {
	pause(ctx, d)
	w.beat.Store(w.o.Now().UnixNano())
}

// Beat is when the loop last turned: at least every second while it is well.
func (w *Watcher) Beat() time.Time { return time.Unix(0, w.beat.Load()) }
