package watcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	registerTimeout  = 30 * time.Second
	heartbeatTimeout = 10 * time.Second
	releaseTimeout   = 3 * time.Second
	// loadBatch is how many jobs enter the queue under one lock while loading;
	// claimBatch how many free ones are taken in one transaction.
	loadBatch  = 1024
	claimBatch = 1000
	// claimEvery is how many heartbeats lie between two searches for jobs that
	// nobody owns; there are none unless somebody edited the table.
	claimEvery = 6
	// claimLate is how many of them it may take, so that it does not take back
	// what was handed to others; claimAll is no limit.
	claimLate = 100
	claimAll  = 1 << 30
	// Retention works in small transactions with pauses, so that it never stands
	// in the way of a commit.
	purgeEvery = 10 * time.Minute
	purgeBatch = 500
	purgePause = 200 * time.Millisecond
)

// keep holds the claim: it registers, renews the heartbeat, and notices what
// was inherited from dead replicas. Loading runs beside it, so that no heartbeat
// waits for a million rows.
func (w *Watcher) keep(ctx context.Context) {
	if !w.register(ctx) {
		return
	}
	var loading sync.WaitGroup
	defer loading.Wait()
	loading.Go(func() { w.stock(ctx) })
	heartbeat := time.NewTicker(w.o.Lease / 3)
	defer heartbeat.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-heartbeat.C:
		case <-w.claim.asked:
		}
		p, err := w.heartbeat(ctx)
		if errors.Is(err, job.ErrOwnerLost) || ctx.Err() != nil {
			return
		}
		failures = w.heard(err, failures)
		if err == nil {
			w.divide(ctx, p)
		}
	}
}

// stock fills the queue: with what we own at the start, again when there is
// doubt, and now and then with what nobody owns.
func (w *Watcher) stock(ctx context.Context) {
	if !w.loadAll(ctx, true, claimAll) {
		return
	}
	search := time.NewTicker(claimEvery * w.o.Lease / 3)
	defer search.Stop()
	// A Track that timed out may still be carried out by a store that hangs.
	var again <-chan time.Time
	for {
		owned, free := true, claimAll
		select {
		case <-ctx.Done():
			return
		case <-w.claim.reload:
			again = time.After(2 * storeTimeout)
		case <-again:
			again = nil
		case <-search.C:
			// What has been handed back is for others; nobody else took this.
			owned, free = false, claimLate
		case free = <-w.claim.free:
			owned = false
		}
		if !w.loadAll(ctx, owned, free) {
			return
		}
	}
}

// register enters the replica, however long that takes.
func (w *Watcher) register(ctx context.Context) bool {
	replica := w.o.Replica
	for n := 1; ctx.Err() == nil; n++ {
		asked := w.o.Now()
		replica.ID, replica.StartedAt = w.claim.name(), job.At(asked)
		inner, cancel := context.WithTimeout(ctx, registerTimeout)
		err := w.o.Ownership.Register(inner, replica, w.o.Lease, w.o.Alone)
		cancel()
		if err == nil {
			w.claim.registered(w.believedUntil(asked))
			w.o.Log.Info("registered", zap.String("owner", string(replica.ID)))
			return true
		}
		if n == 1 && ctx.Err() == nil {
			w.o.Log.Error("register: the store does not take us in; tried again", zap.Error(err))
		}
		w.claim.rename()
		pause(ctx, w.retry(n))
	}
	return false
}

// believedUntil is until when nobody can have taken our row, if the store took
// a heartbeat that we sent at asked. When nobody else can open the store, for ever.
func (w *Watcher) believedUntil(asked time.Time) time.Time {
	if w.o.Alone {
		return asked.AddDate(100, 0, 0)
	}
	return asked.Add(w.o.Lease)
}

func (w *Watcher) heartbeat(ctx context.Context) (p job.Pulse, err error) {
	asked, replica := w.o.Now(), w.Replica()
	inner, cancel := context.WithTimeout(ctx, min(heartbeatTimeout, w.o.Lease/3))
	defer cancel()
	p, err = w.o.Ownership.Heartbeat(inner, replica, w.o.Lease, w.queue.size())
	switch {
	case err == nil:
		w.claim.renewed(w.believedUntil(asked))
	case errors.Is(err, job.ErrOwnerLost):
		w.claim.lose(replica)
	}
	return p, err
}

