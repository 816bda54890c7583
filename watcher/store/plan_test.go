package store_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/store/storetest"
)

// finished is the history of the databases below: what no statement may walk.
const finished = 5000

// fillHistory tracks and ends jobs, each delivered to one destination.
func fillHistory(t *testing.T, s *store.Store) {
	t.Helper()
	for from := 0; from < finished; from += 500 {
		var items []job.Tracking
		var updates []job.Update
		for i := from; i < from+500; i++ {
			one := tracking(10_000 + i)
			one.TrackedAt = job.Instant(1_000_000 + i)
			items = append(items, one)
			u := finish(10_000 + i)
			u.At, u.Destinations = one.TrackedAt, []string{"loader"}
			updates = append(updates, u)
		}
		if _, err := s.Track(t.Context(), replica, items); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit(t.Context(), replica, updates); err != nil {
			t.Fatal(err)
		}
	}
	for {
		out, _, err := s.ClaimDeliveries(t.Context(), replica, "loader", 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(out) == 0 {
			return
		}
		settle(t, s, out)
	}
}

func settle(t *testing.T, s *store.Store, out []job.Outgoing) {
	t.Helper()
	done := make([]job.Settlement, len(out))
	for i := range out {
		done[i] = job.Settlement{DeliveryID: out[i].ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: job.At(time.Now()), Code: 200}}
	}
	if err := s.Settle(t.Context(), replica, done); err != nil {
		t.Fatal(err)
	}
}

// useEverything calls what the daemon calls all day, on few live jobs above a
// long history.
func useEverything(t *testing.T, s *store.Store) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	items := []job.Tracking{tracking(1), tracking(2), tracking(3), tracking(4)}
	items[2].Group = "night"
	_, err := s.Track(ctx, replica, items)
	check(err)
	check(s.Register(ctx, job.Replica{ID: replica}, time.Hour, false))
	_, err = s.Heartbeat(ctx, replica, time.Hour, 3)
	check(err)
	check(s.Owned(ctx, replica, tenant, func(job.Watch) error { return nil }))
	_, err = s.Claim(ctx, replica, tenant, 10)
	check(err)
	updates := []job.Update{finish(1), finish(3)}
	updates[0].Destinations, updates[1].Destinations = []string{"loader", "chat"}, []string{"loader"}
	_, err = s.Commit(ctx, replica, updates)
	check(err)
	out, _, err := s.ClaimDeliveries(ctx, replica, "loader", 10)
	check(err)
	if len(out) != 2 {
		t.Fatalf("claimed %d, want 2", len(out))
	}
	settle(t, s, out)
	_, err = s.Job(ctx, tenant, items[0].ID)
	check(err)
	_, _, err = s.ListJobs(ctx, job.Filter{Tenant: tenant, Limit: 20})
	check(err)
	_, _, err = s.ListJobs(ctx, job.Filter{Tenant: tenant, Limit: 20, States: []job.State{job.Watching}})
	check(err)
	_, _, err = s.Deliveries(ctx, job.DeliveryFilter{Limit: 20})
	check(err)
	_, _, err = s.Deliveries(ctx, job.DeliveryFilter{Job: items[0].ID})
	check(err)
	_, _, err = s.Deliveries(ctx, job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryExhausted}, Destination: "loader"})
	check(err)
	_, err = s.Delivery(ctx, out[0].ID)
	check(err)
	_, err = s.Replay(ctx, []string{out[0].ID})
	check(err)
	_, err = s.ReplayWhere(ctx, job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryExhausted}, Destination: "loader"})
	check(err)
	_, _, err = s.DeliveryStats()
	check(err)
	_, err = s.ReplicaCount()
	check(err)
	_, err = s.Destinations(ctx)
	check(err)
	check(s.SetDestination(ctx, job.DestinationState{Name: "chat", Paused: true}))
	check(s.SetDestination(ctx, job.DestinationState{Name: "chat"}))
	check(s.Untrack(ctx, tenant, items[3].ID))
	_, err = s.Purge(ctx, 1_000_010, 100)
	check(err)
	check(s.Release(ctx, replica))
}

