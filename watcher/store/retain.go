package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Purge deletes up to limit jobs that ended before the instant, with their
// events and deliveries. A job that still owes a delivery stays.
func (s *Store) Purge(ctx context.Context, before job.Instant, limit int) (n int, err error) {
	defer s.observe("purge", time.Now(), &err)
	err = s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, _ job.Instant) error {
		rows, err := tx.QueryContext(ctx, `SELECT tenant, id FROM jobs WHERE state = 'finished' AND detected_at < $1
			AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.tenant = jobs.tenant AND d.job_id = jobs.id AND d.state IN ('pending', 'sending', 'held'))
			ORDER BY detected_at LIMIT $2`, int64(before), limit)
		if err != nil {
			return fmt.Errorf("find old jobs: %w", err)
		}
		type key struct{ tenant, id string }
		old, err := collect(rows, func(rows *sql.Rows) (k key, err error) { return k, rows.Scan(&k.tenant, &k.id) })
		if err != nil {
			return fmt.Errorf("find old jobs: %w", err)
		}
		t := tally{}
		for _, k := range old {
			if err := s.forget(ctx, tx, t, k.tenant, k.id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM jobs WHERE tenant = $1 AND id = $2`, k.tenant, k.id); err != nil {
				return fmt.Errorf("delete old job: %w", err)
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM group_jobs WHERE tenant = $1 AND job_id = $2`, k.tenant, k.id); err != nil {
				return fmt.Errorf("delete old job: %w", err)
			}
		}
		n = len(old)
		if err := s.purgeJobless(ctx, tx, t, before, limit); err != nil {
			return err
		}
		return s.count(ctx, tx, t)
	})
	return n, err
}

// forget deletes the events, deliveries and attempts of a job.
func (s *Store) forget(ctx context.Context, tx *sql.Tx, t tally, tenant, id string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM attempts WHERE delivery_id IN
		(SELECT id FROM deliveries WHERE tenant = $1 AND job_id = $2)`, tenant, id); err != nil {
		return fmt.Errorf("delete what a job announced: %w", err)
	}
	// Those that are not delivered are not counted either.
	if _, err := s.leave(ctx, tx, t, `DELETE FROM deliveries WHERE tenant = $1 AND job_id = $2 AND state = 'delivered' RETURNING destination`, tenant, id); err != nil {
		return fmt.Errorf("delete what a job announced: %w", err)
	}
	for _, statement := range []string{
		`DELETE FROM deliveries WHERE tenant = $1 AND job_id = $2`,
		`DELETE FROM events WHERE tenant = $1 AND job_id = $2`,
	} {
		if _, err := tx.ExecContext(ctx, statement, tenant, id); err != nil {
			return fmt.Errorf("delete what a job announced: %w", err)
		}
	}
	return nil
}

// purgeJobless deletes old events that are about no single job, with their
// deliveries, unless one is still owed; and groups that have no jobs left.
func (s *Store) purgeJobless(ctx context.Context, tx *sql.Tx, t tally, before job.Instant, limit int) error {
	rows, err := tx.QueryContext(ctx, `SELECT id FROM events WHERE job_id = '' AND created_at < $1
		AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = events.id AND d.state IN ('pending', 'sending', 'held'))
		ORDER BY created_at LIMIT $2`, int64(before), limit)
	if err != nil {
		return fmt.Errorf("find old events: %w", err)
	}
	old, err := collect(rows, func(rows *sql.Rows) (id string, err error) { return id, rows.Scan(&id) })
	if err != nil {
		return fmt.Errorf("find old events: %w", err)
	}
	for _, id := range old {
		if _, err := tx.ExecContext(ctx, `DELETE FROM attempts WHERE delivery_id IN (SELECT id FROM deliveries WHERE event_id = $1)`, id); err != nil {
			return fmt.Errorf("delete old event: %w", err)
		}
		if _, err := s.leave(ctx, tx, t, `DELETE FROM deliveries WHERE event_id = $1 AND state = 'delivered' RETURNING destination`, id); err != nil {
			return fmt.Errorf("delete old event: %w", err)
		}
		for _, statement := range []string{`DELETE FROM deliveries WHERE event_id = $1`, `DELETE FROM events WHERE id = $1`} {
			if _, err := tx.ExecContext(ctx, statement, id); err != nil {
				return fmt.Errorf("delete old event: %w", err)
			}
		}
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM job_groups WHERE announced_at > 0 AND announced_at < $1
		AND NOT EXISTS (SELECT 1 FROM group_jobs m WHERE m.tenant = job_groups.tenant AND m.name = job_groups.name)`, int64(before))
	if err != nil {
		return fmt.Errorf("delete old groups: %w", err)
	}
	return nil
}
