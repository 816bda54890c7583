package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const deliveryColumns = `id, event_id, event_type, tenant, job_id, destination, state, created_at, next_attempt_at, settled_at, tries, attempts`

func scanDelivery(rows *sql.Rows) (d job.Delivery, err error) {
	var id string
	if err := rows.Scan(&d.ID, &d.EventID, &d.EventType, &d.Tenant, &id, &d.Destination, &d.State, &d.CreatedAt, &d.NextAttemptAt, &d.SettledAt, &d.Tries, &d.Made); err != nil {
		return d, err
	}
	if id != "" {
		d.JobID, err = job.ParseID(id)
	}
	if d.State != job.DeliveryPending {
		d.NextAttemptAt = 0
	}
	return d, err
}

// sortDeliveries puts claimed rows in order: RETURNING keeps none.
func sortDeliveries(ds []job.Delivery) {
	slices.SortFunc(ds, func(a, b job.Delivery) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
}

// Deliveries reads one page of the ledger, newest first, with every attempt.
func (s *Store) Deliveries(ctx context.Context, f job.DeliveryFilter) (ds []job.Delivery, next string, err error) {
	defer s.observe("list_deliveries", time.Now(), &err)
	limit := pageLimit(f.Limit)
	w := deliveryWhere(f)
	if f.Cursor != "" {
		at, id, err := parseCursor(f.Cursor)
		if err != nil {
			return nil, "", err
		}
		w.add("(created_at < ? OR (created_at = ? AND id < ?))", at, at, id)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT `+deliveryColumns+` FROM deliveries`+w.text()+
		` ORDER BY created_at DESC, id DESC LIMIT `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return nil, "", fmt.Errorf("list deliveries: %w", s.explain(err))
	}
	if ds, err = collect(rows, scanDelivery); err != nil {
		return nil, "", fmt.Errorf("list deliveries: %w", s.explain(err))
	}
	if len(ds) > limit {
		ds = ds[:limit]
		next = cursor(ds[limit-1].CreatedAt, ds[limit-1].ID)
	}
	return ds, next, s.attempts(ctx, ds)
}

func deliveryWhere(f job.DeliveryFilter) *where {
	w := &where{}
	w.in("state", texts(f.States))
	if len(f.States) > 0 && !slices.Contains(f.States, job.DeliveryDelivered) {
		// It follows from the above, but SQLite must read it to see that the index
		// of what is not delivered will do.
		w.add("state <> 'delivered'")
	}
	if f.Destination != "" {
		w.add("destination = ?", f.Destination)
	}
	if f.Job != (job.ID{}) {
		w.add("job_id = ?", f.Job.String())
	}
	if f.Since != 0 {
		w.add("created_at >= ?", int64(f.Since))
	}
	return w
}

func (s *Store) attempts(ctx context.Context, ds []job.Delivery) error {
	if len(ds) == 0 {
		return nil
	}
	index := make(map[string]*job.Delivery, len(ds))
	args := make([]any, len(ds))
	for i := range ds {
		index[ds[i].ID], args[i] = &ds[i], ds[i].ID
	}
	rows, err := s.read.QueryContext(ctx, `SELECT delivery_id, n, at, took_us, code, reason, answer, signed_by, next_at FROM attempts
		WHERE delivery_id IN (`+holders(1, len(ds))+`) ORDER BY delivery_id, n`, args...)
	if err != nil {
		return fmt.Errorf("read attempts: %w", s.explain(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		var a job.Attempt
		var us int64
		if err := rows.Scan(&id, &a.N, &a.At, &us, &a.Code, &a.Reason, &a.Answer, &a.Key, &a.NextAt); err != nil {
			return fmt.Errorf("read attempts: %w", err)
		}
		a.Took = time.Duration(us) * time.Microsecond
		index[id].Attempts = append(index[id].Attempts, a)
	}
	return s.explain(rows.Err())
}

// Delivery reads one delivery with every attempt.
func (s *Store) Delivery(ctx context.Context, id string) (d job.Delivery, err error) {
	defer s.observe("delivery", time.Now(), &err)
	rows, err := s.read.QueryContext(ctx, `SELECT `+deliveryColumns+` FROM deliveries WHERE id = $1`, id)
	if err != nil {
		return d, fmt.Errorf("read delivery: %w", s.explain(err))
	}
	ds, err := collect(rows, scanDelivery)
	if err != nil {
		return d, fmt.Errorf("read delivery: %w", err)
	}
	if len(ds) == 0 {
		return d, fmt.Errorf("delivery %s: %w", job.Cut(id, 80), job.ErrNotFound)
	}
	err = s.attempts(ctx, ds)
	return ds[0], err
}

// What is replayed at once goes out in groups, so that ten thousand replays
// neither overrun a receiver nor keep what happens meanwhile waiting: at most a
// hundred a second for each destination.
const (
	replayGroup = 25
	replayEvery = 250 * time.Millisecond
)

const replay = `UPDATE deliveries SET tries = 0, settled_at = 0,
	state = CASE WHEN EXISTS (SELECT 1 FROM destinations WHERE name = deliveries.destination AND paused = 1) THEN 'held' ELSE 'pending' END,
	next_attempt_at = `

// Replay makes these deliveries due again, under the same ids. One that is
// unknown makes all fail; one that is being sent is left to that.
func (s *Store) Replay(ctx context.Context, ids []string) (n int, err error) {
	defer s.observe("replay", time.Now(), &err)
	err = s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		n = 0
		t := tally{}
		for i, id := range ids {
			var state string
			if err := tx.QueryRowContext(ctx, `SELECT state FROM deliveries WHERE id = $1`, id).Scan(&state); errors.Is(err, sql.ErrNoRows) {
				return fmt.Errorf("delivery %s: %w", job.Cut(id, 80), job.ErrNotFound)
			} else if err != nil {
				return fmt.Errorf("replay: %w", err)
			}
			changed, err := s.replay(ctx, tx, t, now.Add(time.Duration(i/replayGroup)*replayEvery), &where{conditions: []string{"id = $1"}, args: []any{id}})
			if err != nil {
				return err
			}
			n += changed
		}
		return s.count(ctx, tx, t)
	})
	return n, err
}

// ReplayWhere is Replay for everything that the filter picks, oldest first.
func (s *Store) ReplayWhere(ctx context.Context, f job.DeliveryFilter) (n int, err error) {
	defer s.observe("replay", time.Now(), &err)
	err = s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		t := tally{}
		if n, err = s.replay(ctx, tx, t, now, deliveryWhere(f)); err != nil {
			return err
		}
		return s.count(ctx, tx, t)
	})
	return n, err
}

// replay makes due again what w picks, in groups; those that were delivered come
// last, so that none is changed twice. The state is asked for again outside of
// picked: on PostgreSQL a lane may have claimed a row since it was picked.
func (s *Store) replay(ctx context.Context, tx *sql.Tx, t tally, now job.Instant, w *where) (int, error) {
	args := append(slices.Clone(w.args), int64(now))
	picked := where{conditions: append(slices.Clone(w.conditions), "state <> 'sending'")}
	due := fmt.Sprintf(`WITH picked AS (
		SELECT id AS picked_id, (row_number() OVER (PARTITION BY destination ORDER BY created_at, id) - 1) / %d AS place FROM deliveries%s)
		%s$%d + picked.place * %d FROM picked WHERE deliveries.id = picked.picked_id AND deliveries.state `,
		replayGroup, picked.text(), replay, len(args), replayEvery.Milliseconds())
	done, err := tx.ExecContext(ctx, due+"NOT IN ('sending', 'delivered')", args...)
	if err != nil {
		return 0, fmt.Errorf("replay: %w", err)
	}
	changed, err := done.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("replay: %w", err)
	}
	n, err := s.leave(ctx, tx, t, due+"= 'delivered' RETURNING destination", args...)
	if err != nil {
		return 0, fmt.Errorf("replay: %w", err)
	}
	return int(changed) + n, nil
}
