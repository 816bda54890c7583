package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// ClaimDeliveries marks up to limit due deliveries of the destination as sending
// by replica, oldest first, and says when the next one is due.
func (s *Store) ClaimDeliveries(ctx context.Context, replica job.ReplicaID, destination string, limit int) (claimed []job.Outgoing, next job.Instant, err error) {
	defer s.observe("claim_deliveries", time.Now(), &err)
	// Most questions find nothing: they are asked without a write.
	next, now, err := s.nextDelivery(ctx, s.read, destination)
	if err != nil || next == 0 || next > now || limit <= 0 {
		return nil, next, err
	}
	err = s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		if err := s.fence(ctx, tx, replica); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `UPDATE deliveries SET state = 'sending', owner = $1 WHERE id IN (
			SELECT id FROM deliveries WHERE destination = $2 AND state = 'pending' AND next_attempt_at <= $3
			ORDER BY next_attempt_at, created_at, id LIMIT $4`+s.dialect.skip+`)
			RETURNING id, event_id, event_type, tenant, job_id, destination, state, created_at, next_attempt_at, settled_at, tries, attempts`,
			string(replica), destination, int64(now), limit)
		if err != nil {
			return fmt.Errorf("claim deliveries: %w", err)
		}
		ds, err := collect(rows, scanDelivery)
		if err != nil {
			return fmt.Errorf("claim deliveries: %w", err)
		}
		sortDeliveries(ds)
		claimed = make([]job.Outgoing, len(ds))
		for i := range ds {
			claimed[i].Delivery = ds[i]
			if err := s.fill(ctx, tx, &claimed[i]); err != nil {
				return err
			}
		}
		next, _, err = s.nextDelivery(ctx, tx, destination)
		return err
	})
	if err != nil {
		// What was claimed in a transaction that was not stored is not ours to send.
		return nil, 0, err
	}
	return claimed, next, nil
}

// nextDelivery is when the destination's next delivery is due: zero when none
// waits or the destination is paused, not before its own Retry-After.
func (s *Store) nextDelivery(ctx context.Context, q querier, destination string) (next, now job.Instant, err error) {
	if now, err = s.at(ctx, q); err != nil {
		return 0, 0, err
	}
	var paused int64
	var notBefore job.Instant
	err = q.QueryRowContext(ctx, `SELECT paused, not_before FROM destinations WHERE name = $1`, destination).Scan(&paused, &notBefore)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, now, fmt.Errorf("read destination: %w", s.explain(err))
	}
	if paused != 0 {
		return 0, now, nil
	}
	var due *int64
	if err := q.QueryRowContext(ctx, `SELECT min(next_attempt_at) FROM deliveries WHERE destination = $1 AND state = 'pending'`, destination).Scan(&due); err != nil {
		return 0, now, fmt.Errorf("find next delivery: %w", s.explain(err))
	}
	if due == nil {
		return 0, now, nil
	}
	return max(job.Instant(*due), notBefore, 1), now, nil
}

func (s *Store) fill(ctx context.Context, tx *sql.Tx, o *job.Outgoing) error {
	e := &o.Event
	var data string
	if err := tx.QueryRowContext(ctx, `SELECT id, type, tenant, subject, time, created_at, data FROM events WHERE id = $1`, o.EventID).
		Scan(&e.ID, &e.Type, &e.Tenant, &e.Subject, &e.Time, &e.CreatedAt, &data); err != nil {
		return fmt.Errorf("read event %s: %w", o.EventID, err)
	}
	e.Data, e.JobID = []byte(data), o.JobID
	if o.JobID == (job.ID{}) {
		return nil
	}
	var file string
	err := tx.QueryRowContext(ctx, `SELECT query, data_file FROM jobs WHERE tenant = $1 AND id = $2`, o.Tenant, o.JobID.String()).Scan(&o.Query, &file)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read job of event %s: %w", o.EventID, err)
	}
	o.DataFile = secret.New(file)
	return nil
}

// Settle records attempts with the states that follow, in one transaction. What
// is no longer ours to settle (its owner's row was inherited) is refused.
func (s *Store) Settle(ctx context.Context, replica job.ReplicaID, settled []job.Settlement) (err error) {
	defer s.observe("settle", time.Now(), &err)
	return s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		if err := s.fence(ctx, tx, replica); err != nil {
			return err
		}
		t := tally{}
		for i := range settled {
			if err := s.settle(ctx, tx, replica, t, &settled[i], now); err != nil {
				return fmt.Errorf("settle %s: %w", settled[i].DeliveryID, err)
			}
		}
		return s.count(ctx, tx, t)
	})
}