// used opens a database with a history, uses all of it and returns the
// statements that were sent meanwhile.
func used(t *testing.T, driver, url string) map[string][]any {
	t.Helper()
	through, said := logged()
	s := open(t, url, store.Options{NoLock: true}.Through(through))
	register(t, s)
	fillHistory(t, s)
	if driver == "pgx" {
		execute(t, url, "VACUUM (ANALYZE)") //nolint:misspell // SQL
	}
	said.since()
	useEverything(t, s)
	all, _ := said.since()
	if len(all) < 40 {
		t.Fatalf("%d statements, are they logged?", len(all))
	}
	return all
}

func execute(t *testing.T, url, text string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

func TestSQLiteWalksNoFinishedHistory(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/jobs.db"
	all := used(t, "sqlite", "sqlite:"+path)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for text, args := range all {
		if !readsBig(text) {
			continue
		}
		plan := explained(t, db, text, args)
		for _, step := range plan {
			if walks(step, text) {
				t.Errorf("%s\n  %s\nwalks history:\n%s", text, step, strings.Join(plan, "\n"))
			}
		}
	}
}

// explained is SQLite's plan.
func explained(t *testing.T, db *sql.DB, text string, args []any) (plan []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}

// partial are the indexes that hold only what is open, so that a walk through
// them is a walk through live rows.
var partial = []string{"jobs_watching", "jobs_watched", "deliveries_due", "deliveries_sending", "deliveries_open", "events_jobless"}

// walks says whether a step of a plan visits rows of a big table one by one.
func walks(step, text string) bool {
	rest, isScan := strings.CutPrefix(step, "SCAN ")
	if !isScan {
		return false
	}
	for _, index := range partial {
		if strings.Contains(rest, "INDEX "+index) {
			return false
		}
	}
	// A page of everything comes out of an index in order and stops by itself.
	if strings.Contains(rest, "_listed") && strings.Contains(text, "LIMIT") && !strings.Contains(text, "WHERE") {
		return false
	}
	for _, table := range big {
		if rest == table || strings.HasPrefix(rest, table+" ") {
			return true
		}
	}
	return false
}

func TestPostgresWalksNoFinishedHistory(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t).Database(t)
	all := used(t, "pgx", url)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for text, args := range all {
		if !readsBig(text) {
			continue
		}
		if visited := visits(t, db, text, args); visited > finished/5 {
			t.Errorf("visits %.0f rows, of %d that have ended:\n%s", visited, finished, text)
		}
	}
}

// visits runs a statement, undoes it, and counts the rows that it looked at.
func visits(t *testing.T, db *sql.DB, text string, args []any) float64 {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	var plan string
	if err := tx.QueryRowContext(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+text, args...).Scan(&plan); err != nil { //nolint:misspell // SQL
		t.Fatalf("%s: %v", text, err)
	}
	var nodes []struct {
		Plan planNode `json:"Plan"`
	}
	if err := json.Unmarshal([]byte(plan), &nodes); err != nil {
		t.Fatal(err)
	}
	return nodes[0].Plan.visits()
}

// planNode is what PostgreSQL says of one step.
type planNode struct {
	Rows    float64    `json:"Actual Rows"`
	Loops   float64    `json:"Actual Loops"`
	Removed float64    `json:"Rows Removed by Filter"`
	Plans   []planNode `json:"Plans"`
}

func (n *planNode) visits() float64 {
	all := (n.Rows + n.Removed) * math.Max(n.Loops, 1)
	for i := range n.Plans {
		all += n.Plans[i].visits()
	}
	return all
}

func TestPlansThatWalkAreTold(t *testing.T) {
	t.Parallel()
	for step, want := range map[string]bool{
		"SCAN jobs": true, "SCAN deliveries USING INDEX deliveries_open": false, "SEARCH jobs USING INDEX x": false,
		"SCAN deliveries USING INDEX deliveries_listed": true, "SCAN replicas": false,
	} {
		if got := walks(step, "SELECT … WHERE x LIMIT 1"); got != want {
			t.Errorf("%s: %v, want %v", step, got, want)
		}
	}
	if got := fmt.Sprint((&planNode{Rows: 2, Loops: 3, Removed: 1, Plans: []planNode{{Rows: 5}}}).visits()); got != "14" {
		t.Errorf("visited %s, want 14", got)
	}
}
