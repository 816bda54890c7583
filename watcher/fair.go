package watcher

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// A replica keeps up to a quarter more than its fair share, and some jobs
	// beyond: work that moves for less costs more than it spares.
	fairSlack = 4
	fairFew   = 16
	// handBatch is how many are handed back in one transaction, and handMost at
	// one heartbeat: 1,000,000 jobs are shared out within two minutes.
	handBatch = 5000
	handMost  = 100_000
)

// room is how many of the free jobs a replica should take.
func room(mine int, p job.Pulse) int {
	if p.Free == 0 {
		return 0
	}
	n := max(p.Replicas, 1)
	return max((p.Jobs+p.Free+n-1)/n-mine, 0)
}

// excess is how many of its jobs a replica should hand back.
func excess(mine int, p job.Pulse) int {
	if p.Replicas < 2 || p.Jobs < mine {
		return 0
	}
	fair := (p.Jobs + p.Replicas - 1) / p.Replicas
	if mine <= fair+max(fair/fairSlack, fairFew) {
		return 0
	}
	return mine - fair
}

// divide heeds what a heartbeat has told about the others.
func (w *Watcher) divide(ctx context.Context, p job.Pulse) {
	w.budget.share(p.Replicas)
	w.gate.share(w.o.MaxInFlight, p.Replicas)
	if w.o.Replicas != nil {
		w.o.Replicas(p.Replicas)
	}
	if p.Inherited > 0 {
		w.o.Log.Info(fmt.Sprintf("took over from %d replicas that are gone", p.Inherited))
		w.claim.doubt()
	}
	mine := w.queue.size()
	if n := room(mine, p); n > 0 {
		w.claim.search(n)
	}
	w.handBack(ctx, min(excess(mine, p), handMost))
}

// handBack lets others have n of our jobs: those that are looked at last. A job
// leaves the queue before it is free, so that there are never two who look.
func (w *Watcher) handBack(ctx context.Context, n int) {
	for n > 0 && ctx.Err() == nil {
		ids := w.queue.yield(min(n, handBatch))
		if len(ids) == 0 {
			return
		}
		n -= len(ids)
		inner, cancel := context.WithTimeout(ctx, storeTimeout)
		err := w.o.Store.HandBack(inner, w.Replica(), w.o.Tenant, ids)
		cancel()
		if err != nil {
			w.o.Log.Warn("jobs could not be handed back; what is still ours is read again", zap.Error(err))
			w.claim.doubt()
			return
		}
		w.o.Log.Info(fmt.Sprintf("handed %d jobs back: others have less", len(ids)))
		w.say(job.Note{Kind: job.NoteFree})
	}
}
