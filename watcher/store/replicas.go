package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// fence makes sure, in the same transaction, that replica still holds its row.
// On PostgreSQL the row is locked against whoever wants to inherit it.
func (s *Store) fence(ctx context.Context, tx *sql.Tx, replica job.ReplicaID) error {
	var id string
	err := tx.QueryRowContext(ctx, "SELECT id FROM replicas WHERE id = $1 AND holder = $1"+s.dialect.share, string(replica)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("replica %s: %w", replica, job.ErrOwnerLost)
	}
	if err != nil {
		return fmt.Errorf("check ownership: %w", err)
	}
	return nil
}

// Register enters the replica and lets it inherit every row whose heartbeat is
// older than lease, or every row at all when alone. It may be repeated.
func (s *Store) Register(ctx context.Context, r job.Replica, lease time.Duration, alone bool) (err error) {
	defer s.observe("register", time.Now(), &err)
	return s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		// The same id again is the same replica whose answer was lost, unless
		// somebody has inherited it meanwhile.
		done, err := tx.ExecContext(ctx, `INSERT INTO replicas (id, holder, host, version, started_at, heartbeat_at)
			VALUES ($1, $1, $2, $3, $4, $4) ON CONFLICT (id) DO UPDATE SET holder = excluded.id, host = excluded.host,
			version = excluded.version, heartbeat_at = excluded.heartbeat_at WHERE replicas.holder IN ('', excluded.id)`,
			string(r.ID), r.Host, r.Version, int64(now))
		if err != nil {
			return fmt.Errorf("register replica: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil {
			return fmt.Errorf("register replica: %w", err)
		} else if n == 0 {
			return fmt.Errorf("register replica %s: it has been inherited: %w", r.ID, job.ErrOwnerLost)
		}
		before := int64(now.Add(-lease))
		if alone {
			before = int64(now) + int64(24*time.Hour/time.Millisecond)*36500
		}
		_, err = s.inherit(ctx, tx, r.ID, now, before)
		return err
	})
}

// inherit gives the rows of replicas whose heartbeat is older than before to
// heir, and makes what they were sending pending again.
func (s *Store) inherit(ctx context.Context, tx *sql.Tx, heir job.ReplicaID, now job.Instant, before int64) (int, error) {
	rows, err := tx.QueryContext(ctx, `SELECT id FROM replicas WHERE holder <> $1 AND heartbeat_at < $2`+s.dialect.skip, string(heir), before)
	if err != nil {
		return 0, fmt.Errorf("find dead replicas: %w", err)
	}
	dead, err := collect(rows, func(rows *sql.Rows) (id string, err error) { return id, rows.Scan(&id) })
	if err != nil {
		return 0, fmt.Errorf("find dead replicas: %w", err)
	}
	for _, id := range dead {
		if _, err := tx.ExecContext(ctx, `UPDATE replicas SET holder = $1, heartbeat_at = $2 WHERE id = $3`, string(heir), int64(now), id); err != nil {
			return 0, fmt.Errorf("inherit: %w", err)
		}
		// Whoever was sending is gone: nobody knows whether it arrived, so it is
		// sent again, under the same webhook-id.
		if _, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'pending', owner = '', next_attempt_at = $1
			WHERE state = 'sending' AND owner = $2`, int64(now), id); err != nil {
			return 0, fmt.Errorf("inherit deliveries: %w", err)
		}
	}
	return len(dead), nil
}

// Heartbeat renews the replica's rows, says how many jobs it watches, inherits
// dead replicas' rows, and tells about the others.
func (s *Store) Heartbeat(ctx context.Context, id job.ReplicaID, lease time.Duration, jobs int) (_ job.Pulse, err error) {
	defer s.observe("heartbeat", time.Now(), &err)
	// A caller that gives up leaves the transaction running: it writes here still,
	// and nobody may read it then.
	p := &job.Pulse{}
	err = s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		if err := s.fence(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE replicas SET heartbeat_at = $1, jobs = CASE WHEN id = holder THEN $3 ELSE 0 END WHERE holder = $2`,
			int64(now), string(id), jobs); err != nil {
			return fmt.Errorf("renew heartbeat: %w", err)
		}
		// Inherited rows that own nothing any more have done their service.
		if _, err := tx.ExecContext(ctx, `DELETE FROM replicas WHERE holder = $1 AND id <> $1
			AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.owner = replicas.id AND state = 'watching')`, string(id)); err != nil {
			return fmt.Errorf("drop empty replica rows: %w", err)
		}
		var err error
		if p.Inherited, err = s.inherit(ctx, tx, id, now, int64(now.Add(-lease))); err != nil {
			return err
		}
		return s.pulse(ctx, tx, now, lease, p)
	})
	if err != nil {
		return job.Pulse{}, err
	}
	return *p, nil
}

// Release frees everything that the replica owns: its rows look dead at once,
// and whoever comes next inherits them.
func (s *Store) Release(ctx context.Context, id job.ReplicaID) (err error) {
	defer s.observe("release", time.Now(), &err)
	return s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		if err := s.fence(ctx, tx, id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = 'pending', owner = '', next_attempt_at = $1
			WHERE state = 'sending' AND owner = $2`, int64(now), string(id)); err != nil {
			return fmt.Errorf("release deliveries: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE replicas SET holder = '', heartbeat_at = 0 WHERE holder = $1`, string(id)); err != nil {
			return fmt.Errorf("release: %w", err)
		}
		if s.dialect.postgres {
			// With the commit, so that nobody looks before there is something to take.
			if _, err := tx.ExecContext(ctx, "SELECT pg_notify($1, $2)", channel, `{"kind":"`+job.NoteFree+`"}`); err != nil {
				return fmt.Errorf("release: tell the others: %w", err)
			}
		}
		return nil
	})
}

// ReplicaCount counts replicas that hold their own row and whose heart beats:
// within a minute, which is twice the lease.
func (s *Store) ReplicaCount() (n int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	now, err := s.at(ctx, s.read)
	if err != nil {
		return 0, err
	}
	err = s.read.QueryRowContext(ctx, `SELECT count(*) FROM replicas WHERE id = holder AND heartbeat_at > $1`, int64(now.Add(-time.Minute))).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count replicas: %w", err)
	}
	return n, nil
}

// collect scans all rows and closes them.
func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) (all []T, err error) {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
