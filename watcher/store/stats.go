package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// statsTimeout bounds what a scrape may cost.
const statsTimeout = 3 * time.Second

// DeliveryStats counts deliveries by destination and state, with the creation
// time of the oldest that is still owed. Delivered ones are the history, which no
// scrape may walk: whatever moves a delivery into or out of that state counts it.
func (s *Store) DeliveryStats() (counts map[string]map[job.DeliveryState]int64, oldest map[string]job.Instant, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	rows, err := s.read.QueryContext(ctx, `SELECT destination, state, count(*), min(created_at) FROM deliveries
		WHERE state <> 'delivered' GROUP BY destination, state`)
	if err != nil {
		return nil, nil, fmt.Errorf("count deliveries: %w", s.explain(err))
	}
	defer func() { _ = rows.Close() }()
	counts, oldest = map[string]map[job.DeliveryState]int64{}, map[string]job.Instant{}
	for rows.Next() {
		var name string
		var state job.DeliveryState
		var n int64
		var first job.Instant
		if err := rows.Scan(&name, &state, &n, &first); err != nil {
			return nil, nil, fmt.Errorf("count deliveries: %w", err)
		}
		if counts[name] == nil {
			counts[name] = map[job.DeliveryState]int64{}
		}
		counts[name][state] = n
		if state == job.DeliveryExhausted {
			continue
		}
		if at, ok := oldest[name]; !ok || first < at {
			oldest[name] = first
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("count deliveries: %w", s.explain(err))
	}
	return counts, oldest, s.addDelivered(ctx, counts)
}

func (s *Store) addDelivered(ctx context.Context, counts map[string]map[job.DeliveryState]int64) error {
	rows, err := s.read.QueryContext(ctx, `SELECT destination, n FROM delivered`)
	if err != nil {
		return fmt.Errorf("count delivered: %w", s.explain(err))
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return fmt.Errorf("count delivered: %w", err)
		}
		if counts[name] == nil {
			counts[name] = map[job.DeliveryState]int64{}
		}
		counts[name][job.DeliveryDelivered] = n
	}
	return s.explain(rows.Err())
}

// tally is how many deliveries of each destination became delivered (or, below
// zero, are so no more) in one operation.
type tally map[string]int64

// count stores a tally, in the order of the names: two replicas that count
// the same destinations must not wait for each other.
func (s *Store) count(ctx context.Context, tx *sql.Tx, t tally) error {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if t[name] == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO delivered (destination, n) VALUES ($1, $2)
			ON CONFLICT (destination) DO UPDATE SET n = delivered.n + excluded.n`, name, t[name]); err != nil {
			return fmt.Errorf("count delivered: %w", err)
		}
	}
	return nil
}

// leave runs a statement that takes deliveries out of the state delivered and
// returns their destinations, counts them, and says how many they were.
func (s *Store) leave(ctx context.Context, tx *sql.Tx, t tally, statement string, args ...any) (int, error) {
	rows, err := tx.QueryContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	names, err := collect(rows, func(rows *sql.Rows) (name string, err error) { return name, rows.Scan(&name) })
	for _, name := range names {
		t[name]--
	}
	return len(names), err
}
