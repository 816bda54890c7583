package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// troubled is a store that answers with an error.
type troubled struct{ err error }

func (s troubled) DeliveryStats() (map[string]map[job.DeliveryState]int64, map[string]job.Instant, error) {
	return nil, nil, s.err
}
func (s troubled) ReplicaCount() (int, error) { return 0, s.err }

func TestGaugesComeFromTheirSourcesAtEachScrape(t *testing.T) {
	t.Parallel()
	_, reg := newMetrics(t, metrics.Options{})
	wantLines(t, reg,
		`jobwatcher_jobs{status="accepted",tenant="rest.zuora.com"} 2`,
		`jobwatcher_jobs{status="completed",tenant="rest.zuora.com"} 0`,
		`jobwatcher_jobs{status="unseen",tenant="rest.zuora.com"} 1`,
		`jobwatcher_jobs{status="other",tenant="rest.zuora.com"} 7`,
		`jobwatcher_jobs_overdue{tenant="rest.zuora.com"} 1`,
		`jobwatcher_jobs_overdue_expected{tenant="rest.zuora.com"} 2`,
		`jobwatcher_jobs_expected_end_timestamp_seconds{tenant="rest.zuora.com"} 5`,
		`jobwatcher_polls_late_seconds{tenant="rest.zuora.com"} 1.5`,
		`jobwatcher_budget_spent_timestamp_seconds{tenant="rest.zuora.com",window="1h"} 9`,
		`jobwatcher_budget_spent_timestamp_seconds{tenant="rest.zuora.com",window="1m"} NaN`,
		`jobwatcher_deliveries{destination="gone",state="held"} 5`,
		`jobwatcher_deliveries{destination="gone",state="pending"} 0`,
		`jobwatcher_deliveries{destination="gone",state="delivered"} 3`,
		`jobwatcher_deliveries{destination="loader",state="delivered"} 0`,
		`jobwatcher_outbox_oldest_pending_timestamp_seconds{destination="gone"} 2`,
		`jobwatcher_outbox_oldest_pending_timestamp_seconds{destination="loader"} 0`,
		`jobwatcher_replicas 1`,
	)
}

// An old number or a zero would be a lie: deliveries that nobody can count are
// not none.
func TestAStoreInTroubleIsLeftOutAndCounted(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{})
	m.Collect(fakeSource{}, troubled{errors.New("disk on fire")})
	n, err := testutil.GatherAndCount(reg, "jobwatcher_deliveries", "jobwatcher_replicas", "jobwatcher_outbox_oldest_pending_timestamp_seconds")
	if err != nil || n != 0 {
		t.Errorf("samples of the store: got %d (%v), want none", n, err)
	}
	wantLines(t, reg, `jobwatcher_jobs{status="accepted",tenant="rest.zuora.com"} 2`)
	// One scrape or two have been counted, as the families happen to be gathered.
	wantNone(t, reg, `jobwatcher_store_errors_total{operation="delivery_stats"} 0`, `jobwatcher_store_errors_total{operation="replica_count"} 0`)
}

func TestNothingIsWatchedBeforeTheSourcesAreThere(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := metrics.New(reg, metrics.Options{Tenant: "rest.zuora.com", Destinations: []string{"loader"}})
	m.Collect(nil, nil)
	wantLines(t, reg,
		`jobwatcher_jobs{status="in_progress",tenant="rest.zuora.com"} 0`,
		`jobwatcher_deliveries{destination="loader",state="exhausted"} 0`,
		`jobwatcher_replicas 0`,
	)
}

func TestAnswersOfTheStoreAreNotItsErrors(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{})
	for _, err := range []error{
		nil, job.ErrNotFound, fmt.Errorf("job: %w", job.ErrConflict), job.ErrOwnerLost, context.Canceled,
		&job.InvalidError{Field: "cursor"},
	} {
		m.StoreOperation("commit", time.Millisecond, err)
	}
	m.StoreOperation("commit", time.Millisecond, context.DeadlineExceeded)
	m.StoreOperation("commit", time.Millisecond, errors.New("disk on fire"))
	wantLines(t, reg,
		`jobwatcher_store_errors_total{operation="commit"} 2`,
		`jobwatcher_store_operation_duration_seconds_count{operation="commit"} 8`,
	)
}

// Rows of destinations that no configuration knows any more, and words that a
// later version makes up, have room; but not for ever.
func TestUnknownNamesAreBounded(t *testing.T) {
	t.Parallel()
	m, reg := newMetrics(t, metrics.Options{})
	count := func() int {
		n, err := testutil.GatherAndCount(reg)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	flood := func(from, to int) {
		for n := from; n < to; n++ {
			name := fmt.Sprintf("name-%d", n)
			m.Attempt(name, job.ReasonTimeout)
			m.Delivered(name, time.Second, time.Second)
			m.Exhausted(name)
			m.StoreOperation(name, time.Second, nil)
			m.Panicked(name)
		}
	}
	flood(0, 500)
	before := count()
	flood(500, 5000)
	if after := count(); after != before {
		t.Errorf("series: got %d, want %d as before", after, before)
	}
	m.AddDestinations("late")
	m.Attempt("late", job.NoReason)
	wantLines(t, reg,
		`jobwatcher_delivery_attempts_total{destination="late"} 1`,
		`jobwatcher_delivery_attempts_failed_total{destination="late",reason="gone"} 0`,
		`jobwatcher_deliveries{destination="late",state="pending"} 0`,
		`jobwatcher_delivery_attempts_total{destination="name-0"} 1`,
	)
}

// Whatever the store observes is there from the start, at zero.
func TestEveryOperationOfTheStoreIsKnown(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../watcher/store/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("sources of the store: got %d (%v), want some", len(files), err)
	}
	operation := regexp.MustCompile(`observe\("([a-z_]+)"`)
	_, reg := newMetrics(t, metrics.Options{})
	var want []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range operation.FindAllSubmatch(text, -1) {
			if string(found[1]) != "track" || filepath.Base(file) != "store.go" { // an example in a comment
				want = append(want, fmt.Sprintf(`jobwatcher_store_errors_total{operation="%s"} 0`, found[1]))
			}
		}
	}
	if len(want) < 10 {
		t.Fatalf("operations found in the store's source: got %d, want more than 10", len(want))
	}
	wantLines(t, reg, want...)
}
