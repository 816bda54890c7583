package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/store/storetest"
)

// furnish leaves a bit of everything in a store: watched and finished jobs,
// events, deliveries in several states, attempts, a group, a budget.
func furnish(t *testing.T, s *store.Store) {
	t.Helper()
	register(t, s)
	var items []job.Tracking
	var updates []job.Update
	for i := range 1200 {
		one := tracking(i)
		one.Group, one.Labels = "close", job.Labels{"team": fmt.Sprint("ü", i%3)}
		items = append(items, one)
		if i%2 == 0 {
			u := finish(i)
			u.Destinations = []string{"loader", "slack"}
			u.Shape, u.Took, u.Anomaly = -5, time.Minute, []string{"slow"}
			updates = append(updates, u)
		}
	}
	_, err := s.Track(t.Context(), replica, items)
	_, also := s.Commit(t.Context(), replica, updates)
	out, _, claimed := s.ClaimDeliveries(t.Context(), replica, "loader", 200)
	if err := errors.Join(err, also, claimed); err != nil {
		t.Fatal(err)
	}
	settle(t, s, out[:100]) // the rest is being sent
	err = s.SaveBudget(t.Context(), "acme", []job.BudgetState{{Span: time.Minute, Level: 12.75, Spent: 3, Since: 5, At: 6}})
	if err := errors.Join(err, s.SetDestination(t.Context(), job.DestinationState{Name: "slack", Paused: true, PausedBy: "operator", PausedAt: 7})); err != nil {
		t.Fatal(err)
	}
}

// look reads what people see of a store.
func look(t *testing.T, s *store.Store) (jobs []job.Job, deliveries []job.Delivery) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := s.ListJobs(t.Context(), job.Filter{Tenant: tenant, Limit: 1000, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, page...)
		if cursor = next; cursor == "" {
			break
		}
	}
	for cursor := ""; ; {
		page, next, err := s.Deliveries(t.Context(), job.DeliveryFilter{Limit: 1000, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		deliveries = append(deliveries, page...)
		if cursor = next; cursor == "" {
			return jobs, deliveries
		}
	}
}

func TestCopyMovesEverythingBetweenDatabases(t *testing.T) {
	t.Parallel()
	server := storetest.Postgres(t)
	folder := t.TempDir()
	urls := []string{"sqlite:" + filepath.Join(folder, "from.db"), server.Database(t), "sqlite:" + filepath.Join(folder, "back.db")}
	var stores []*store.Store
	for _, u := range urls {
		stores = append(stores, open(t, u, store.Options{}))
	}
	furnish(t, stores[0])
	wantJobs, wantDeliveries := look(t, stores[0])
	for i := range wantDeliveries { // what was being sent is due again
		if wantDeliveries[i].State == job.DeliverySending {
			wantDeliveries[i].State, wantDeliveries[i].NextAttemptAt = job.DeliveryPending, wantDeliveries[i].CreatedAt
		}
	}
	for i := range 2 {
		rows, err := store.Copy(t.Context(), stores[i], stores[i+1])
		if err != nil {
			t.Fatal(err)
		}
		if rows[0] != (store.Copied{Table: "jobs", Rows: 1200}) {
			t.Errorf("copied %+v", rows)
		}
		jobs, deliveries := look(t, stores[i+1])
		if diff := cmp.Diff(wantJobs, jobs); diff != "" {
			t.Errorf("jobs after copy %d (-want +got):\n%.2000s", i+1, diff)
		}
		if diff := cmp.Diff(wantDeliveries, deliveries); diff != "" {
			t.Errorf("deliveries after copy %d (-want +got):\n%.2000s", i+1, diff)
		}
	}
	// A second copy meets a database that is not empty.
	if _, err := store.Copy(t.Context(), stores[0], stores[1]); !errors.Is(err, job.ErrConflict) {
		t.Errorf("copying into a database that is not empty: %v", err)
	}
	// The new owner takes all of it.
	register(t, stores[1])
	claimed, err := stores[1].Claim(t.Context(), replica, tenant, 5000)
	if err != nil || len(claimed) != 600 {
		t.Errorf("%d jobs are watched on, %v", len(claimed), err)
	}
	// Now somebody is alive there.
	empty := open(t, "sqlite:"+filepath.Join(folder, "empty.db"), store.Options{})
	if _, err := store.Copy(t.Context(), stores[1], empty); !errors.Is(err, job.ErrConflict) {
		t.Errorf("copying under a daemon that is alive: %v", err)
	}
	if _, err := store.Copy(t.Context(), empty, stores[1]); !errors.Is(err, job.ErrConflict) {
		t.Errorf("copying over a daemon that is alive: %v", err)
	}
}
