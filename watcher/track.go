package watcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// storeTimeout bounds one call that a caller waits for.
const storeTimeout = 30 * time.Second

// Check says what is wrong with a spec, as a *job.InvalidError.
func (w *Watcher) Check(s job.Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if w.o.KnownDestinations == nil || len(s.Destinations) == 0 {
		return nil
	}
	known := w.o.KnownDestinations()
	for i, name := range s.Destinations {
		if !slices.Contains(known, name) {
			return &job.InvalidError{
				Field: fmt.Sprintf("destinations[%d]", i), Value: name,
				Allowed: "a configured destination (" + strings.Join(known, ", ") + ")",
			}
		}
	}
	return nil
}

// Track takes jobs in, each exactly once however often it is asked, and says
// for each whether it was new. It returns after the jobs are durable; they are
// looked at as soon as a worker is free. All specs are taken or none: an
// *job.InvalidError names the first fault, job.ErrDraining says that the daemon
// is stopping.
//
// After any other error the jobs may have been stored all the same; then this
// replica finds them by itself, and asking again does no harm.
func (w *Watcher) Track(ctx context.Context, specs []job.Spec, source job.Source) ([]bool, error) {
	for i := range specs {
		if err := w.Check(specs[i]); err != nil {
			return nil, err
		}
	}
	if len(specs) == 0 {
		return nil, nil
	}
	now := job.At(w.o.Now())
	items := make([]job.Tracking, len(specs))
	for i, s := range specs {
		items[i] = w.tracking(s, source, now)
	}
	fresh, err := w.storeTracked(ctx, items)
	if err != nil {
		return nil, fmt.Errorf("track: %w", err)
	}
	w.enqueue(items, fresh, now)
	return fresh, nil
}

// tracking fixes what is fixed when tracking begins.
func (w *Watcher) tracking(s job.Spec, source job.Source, now job.Instant) job.Tracking {
	deadline := orDefault(s.Deadline, w.o.Policy.Deadline)
	t := job.Tracking{
		Spec: s, Tenant: w.o.Tenant, Source: source, TrackedAt: now,
		DeadlineAt: now.Add(deadline), AbandonAt: now.Add(w.o.Policy.AbandonAfter),
	}
	if s.Deadline > 0 && t.AbandonAt <= t.DeadlineAt {
		// A job that was given a deadline of its own is not given up before it.
		t.AbandonAt = t.DeadlineAt.Add(w.o.Policy.AbandonAfter)
	}
	return t
}

// storeTracked makes items durable. The caller's patience does not break off a
// transaction whose outcome we need to know. A claim that has just ended is
// waited for once: the next registration takes the jobs.
func (w *Watcher) storeTracked(ctx context.Context, items []job.Tracking) ([]bool, error) {
	for try := 0; ; try++ {
		replica, err := w.claim.current(ctx)
		if err != nil {
			return nil, err
		}
		inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		fresh, err := w.o.Store.Track(inner, replica, items)
		cancel()
		switch {
		case err == nil:
			return fresh, nil
		case errors.Is(err, job.ErrOwnerLost):
			w.claim.lose(replica)
			if try > 0 {
				return nil, err
			}
		case errors.Is(err, job.ErrInvalid):
			return nil, err
		default:
			w.claim.doubt()
			return nil, err
		}
	}
}

// enqueue puts the new ones into the queue, spread when they are many.
func (w *Watcher) enqueue(items []job.Tracking, fresh []bool, now job.Instant) {
	n := 0
	for _, f := range fresh {
		if f {
			n++
		}
	}
	if n == 0 {
		return
	}
	window := float64(w.o.Policy.spreadWindow(n).Milliseconds())
	watches := make([]job.Watch, 0, n)
	for i, f := range fresh {
		if !f || i >= len(items) {
			continue
		}
		t := &items[i]
		due := now
		if window > 0 {
			due += job.Instant(window * w.o.Policy.Jitter())
		}
		watches = append(watches, job.Watch{
			ID: t.ID, TrackedAt: t.TrackedAt, DeadlineAt: t.DeadlineAt, AbandonAt: t.AbandonAt,
			NextPollAt: due, Cause: job.CauseTracked,
		})
	}
	w.queue.add(watches...)
	ids := make([]job.ID, len(watches))
	for i := range watches {
		ids[i] = watches[i].ID
	}
	w.happened(now, job.KindTracked, ids...)
	w.o.Metrics.JobsTracked(items[0].Source, n)
	if n == 1 {
		w.o.Log.Info("job tracked", zap.Stringer("job_id", watches[0].ID))
		return
	}
	w.o.Log.Info(fmt.Sprintf("%d jobs tracked, from %s", n, items[0].Source))
}

// Untrack ends watching; nothing is announced, also when a look is in the air.
// job.ErrNotFound when the job is not watched, job.ErrConflict when it has ended.
func (w *Watcher) Untrack(ctx context.Context, id job.ID) error {
	inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := w.o.Store.Untrack(inner, w.o.Tenant, id); err != nil {
		return fmt.Errorf("untrack: %w", err)
	}
	w.queue.remove(id)
	w.ends.close(id)
	w.happened(job.At(w.o.Now()), job.KindUntracked, id)
	w.o.Log.Info("job untracked", zap.Stringer("job_id", id))
	return nil
}

// PollNow makes the job due at once; the gate is respected. Where it is watched
// by another replica, that one is told. job.ErrNotFound when it is not watched
// here, and there are no others.
func (w *Watcher) PollNow(_ context.Context, id job.ID) error {
	if w.queue.hurry(id, job.At(w.o.Now())) {
		return nil
	}
	if w.o.Bus == nil {
		return fmt.Errorf("poll now: job %s: %w", id, job.ErrNotFound)
	}
	w.say(job.Note{Kind: job.NotePoll, IDs: []job.ID{id}})
	return nil
}

// Live is what this replica knows of a job that it watches. The store has its
// last change; poll count and next look are here.
func (w *Watcher) Live(id job.ID) (job.Watch, bool) {
	watch, _, _, ok := w.queue.get(id)
	return watch, ok
}

// Watched counts the jobs watched here by status, job.Unseen included, and the
// overdue ones.
func (w *Watcher) Watched() (byStatus map[job.Status]int, late job.Lateness) {
	return w.queue.watched()
}
