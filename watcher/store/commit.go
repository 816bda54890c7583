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

// maxHistory bounds a job's history: an upstream that alternates between two
// words must not make a row grow for ever. The first and the newest are kept.
const maxHistory = 200

// Commit stores updates in one transaction: state, event and deliveries of each
// whole or not at all.
func (s *Store) Commit(ctx context.Context, replica job.ReplicaID, updates []job.Update) (results []error, err error) {
	defer s.observe("commit", time.Now(), &err)
	if len(updates) == 0 {
		return nil, nil
	}
	err = s.queue.do(ctx, func(ctx context.Context, tx *sql.Tx, now job.Instant) error {
		if err := s.fence(ctx, tx, replica); err != nil {
			return err
		}
		results = make([]error, len(updates))
		for i := range updates {
			switch err := s.apply(ctx, tx, replica, &updates[i], now); {
			case errors.Is(err, job.ErrNotFound), errors.Is(err, job.ErrConflict):
				results[i] = err // nothing was written for this one
			case err != nil:
				return fmt.Errorf("commit job %s: %w", updates[i].ID, err)
			}
		}
		return nil
	})
	return results, err
}

const updateJob = `UPDATE jobs SET state = $4, status = $5, status_since = $6, outcome = $7, overdue = $8,
	finished_at = $9, detected_at = $10, next_poll_at = $11, interval_ms = $12, polls = $13, history = $14, warned = $15
	WHERE tenant = $1 AND id = $2 AND state = 'watching' AND owner IN (SELECT id FROM replicas WHERE holder = $3)`

const updateSeen = `UPDATE jobs SET query = $3, source_data = $4, created_by = $5, output_rows = $6, processing_ms = $7,
	remaining_retries = $8, error = $9, updated_at = $10, data_file = $11, shape = $12, started_at = $13, took_ms = $14, anomaly = $15, delay_ms = $16 WHERE tenant = $1 AND id = $2`

func (s *Store) apply(ctx context.Context, tx *sql.Tx, replica job.ReplicaID, u *job.Update, now job.Instant) error {
	id := u.ID.String()
	history, group, err := s.history(ctx, tx, u)
	if err != nil {
		return err
	}
	state, detected := job.Watching, job.Instant(0)
	if u.Outcome != job.Undecided {
		state, detected = job.Finished, u.At
	}
	done, err := tx.ExecContext(ctx, updateJob, u.Tenant, id, string(replica), string(state), string(u.Status), int64(u.StatusSince),
		string(u.Outcome), flag(u.Overdue), int64(u.FinishedAt), int64(detected), int64(u.NextPollAt), u.Interval.Milliseconds(), u.Polls, history, flag(u.Warned))
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return s.missed(ctx, tx, u)
	}
	if seen := u.Seen; seen != nil {
		file := ""
		if u.KeepDataFile {
			file = seen.DataFile.Reveal()
		}
		if _, err := tx.ExecContext(ctx, updateSeen, u.Tenant, id, seen.Query, seen.SourceData, seen.CreatedBy, seen.OutputRows,
			milliseconds(seen.ProcessingTime), seen.RemainingRetries, seen.Error, int64(job.At(seen.UpdatedAt)), file,
			int64(u.Shape), int64(u.StartedAt), u.Took.Milliseconds(), strings.Join(u.Anomaly, ","), milliseconds(u.Delay)); err != nil {
			return err
		}
	}
	if u.Event != nil {
		if err := s.emit(ctx, tx, u.Event, u.Destinations, now); err != nil {
			return err
		}
	}
	if u.Outcome == job.Undecided || group == "" {
		return nil
	}
	return s.ended(ctx, tx, u, group, now)
}

// missed says why an update met no row: the job is gone, ends already (a commit
// whose answer was lost is repeated, and finishing twice is finishing once), or
// belongs to another replica.
func (s *Store) missed(ctx context.Context, tx *sql.Tx, u *job.Update) error {
	var state, outcome string
	err := tx.QueryRowContext(ctx, `SELECT state, outcome FROM jobs WHERE tenant = $1 AND id = $2`, u.Tenant, u.ID.String()).Scan(&state, &outcome)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("job %s: %w", u.ID, job.ErrNotFound)
	case err != nil:
		return err
	case state == string(job.Finished) && outcome == string(u.Outcome):
		return nil
	}
	return fmt.Errorf("job %s: %w", u.ID, job.ErrConflict)
}

// history is the job's with what the update adds, and its group.
func (s *Store) history(ctx context.Context, tx *sql.Tx, u *job.Update) (text, group string, err error) {
	err = tx.QueryRowContext(ctx, `SELECT history, group_name FROM jobs WHERE tenant = $1 AND id = $2`, u.Tenant, u.ID.String()).Scan(&text, &group)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", fmt.Errorf("job %s: %w", u.ID, job.ErrNotFound)
	}
	if err != nil || len(u.History) == 0 {
		return text, group, err
	}
	var all []job.Change
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return "", "", fmt.Errorf("read history: %w", err)
	}
	all = append(all, u.History...)
	if over := len(all) - maxHistory; over > 0 {
		all = append(all[:1], all[1+over:]...)
	}
	b, err := json.Marshal(all)
	return string(b), group, err
}

// emit stores an event and the deliveries it owes. One that is stored already
// is left as it is.
func (s *Store) emit(ctx context.Context, tx *sql.Tx, e *job.Event, destinations []string, now job.Instant) error {
	jobID := ""
	if e.JobID != (job.ID{}) {
		jobID = e.JobID.String()
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO events (id, type, tenant, subject, job_id, time, created_at, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING`,
		e.ID, string(e.Type), e.Tenant, e.Subject, jobID, int64(e.Time), int64(now), string(e.Data)); err != nil {
		return fmt.Errorf("store event: %w", err)
	}
	for _, d := range destinations {
		if _, err := tx.ExecContext(ctx, `INSERT INTO deliveries
			(id, event_id, event_type, tenant, job_id, destination, state, owner, tries, attempts, created_at, next_attempt_at, settled_at)
			VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN EXISTS (SELECT 1 FROM destinations WHERE name = $6 AND paused = 1) THEN 'held' ELSE 'pending' END,
			'', 0, 0, $7, $7, 0) ON CONFLICT (id) DO NOTHING`,
			job.DeliveryID(e.ID, d), e.ID, string(e.Type), e.Tenant, jobID, d, int64(now)); err != nil {
			return fmt.Errorf("store delivery: %w", err)
		}
	}
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func milliseconds(d *time.Duration) *int64 {
	if d == nil {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}