func (s *Store) settle(ctx context.Context, tx *sql.Tx, replica job.ReplicaID, t tally, d *job.Settlement, now job.Instant) error {
	counted, settledAt := d.Attempt != nil && !d.Probe, job.Instant(0)
	if d.State == job.DeliveryDelivered || d.State == job.DeliveryExhausted {
		settledAt = now
	}
	var n int64
	var destination string
	// A destination that was paused meanwhile holds what would go on waiting.
	err := tx.QueryRowContext(ctx, `UPDATE deliveries SET
		state = CASE WHEN $1 = 'pending' AND EXISTS (SELECT 1 FROM destinations WHERE name = deliveries.destination AND paused = 1) THEN 'held' ELSE $1 END,
		owner = '', next_attempt_at = $2, settled_at = $3, tries = tries + $4, attempts = attempts + $7
		WHERE id = $5 AND state = 'sending' AND owner = $6 RETURNING attempts, destination`,
		string(d.State), int64(d.NextAttemptAt), int64(settledAt), flag(counted), d.DeliveryID, string(replica), flag(d.Attempt != nil)).Scan(&n, &destination)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // settled before: the answer to an earlier commit was lost
	}
	if err != nil {
		return err
	}
	if d.State == job.DeliveryDelivered {
		t[destination]++
	}
	if d.Attempt == nil {
		return nil
	}
	if d.Event != nil {
		if err := s.emit(ctx, tx, d.Event, d.Destinations, now); err != nil {
			return err
		}
	}
	a := d.Attempt
	_, err = tx.ExecContext(ctx, `INSERT INTO attempts (delivery_id, n, at, took_us, code, reason, answer, signed_by, next_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		d.DeliveryID, n, int64(a.At), a.Took.Microseconds(), a.Code, string(a.Reason), a.Answer, a.Key, int64(a.NextAt))
	return err
}

// Destinations reads what is remembered about each destination that ever was.
func (s *Store) Destinations(ctx context.Context) (all map[string]job.DestinationState, err error) {
	defer s.observe("destinations", time.Now(), &err)
	rows, err := s.read.QueryContext(ctx, `SELECT name, paused, paused_by, paused_at, not_before, failures FROM destinations`)
	if err != nil {
		return nil, fmt.Errorf("read destinations: %w", s.explain(err))
	}
	states, err := collect(rows, func(rows *sql.Rows) (d job.DestinationState, err error) {
		var paused int64
		err = rows.Scan(&d.Name, &paused, &d.PausedBy, &d.PausedAt, &d.NotBefore, &d.Failures)
		d.Paused = paused != 0
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("read destinations: %w", err)
	}
	all = make(map[string]job.DestinationState, len(states))
	for _, d := range states {
		all[d.Name] = d
	}
	return all, nil
}

// SetDestination stores what is remembered. Pausing turns pending deliveries
// into held ones, resuming held ones into pending, due now.
func (s *Store) SetDestination(ctx context.Context, d job.DestinationState) (err error) {
	defer s.observe("set_destination", time.Now(), &err)
	return s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO destinations (name, paused, paused_by, paused_at, not_before, failures)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET
			paused = excluded.paused, paused_by = excluded.paused_by, paused_at = excluded.paused_at,
			not_before = excluded.not_before, failures = excluded.failures`,
			d.Name, flag(d.Paused), d.PausedBy, int64(d.PausedAt), int64(d.NotBefore), d.Failures); err != nil {
			return fmt.Errorf("store destination: %w", err)
		}
		// The second condition follows from the first; it leads SQLite to the index.
		change := `UPDATE deliveries SET state = 'pending', next_attempt_at = $2 WHERE destination = $1 AND state = 'held' AND state <> 'delivered'`
		if d.Paused {
			change = `UPDATE deliveries SET state = 'held', next_attempt_at = $2 WHERE destination = $1 AND state = 'pending'`
			now = 0
		}
		if _, err := tx.ExecContext(ctx, change, d.Name, int64(now)); err != nil {
			return fmt.Errorf("hold or resume deliveries: %w", err)
		}
		return nil
	})
}
