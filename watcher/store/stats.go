package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// statsTimeout bounds what a scrape may cost.
const statsTimeout = 3 * time.Second

// DeliveryStats counts deliveries that are not delivered by destination and
// state, with the creation time of the oldest that is still owed. Delivered ones
// are the history, which no scrape may walk: the attempts' counters tell of them.
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
	return counts, oldest, s.explain(rows.Err())
}
