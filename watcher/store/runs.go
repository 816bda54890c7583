package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Runs reads the newest finished runs of queries of one shape, at most limit of
// them, the newest last. What was lost or abandoned is no run: nobody saw its end.
func (s *Store) Runs(ctx context.Context, tenant string, shape job.Shape, limit int) (runs []job.Run, err error) {
	defer s.observe("runs", time.Now(), &err)
	rows, err := s.read.QueryContext(ctx, `SELECT took_ms, processing_ms, output_rows, outcome FROM jobs
		WHERE tenant = $1 AND shape = $2 AND state = 'finished' AND shape <> 0 AND outcome IN ('completed', 'failed', 'cancelled')
		ORDER BY detected_at DESC LIMIT $3`, tenant, int64(shape), limit)
	if err != nil {
		return nil, fmt.Errorf("read past runs: %w", s.explain(err))
	}
	runs, err = collect(rows, func(rows *sql.Rows) (r job.Run, err error) {
		var took int64
		var ms *int64
		var outcome job.Outcome
		if err := rows.Scan(&took, &ms, &r.Rows, &outcome); err != nil {
			return r, err
		}
		r.Took, r.Completed = time.Duration(took)*time.Millisecond, outcome == job.OutcomeCompleted
		r.Processing = duration(ms)
		return r, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read past runs: %w", s.explain(err))
	}
	slices.Reverse(runs)
	return runs, nil
}
