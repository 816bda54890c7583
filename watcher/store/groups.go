package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// A group is announced once in each round, in the transaction that ends the job
// which decides it: the first that does not complete, or the last. The row of
// job_groups is locked by writing to it, so that on PostgreSQL a job that joins
// and a job that ends at the same moment, or two that end, wait for each other.

// join enters new jobs into their groups. A group that has been announced begins
// its next round.
func (s *Store) join(ctx context.Context, tx *sql.Tx, items []job.Tracking, fresh []bool) error {
	rounds := map[string]int64{}
	var args []any
	var values strings.Builder
	for i := range items {
		t := &items[i]
		if !fresh[i] || t.Group == "" {
			continue
		}
		key := t.Tenant + "\x00" + t.Group
		if rounds[key] == 0 {
			round, err := s.round(ctx, tx, t)
			if err != nil {
				return fmt.Errorf("join group %s: %w", t.Group, err)
			}
			rounds[key] = round
		}
		n := len(args)
		if n > 0 {
			values.WriteByte(',')
		}
		fmt.Fprintf(&values, "($%d,$%d,$%d,$%d,'')", n+1, n+2, n+3, n+4)
		args = append(args, t.Tenant, t.ID.String(), t.Group, rounds[key])
	}
	if len(args) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO group_jobs (tenant, job_id, name, round, outcome) VALUES `+values.String()+`
		ON CONFLICT (tenant, job_id) DO UPDATE SET name = excluded.name, round = excluded.round, outcome = ''`, args...)
	if err != nil {
		return fmt.Errorf("join groups: %w", err)
	}
	return nil
}

// round is the group's open round; the job founds one if there is none.
func (s *Store) round(ctx context.Context, tx *sql.Tx, t *job.Tracking) (round int64, err error) {
	err = tx.QueryRowContext(ctx, `INSERT INTO job_groups (tenant, name, round, founder, announced_at, destinations)
		VALUES ($1, $2, 1, $3, 0, '[]') ON CONFLICT (tenant, name) DO UPDATE SET
		round = CASE WHEN job_groups.announced_at = 0 THEN job_groups.round ELSE job_groups.round + 1 END,
		founder = CASE WHEN job_groups.announced_at = 0 THEN job_groups.founder ELSE excluded.founder END,
		destinations = CASE WHEN job_groups.announced_at = 0 THEN job_groups.destinations ELSE excluded.destinations END,
		announced_at = 0 RETURNING round`, t.Tenant, t.Group, t.ID.String()).Scan(&round)
	return round, err
}

// openRound is a round that has not been announced.
type openRound struct {
	tenant, name, founder string
	round                 int64
	destinations          []string
}

// ended records the end of a job in its group and announces the group if that
// decides it.
func (s *Store) ended(ctx context.Context, tx *sql.Tx, u *job.Update, name string, now job.Instant) error {
	r := openRound{tenant: u.Tenant, name: name, destinations: u.GroupDestinations}
	err := tx.QueryRowContext(ctx, `UPDATE group_jobs SET outcome = $1 WHERE tenant = $2 AND job_id = $3 AND outcome = '' RETURNING round`,
		string(u.Outcome), u.Tenant, u.ID.String()).Scan(&r.round)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return fmt.Errorf("end job of group %s: %w", name, err)
	}
	told, err := json.Marshal(u.GroupDestinations)
	if err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, `UPDATE job_groups SET destinations = $1 WHERE tenant = $2 AND name = $3 AND round = $4 AND announced_at = 0 RETURNING founder`,
		string(told), u.Tenant, name, r.round).Scan(&r.founder)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // announced already
	} else if err != nil {
		return fmt.Errorf("end job of group %s: %w", name, err)
	}
	at := u.FinishedAt
	if at == 0 {
		at = u.At
	}
	return s.decide(ctx, tx, &r, u.Outcome != job.OutcomeCompleted, at, now)
}

// left takes an untracked job out of its group; if all others have ended, that
// completes it.
func (s *Store) left(ctx context.Context, tx *sql.Tx, tenant string, id job.ID, now job.Instant) error {
	r := openRound{tenant: tenant}
	err := tx.QueryRowContext(ctx, `DELETE FROM group_jobs WHERE tenant = $1 AND job_id = $2 RETURNING name, round`, tenant, id.String()).Scan(&r.name, &r.round)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return fmt.Errorf("leave group: %w", err)
	}
	var told string
	// Written to be locked.
	err = tx.QueryRowContext(ctx, `UPDATE job_groups SET round = round WHERE tenant = $1 AND name = $2 AND round = $3 AND announced_at = 0 RETURNING founder, destinations`,
		tenant, r.name, r.round).Scan(&r.founder, &told)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	} else if err != nil {
		return fmt.Errorf("leave group %s: %w", r.name, err)
	}
	if err := json.Unmarshal([]byte(told), &r.destinations); err != nil {
		return fmt.Errorf("leave group %s: %w", r.name, err)
	}
	return s.decide(ctx, tx, &r, false, now, now)
}

// decide announces the round if it has failed or nothing of it goes on.
func (s *Store) decide(ctx context.Context, tx *sql.Tx, r *openRound, failed bool, at, now job.Instant) error {
	if !failed {
		// Asked by itself: counting ten thousand jobs at each of their ends is dear.
		var one int
		err := tx.QueryRowContext(ctx, `SELECT 1 FROM group_jobs WHERE tenant = $1 AND name = $2 AND round = $3 AND outcome = '' LIMIT 1`,
			r.tenant, r.name, r.round).Scan(&one)
		if !errors.Is(err, sql.ErrNoRows) {
			return err // some go on, or we do not know
		}
	}
	v := job.GroupView{Name: r.name, Outcome: job.OutcomeCompleted}
	var open int
	err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(CASE WHEN outcome = '' THEN 1 ELSE 0 END), 0),
		coalesce(sum(CASE WHEN outcome NOT IN ('', 'completed') THEN 1 ELSE 0 END), 0)
		FROM group_jobs WHERE tenant = $1 AND name = $2 AND round = $3`, r.tenant, r.name, r.round).Scan(&v.Jobs, &open, &v.Failed)
	if err != nil {
		return fmt.Errorf("count group %s: %w", r.name, err)
	}
	if v.Jobs == 0 {
		return nil // all were untracked
	}
	if v.Finished = v.Jobs - open; v.Failed > 0 {
		v.Outcome = job.OutcomeFailed
	}
	if v.Members, err = s.members(ctx, tx, r); err != nil {
		return fmt.Errorf("read group %s: %w", r.name, err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE job_groups SET announced_at = $1 WHERE tenant = $2 AND name = $3`, int64(max(now, 1)), r.tenant, r.name); err != nil {
		return fmt.Errorf("announce group %s: %w", r.name, err)
	}
	if len(r.destinations) == 0 {
		return nil // nobody asks
	}
	e := job.Event{
		ID: job.GroupEventID(r.tenant, r.name, r.founder), Type: job.EventGroupFinished, Tenant: r.tenant, Subject: r.name, Time: at, CreatedAt: now,
	}
	if e.Data, err = json.Marshal(map[string]job.GroupView{"group": v}); err != nil {
		return err
	}
	return s.emit(ctx, tx, &e, r.destinations, now)
}

// maxMemberError bounds the error text of one job in a group's event.
const maxMemberError = 300

// members are the round's jobs, those that did not complete first.
func (s *Store) members(ctx context.Context, tx *sql.Tx, r *openRound) ([]job.GroupMember, error) {
	rows, err := tx.QueryContext(ctx, `SELECT j.id, j.status, j.outcome, j.error, j.output_rows
		FROM group_jobs m JOIN jobs j ON j.tenant = m.tenant AND j.id = m.job_id WHERE m.tenant = $1 AND m.name = $2 AND m.round = $3
		ORDER BY CASE j.outcome WHEN 'completed' THEN 1 WHEN '' THEN 2 ELSE 0 END, j.id LIMIT $4`, r.tenant, r.name, r.round, job.MaxGroupMembers)
	if err != nil {
		return nil, err
	}
	return collect(rows, func(rows *sql.Rows) (m job.GroupMember, err error) {
		var id string
		if err := rows.Scan(&id, &m.Status, &m.Outcome, &m.Error, &m.OutputRows); err != nil {
			return m, err
		}
		m.Error = job.Cut(m.Error, maxMemberError)
		m.ID, err = job.ParseID(id)
		return m, err
	})
}
