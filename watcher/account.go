package watcher

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// accountEvery is how often what has been spent is stored: a few rows,
	// whatever is spent.
	accountEvery = time.Minute
	// accountTimeout bounds one of these: it is bookkeeping.
	accountTimeout = 5 * time.Second
)

// account keeps the budget across restarts. A store that is away costs memory of a minute, and no look.
func (w *Watcher) account(ctx context.Context) {
	keep := w.o.BudgetStore
	w.bookkeep(ctx, "read the budget", func(ctx context.Context) error {
		saved, err := keep.Budget(ctx, w.o.Tenant)
		w.budget.restore(saved, w.o.Now())
		return err
	})
	var stored int64 = -1
	for last := false; !last; {
		pause(ctx, accountEvery)
		last = ctx.Err() != nil // what was spent is stored at the end as well
		if spent := w.budget.total(); spent != stored {
			w.bookkeep(context.WithoutCancel(ctx), "store the budget", func(ctx context.Context) error {
				return keep.SaveBudget(ctx, w.o.Tenant, w.budget.states(w.o.Now()))
			})
			stored = spent
		}
	}
}

func (w *Watcher) bookkeep(ctx context.Context, what string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	if err := do(ctx); err != nil && ctx.Err() == nil {
		w.o.Log.Debug(what+": tried again in a minute", zap.Error(err))
	}
}

// Windows takes what an answer told of the tenant's rate limits.
func (w *Watcher) Windows(told []job.BudgetWindow) { w.budget.learn(told, w.o.Now()) }

// Budget shows the tenant's windows and what of them is ours.
func (w *Watcher) Budget() job.BudgetView {
	now := w.o.Now()
	return w.budget.view(w.o.Tenant, w.queue.late(now), now)
}
