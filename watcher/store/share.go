package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// mostFree bounds the counting of jobs that nobody owns.
const mostFree = 100_000

// pulse counts who is alive, and the jobs that nobody owns.
// A replica counts for two leases: by then somebody has inherited it.
func (s *Store) pulse(ctx context.Context, tx *sql.Tx, now job.Instant, lease time.Duration, p *job.Pulse) error {
	if err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(jobs), 0) FROM replicas WHERE id = holder AND heartbeat_at > $1`,
		int64(now.Add(-2*lease))).Scan(&p.Replicas, &p.Jobs); err != nil {
		return fmt.Errorf("count replicas: %w", err)
	}
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'watching' AND owner = '' LIMIT $1) AS free`,
		mostFree).Scan(&p.Free); err != nil {
		return fmt.Errorf("count free jobs: %w", err)
	}
	return nil
}

// HandBack frees jobs that the replica owns, so that others take them. Those
// that it does not own any more, and those that have ended, stay as they are.
func (s *Store) HandBack(ctx context.Context, replica job.ReplicaID, tenant string, ids []job.ID) (err error) {
	defer s.observe("hand_back", time.Now(), &err)
	return s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, _ job.Instant) error {
		if err := s.fence(ctx, tx, replica); err != nil {
			return err
		}
		for start := 0; start < len(ids); start += insertRows {
			part := ids[start:min(start+insertRows, len(ids))]
			args := []any{tenant, string(replica)}
			for _, id := range part {
				args = append(args, id.String())
			}
			if _, err := tx.ExecContext(ctx, `UPDATE jobs SET owner = '' WHERE tenant = $1 AND state = 'watching'
				AND owner IN (SELECT id FROM replicas WHERE holder = $2) AND id IN (`+holders(3, len(part))+`)`, args...); err != nil {
				return fmt.Errorf("hand back: %w", err)
			}
		}
		return nil
	})
}
