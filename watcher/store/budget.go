package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Budget reads what was known of the tenant's rate-limit windows.
func (s *Store) Budget(ctx context.Context, tenant string) (all []job.BudgetState, err error) {
	defer s.observe("budget", time.Now(), &err)
	rows, err := s.read.QueryContext(ctx, `SELECT span_ms, level, spent, since, written_at FROM budget WHERE tenant = $1`, tenant)
	if err != nil {
		return nil, fmt.Errorf("read budget: %w", s.explain(err))
	}
	all, err = collect(rows, func(rows *sql.Rows) (b job.BudgetState, err error) {
		var ms int64
		err = rows.Scan(&ms, &b.Level, &b.Spent, &b.Since, &b.At)
		b.Span = time.Duration(ms) * time.Millisecond
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("read budget: %w", err)
	}
	return all, nil
}

// SaveBudget stores what is known of the tenant's windows. Of several replicas,
// each with its share, the last to write is remembered.
func (s *Store) SaveBudget(ctx context.Context, tenant string, states []job.BudgetState) (err error) {
	defer s.observe("save_budget", time.Now(), &err)
	return s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, _ job.Instant) error {
		for i := range states {
			b := &states[i]
			if _, err := tx.ExecContext(ctx, `INSERT INTO budget (tenant, span_ms, level, spent, since, written_at)
				VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, span_ms) DO UPDATE SET level = excluded.level,
				spent = excluded.spent, since = excluded.since, written_at = excluded.written_at`,
				tenant, b.Span.Milliseconds(), b.Level, b.Spent, int64(b.Since), int64(b.At)); err != nil {
				return fmt.Errorf("store budget: %w", err)
			}
		}
		return nil
	})
}