// heard logs the first failure of a run of heartbeats, and its end.
func (w *Watcher) heard(err error, failures int) int {
	switch {
	case err == nil && failures > 0:
		w.o.Log.Warn(fmt.Sprintf("heartbeat: recovered after %d failures", failures))
		return 0
	case err == nil:
		return 0
	case failures == 0:
		w.o.Log.Warn("heartbeat: the store did not take it", zap.Error(err))
	}
	return failures + 1
}

// loadAll brings what we own, and some of what nobody owns, into the queue, and
// spreads what is due. It tries until it succeeds: false means that ctx or the claim ended.
func (w *Watcher) loadAll(ctx context.Context, owned bool, free int) bool {
	for n := 1; ctx.Err() == nil; n++ {
		began := w.o.Now()
		loaded, err := w.load(ctx, owned, free)
		now := w.o.Now()
		w.queue.settle(job.At(now), max(w.o.Policy.OverdueInterval, w.o.Policy.MaxInterval)*2,
			w.o.Policy.spreadWindow, w.o.Policy.Jitter)
		if loaded > 0 {
			w.o.Log.Info("jobs loaded", zap.Int("count", loaded), zap.Duration("took", now.Sub(began)))
		}
		if err == nil {
			return true
		}
		if errors.Is(err, job.ErrOwnerLost) {
			w.claim.lose(w.Replica())
			return false
		}
		if n == 1 && ctx.Err() == nil {
			w.o.Log.Error("load jobs: tried again", zap.Error(err))
		}
		pause(ctx, w.retry(n))
	}
	return false
}

func (w *Watcher) load(ctx context.Context, owned bool, most int) (loaded int, err error) {
	replica := w.Replica()
	batch := make([]job.Watch, 0, loadBatch)
	flush := func() {
		loaded += w.queue.load(batch)
		batch = batch[:0]
	}
	if owned {
		err = w.o.Store.Owned(ctx, replica, w.o.Tenant, func(watch job.Watch) error {
			batch = append(batch, w.completed(watch))
			if len(batch) == cap(batch) {
				flush()
			}
			return ctx.Err()
		})
		flush()
		if err != nil {
			return loaded, fmt.Errorf("read owned jobs: %w", err)
		}
	}
	for ctx.Err() == nil && most > 0 {
		limit := min(claimBatch, most)
		most -= limit
		free, err := w.o.Store.Claim(ctx, replica, w.o.Tenant, limit)
		if err != nil {
			return loaded, fmt.Errorf("claim free jobs: %w", err)
		}
		for _, watch := range free {
			batch = append(batch, w.completed(watch))
		}
		flush()
		if len(free) < limit {
			return loaded, nil
		}
	}
	return loaded, ctx.Err()
}

// completed fills in what an older row may lack.
func (w *Watcher) completed(watch job.Watch) job.Watch {
	if watch.DeadlineAt == 0 {
		watch.DeadlineAt = watch.TrackedAt.Add(w.o.Policy.Deadline)
	}
	if watch.AbandonAt == 0 {
		watch.AbandonAt = watch.TrackedAt.Add(w.o.Policy.AbandonAfter)
	}
	watch.Cause = job.CauseRestart
	return watch
}

// release frees what we own, so that others go on at once.
func (w *Watcher) release(ctx context.Context) {
	replica := w.Replica()
	if replica == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if err := w.o.Ownership.Release(ctx, replica); err != nil && !errors.Is(err, job.ErrOwnerLost) {
		w.o.Log.Warn("release: what we own is free when the lease has run out", zap.Error(err))
		return
	}
	w.o.Log.Info("drained", zap.String("owner", string(replica)))
}

// purge deletes what retention allows, now and then.
func (w *Watcher) purge(ctx context.Context) {
	if w.o.Retention <= 0 {
		return
	}
	for ctx.Err() == nil {
		pause(ctx, purgeEvery)
		failed := false
		for !failed && ctx.Err() == nil {
			before := job.At(w.o.Now().Add(-w.o.Retention))
			n, err := w.o.Ownership.Purge(ctx, before, purgeBatch)
			if err != nil && ctx.Err() == nil {
				w.o.Log.Warn("retention: tried again later", zap.Error(err))
			}
			if failed = err != nil; failed || n < purgeBatch {
				break
			}
			pause(ctx, purgePause)
		}
	}
}
