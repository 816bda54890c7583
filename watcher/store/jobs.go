package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

const (
	// listedQuery is how many characters of a query a list shows.
	listedQuery  = 2000
	defaultLimit = 100
	maxLimit     = 1000
)

const jobColumns = `tenant, id, state, status, status_since, outcome, source, group_name, overdue, tracked_at, deadline_at, abandon_at,
	next_poll_at, polls, finished_at, detected_at, updated_at, output_rows, processing_ms, remaining_retries, source_data, created_by, error,
	labels, destinations, history, data_file, shape, started_at, took_ms, warned, delay_ms, anomaly`

func scanJob(rows *sql.Rows) (j job.Job, err error) {
	var id, labels, destinations, history, file, anomaly string
	var overdue, took, warned int64
	var ms, delay *int64
	if err := rows.Scan(&j.Tenant, &id, &j.State, &j.Status, &j.StatusSince, &j.Outcome, &j.Source, &j.Group, &overdue,
		&j.TrackedAt, &j.DeadlineAt, &j.AbandonAt, &j.NextPollAt, &j.Polls, &j.FinishedAt, &j.DetectedAt, &j.UpdatedAt,
		&j.OutputRows, &ms, &j.RemainingRetries, &j.SourceData, &j.CreatedBy, &j.Error,
		&labels, &destinations, &history, &file, &j.Shape, &j.StartedAt, &took, &warned, &delay, &anomaly, &j.Query); err != nil {
		return j, err
	}
	if j.ID, err = job.ParseID(id); err != nil {
		return j, err
	}
	j.Overdue, j.Warned = overdue != 0, warned != 0
	j.DataFile, j.Took = secret.New(file), time.Duration(took)*time.Millisecond
	if anomaly != "" {
		j.Anomaly = strings.Split(anomaly, ",")
	}
	j.ProcessingTime, j.Delay = duration(ms), duration(delay)
	if j.State == job.Finished {
		j.NextPollAt = 0
	}
	return j, errors.Join(json.Unmarshal([]byte(labels), &j.Labels), json.Unmarshal([]byte(destinations), &j.Destinations),
		json.Unmarshal([]byte(history), &j.History))
}

func duration(ms *int64) *time.Duration {
	if ms == nil {
		return nil
	}
	d := time.Duration(*ms) * time.Millisecond
	return &d
}

// Jobs reads these jobs; those that do not exist are missing from the map.
func (s *Store) Jobs(ctx context.Context, tenant string, ids []job.ID) (found map[job.ID]job.Job, err error) {
	defer s.observe("jobs", time.Now(), &err)
	found = make(map[job.ID]job.Job, len(ids))
	for start := 0; start < len(ids); start += insertRows {
		part := ids[start:min(start+insertRows, len(ids))]
		args := []any{tenant}
		for _, id := range part {
			args = append(args, id.String())
		}
		rows, err := s.read.QueryContext(ctx, `SELECT `+jobColumns+`, query FROM jobs WHERE tenant = $1 AND id IN (`+holders(2, len(part))+`)`, args...)
		if err != nil {
			return nil, fmt.Errorf("read jobs: %w", s.explain(err))
		}
		jobs, err := collect(rows, scanJob)
		if err != nil {
			return nil, fmt.Errorf("read jobs: %w", err)
		}
		for i := range jobs {
			found[jobs[i].ID] = jobs[i]
		}
	}
	return found, nil
}

// holders is "$first,$first+1,…", n of them.
func holders(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	return b.String()
}

// Job reads one job with its history and the counts of its deliveries.
func (s *Store) Job(ctx context.Context, tenant string, id job.ID) (job.Job, error) {
	found, err := s.Jobs(ctx, tenant, []job.ID{id})
	if err != nil {
		return job.Job{}, err
	}
	j, ok := found[id]
	if !ok {
		return job.Job{}, fmt.Errorf("job %s: %w", id, job.ErrNotFound)
	}
	one := []job.Job{j}
	if err := s.countDeliveries(ctx, tenant, one); err != nil {
		return job.Job{}, err
	}
	return one[0], nil
}

