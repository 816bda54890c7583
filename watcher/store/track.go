package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// insertRows is how many rows go into one INSERT: 13 parameters each, below
// the 32,766 that SQLite takes in one statement.
const insertRows = 500

const trackColumns = `tenant, id, state, owner, status, status_since, tracked_at, deadline_at, abandon_at,
	next_poll_at, interval_ms, polls, overdue, outcome, source, group_name, finished_at, detected_at, updated_at,
	source_data, created_by, error, labels, destinations, history, data_file, query`

// Track takes jobs in, owned by replica, in one transaction, and says for each
// whether it was new.
func (s *Store) Track(ctx context.Context, replica job.ReplicaID, items []job.Tracking) (fresh []bool, err error) {
	defer s.observe("track", time.Now(), &err)
	if len(items) == 0 {
		return nil, nil
	}
	err = s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, _ job.Instant) error {
		if err := s.fence(ctx, tx, replica); err != nil {
			return err
		}
		fresh = make([]bool, len(items))
		for start := 0; start < len(items); start += insertRows {
			end := min(start+insertRows, len(items))
			if err := s.insertJobs(ctx, tx, replica, items[start:end], fresh[start:end]); err != nil {
				return fmt.Errorf("track: %w", err)
			}
			if err := s.join(ctx, tx, items[start:end], fresh[start:end]); err != nil {
				return fmt.Errorf("track: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

func (s *Store) insertJobs(ctx context.Context, tx *sql.Tx, replica job.ReplicaID, items []job.Tracking, fresh []bool) error {
	const perRow = 13 // each once and in order, which SQLite binds fastest
	args := make([]any, 0, len(items)*perRow)
	var text strings.Builder
	text.WriteString("INSERT INTO jobs (" + trackColumns + ") VALUES ")
	first := make(map[job.ID]int, len(items))
	n := 0
	for i := range items {
		t := &items[i]
		if _, twice := first[t.ID]; twice {
			continue // one statement must not meet the same key twice
		}
		first[t.ID] = i
		if n > 0 {
			text.WriteByte(',')
		}
		p := n*perRow + 1
		fmt.Fprintf(&text, "($%d,$%d,'watching',$%d,'',$%d,$%d,$%d,$%d,$%d,0,0,0,'',$%d,$%d,0,0,0,'','','',$%d,$%d,$%d,'','')",
			p, p+1, p+2, p+3, p+4, p+5, p+6, p+7, p+8, p+9, p+10, p+11, p+12)
		labels, destinations, history, err := encodeTracking(t)
		if err != nil {
			return err
		}
		at := int64(t.TrackedAt)
		args = append(args, t.Tenant, t.ID.String(), string(replica), at, at, int64(t.DeadlineAt), int64(t.AbandonAt), at,
			string(t.Source), t.Group, labels, destinations, history)
		n++
	}
	text.WriteString(" ON CONFLICT (tenant, id) DO NOTHING RETURNING id")
	rows, err := tx.QueryContext(ctx, text.String(), args...)
	if err != nil {
		return err
	}
	ids, err := collect(rows, scanID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		fresh[first[id]] = true
	}
	return nil
}

func encodeTracking(t *job.Tracking) (labels, destinations, history string, err error) {
	l, err := json.Marshal(t.Labels)
	if err != nil {
		return "", "", "", err
	}
	d, err := json.Marshal(t.Destinations)
	if err != nil {
		return "", "", "", err
	}
	h, err := json.Marshal([]job.Change{{At: t.TrackedAt, Kind: job.KindTracked}})
	return string(l), string(d), string(h), err
}

func scanID(rows *sql.Rows) (id job.ID, err error) {
	var text string
	if err := rows.Scan(&text); err != nil {
		return id, err
	}
	return job.ParseID(text)
}

// Untrack forgets a watched job with whatever it had announced: an overdue event
// that is not delivered yet never is, and one that is being sent has nothing
// left to settle. The job's row goes first: whoever commits to it comes either
// before, and is forgotten as well, or finds no job.
func (s *Store) Untrack(ctx context.Context, tenant string, id job.ID) (err error) {
	defer s.observe("untrack", time.Now(), &err)
	return s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		done, err := tx.ExecContext(ctx, `DELETE FROM jobs WHERE tenant = $1 AND id = $2 AND state = 'watching'`, tenant, id.String())
		if err != nil {
			return fmt.Errorf("untrack: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil {
			return fmt.Errorf("untrack: %w", err)
		} else if n == 1 {
			t := tally{}
			if err := s.forget(ctx, tx, t, tenant, id.String()); err != nil {
				return err
			}
			if err := s.left(ctx, tx, tenant, id, now); err != nil {
				return err
			}
			return s.count(ctx, tx, t)
		}
		var state string
		switch err := tx.QueryRowContext(ctx, `SELECT state FROM jobs WHERE tenant = $1 AND id = $2`, tenant, id.String()).Scan(&state); {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("untrack %s: %w", id, job.ErrNotFound)
		case err != nil:
			return fmt.Errorf("untrack: %w", err)
		}
		return fmt.Errorf("untrack %s: it has ended: %w", id, job.ErrConflict)
	})
}

const watchColumns = `id, status, status_since, tracked_at, deadline_at, abandon_at, next_poll_at, interval_ms, polls, overdue, shape, started_at, warned`

// Owned yields every watched job whose owner's row the replica holds. It
// streams: a million jobs are never in memory twice.
func (s *Store) Owned(ctx context.Context, replica job.ReplicaID, tenant string, yield func(job.Watch) error) (err error) {
	defer s.observe("owned", time.Now(), &err)
	rows, err := s.read.QueryContext(ctx, `SELECT `+watchColumns+` FROM jobs
		WHERE state = 'watching' AND owner IN (SELECT id FROM replicas WHERE holder = $1) AND tenant = $2`, string(replica), tenant)
	if err != nil {
		return fmt.Errorf("read owned jobs: %w", s.explain(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		w, err := scanWatch(rows)
		if err != nil {
			return fmt.Errorf("read owned jobs: %w", s.explain(err))
		}
		if err := yield(w); err != nil {
			return err
		}
	}
	return s.explain(rows.Err())
}

func scanWatch(rows *sql.Rows) (w job.Watch, err error) {
	var id, status sql.RawBytes
	var overdue, warned int64
	if err := rows.Scan(&id, &status, &w.StatusSince, &w.TrackedAt, &w.DeadlineAt, &w.AbandonAt, &w.NextPollAt, &w.IntervalMS, &w.Polls, &overdue,
		&w.Shape, &w.StartedAt, &warned); err != nil {
		return w, err
	}
	if w.ID, err = job.ParseID(string(id)); err != nil {
		return w, err
	}
	w.Status, w.Overdue = job.ParseStatus(string(status)), overdue != 0
	w.Warned = warned != 0
	return w, nil
}

// Claim takes up to limit watched jobs whose owner's row is gone or held by nobody.
func (s *Store) Claim(ctx context.Context, replica job.ReplicaID, tenant string, limit int) (claimed []job.Watch, err error) {
	defer s.observe("claim", time.Now(), &err)
	err = s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, _ job.Instant) error {
		if err := s.fence(ctx, tx, replica); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `UPDATE jobs SET owner = $1 WHERE tenant = $2 AND id IN (
			SELECT id FROM jobs WHERE state = 'watching' AND owner = '' AND tenant = $2 LIMIT $3`+s.dialect.skip+`)
			RETURNING `+watchColumns, string(replica), tenant, limit)
		if err != nil {
			return fmt.Errorf("claim jobs: %w", err)
		}
		claimed, err = collect(rows, scanWatch)
		return err
	})
	if err != nil {
		return nil, err // what was not stored is not ours to watch
	}
	return claimed, nil
}
