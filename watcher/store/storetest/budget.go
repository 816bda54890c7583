package storetest

import (
	"slices"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func budgetIsRemembered(w *world) {
	none, err := w.Budget(w.ctx(), tenant)
	w.must(err)
	minute := job.BudgetState{Span: time.Minute, Level: 12.25, Spent: 7, Since: w.at(), At: w.at()}
	day := job.BudgetState{Span: 24 * time.Hour, Level: -0.5, Spent: 4711, Since: w.at(), At: w.at()}
	w.must(w.SaveBudget(w.ctx(), tenant, []job.BudgetState{minute, day}))
	minute.Spent, minute.Level = 8, 11
	w.must(w.SaveBudget(w.ctx(), tenant, []job.BudgetState{minute}))
	w.must(w.SaveBudget(w.ctx(), "another", []job.BudgetState{{Span: time.Hour, Spent: 1}}))
	got, err := w.Budget(w.ctx(), tenant)
	w.must(err)
	slices.SortFunc(got, func(a, b job.BudgetState) int { return int(a.Span - b.Span) })
	if len(none) != 0 || !slices.Equal(got, []job.BudgetState{minute, day}) {
		w.Errorf("read %+v before and %+v after, want nothing, and what was stored", none, got)
	}
}