// ListJobs reads one page of jobs, the newest tracked first, with the head of
// each query, and the cursor of the next page ("" when there is none).
func (s *Store) ListJobs(ctx context.Context, f job.Filter) (jobs []job.Job, next string, err error) {
	defer s.observe("list_jobs", time.Now(), &err)
	limit := pageLimit(f.Limit)
	w := where{}
	w.add("tenant = ?", f.Tenant)
	w.in("state", texts(f.States))
	w.in("status", texts(f.Statuses))
	w.in("outcome", texts(f.Outcomes))
	for _, k := range f.Labels.Keys() {
		// The stored JSON is made by encoding/json from a map: keys in order, no
		// blanks, so that a pair is always this very text.
		pair, err := json.Marshal(map[string]string{k: f.Labels[k]})
		if err != nil {
			return nil, "", fmt.Errorf("list jobs: %w", err)
		}
		text := string(pair[1 : len(pair)-1])
		w.add("(labels LIKE ? ESCAPE '!' OR labels LIKE ? ESCAPE '!')", "{"+like(text)+"%", "%,"+like(text)+"%")
	}
	if f.Cursor != "" {
		at, id, err := parseCursor(f.Cursor)
		if err != nil {
			return nil, "", err
		}
		w.add("(tracked_at < ? OR (tracked_at = ? AND id < ?))", at, at, id)
	}
	rows, err := s.read.QueryContext(ctx, `SELECT `+jobColumns+`, substr(query, 1, `+strconv.Itoa(listedQuery)+`) FROM jobs`+w.text()+
		` ORDER BY tracked_at DESC, id DESC LIMIT `+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return nil, "", fmt.Errorf("list jobs: %w", s.explain(err))
	}
	if jobs, err = collect(rows, scanJob); err != nil {
		return nil, "", fmt.Errorf("list jobs: %w", err)
	}
	if len(jobs) > limit {
		jobs = jobs[:limit]
		last := &jobs[limit-1]
		next = cursor(last.TrackedAt, last.ID.String())
	}
	return jobs, next, s.countDeliveries(ctx, f.Tenant, jobs)
}

func (s *Store) countDeliveries(ctx context.Context, tenant string, jobs []job.Job) error {
	if len(jobs) == 0 {
		return nil
	}
	index := make(map[string]*job.DeliveryCounts, len(jobs))
	args := []any{tenant}
	for i := range jobs {
		index[jobs[i].ID.String()] = &jobs[i].Deliveries
		args = append(args, jobs[i].ID.String())
	}
	rows, err := s.read.QueryContext(ctx, `SELECT job_id, state, count(*) FROM deliveries
		WHERE tenant = $1 AND job_id IN (`+holders(2, len(jobs))+`) GROUP BY job_id, state`, args...)
	if err != nil {
		return fmt.Errorf("count deliveries: %w", s.explain(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		var state job.DeliveryState
		var n int64
		if err := rows.Scan(&id, &state, &n); err != nil {
			return fmt.Errorf("count deliveries: %w", err)
		}
		c := index[id]
		switch state {
		case job.DeliveryDelivered:
			c.Delivered += n
		case job.DeliveryPending, job.DeliverySending:
			c.Pending += n
		case job.DeliveryExhausted:
			c.Exhausted += n
		case job.DeliveryHeld:
			c.Held += n
		}
	}
	return rows.Err()
}

// where collects conditions; each ? becomes the next $n.
type where struct {
	conditions []string
	args       []any
}

func (w *where) add(condition string, args ...any) {
	var b strings.Builder
	for _, r := range condition {
		if r == '?' {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(len(w.args) + 1))
			w.args = append(w.args, args[0])
			args = args[1:]
			continue
		}
		b.WriteRune(r)
	}
	w.conditions = append(w.conditions, b.String())
}

func (w *where) in(column string, values []any) {
	if len(values) > 0 {
		w.add(column+" IN (?"+strings.Repeat(",?", len(values)-1)+")", values...)
	}
}

func (w *where) text() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

func texts[T ~string](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = string(v)
	}
	return all
}

// like escapes a text for LIKE … ESCAPE '!'.
func like(s string) string { return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s) }

func pageLimit(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}

func cursor(at job.Instant, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(int64(at), 10) + " " + id))
}

func parseCursor(c string) (at int64, id string, err error) {
	bad := &job.InvalidError{Field: "cursor", Value: job.Cut(c, 80), Allowed: "the next_cursor of a page of this list"}
	b, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		return 0, "", bad
	}
	number, id, found := strings.Cut(string(b), " ")
	if at, err = strconv.ParseInt(number, 10, 64); err != nil || !found || len(id) > 64 {
		return 0, "", bad
	}
	return at, id, nil
}
