package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
)

// undo is what takes each migration back, the first one's excepted.
var undo = []string{
	2: `DROP TABLE delivered`,
	3: `DROP TABLE job_groups; DROP TABLE group_jobs; DROP INDEX events_jobless`,
	4: `DROP INDEX jobs_watched; DROP INDEX deliveries_job; CREATE INDEX deliveries_job ON deliveries (tenant, job_id)`,
	5: `DROP TABLE budget`,
	6: `DROP INDEX jobs_runs; ALTER TABLE jobs DROP COLUMN shape; ALTER TABLE jobs DROP COLUMN started_at;
		ALTER TABLE jobs DROP COLUMN took_ms; ALTER TABLE jobs DROP COLUMN warned; ALTER TABLE jobs DROP COLUMN delay_ms; ALTER TABLE jobs DROP COLUMN anomaly`,
	7: `ALTER TABLE replicas DROP COLUMN jobs`,
}

// backTo makes a closed SQLite file what it was under an earlier schema.
func backTo(t *testing.T, path string, version int) {
	t.Helper()
	files, err := os.ReadDir("migrations")
	if err != nil || len(files) != len(undo)-1 {
		t.Fatalf("%d migrations (%v), %d of them can be undone: add the newest to the list", len(files), err, len(undo)-1)
	}
	var text strings.Builder
	for v := len(undo) - 1; v > version; v-- {
		text.WriteString(undo[v] + "; ")
	}
	fmt.Fprintf(&text, "DELETE FROM goose_db_version WHERE version_id > %d", version)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), text.String())
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// What was delivered before the counts were kept is counted by the migration.
func TestTheMigrationCountsWhatWasDelivered(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	register(t, s)
	_, err = s.Track(t.Context(), replica, []job.Tracking{tracking(1), tracking(2)})
	_, also := s.Commit(t.Context(), replica, []job.Update{finish(1), finish(2)})
	if err := errors.Join(err, also); err != nil {
		t.Fatal(err)
	}
	out, _, err := s.ClaimDeliveries(t.Context(), replica, "loader", 1)
	if err != nil || len(out) != 1 {
		t.Fatalf("claim: %d, %v", len(out), err)
	}
	if err := s.Settle(t.Context(), replica, []job.Settlement{{DeliveryID: out[0].ID, State: job.DeliveryDelivered}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	backTo(t, path, 1)
	counts, _, err := open(t, "sqlite:"+path, store.Options{}).DeliveryStats()
	if got := counts["loader"]; err != nil || got[job.DeliveryDelivered] != 1 || got[job.DeliveryPending] != 1 {
		t.Errorf("after the migration: %v, %v; want 1 delivered, 1 pending", got, err)
	}
}

// Jobs that were tracked with a group before groups were announced are announced
// together, if one of them still goes on.
func TestTheMigrationTakesGroupsOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	register(t, s)
	items := []job.Tracking{tracking(1), tracking(2), tracking(3)}
	for i, name := range []string{"open", "open", "over"} {
		items[i].Group = name
	}
	_, err = s.Track(t.Context(), replica, items)
	_, also := s.Commit(t.Context(), replica, []job.Update{finish(1), finish(3)})
	if err := errors.Join(err, also, s.Close()); err != nil {
		t.Fatal(err)
	}
	backTo(t, path, 2)
	s = open(t, "sqlite:"+path, store.Options{})
	register(t, s)
	last := finish(2)
	last.GroupDestinations = []string{"ops"}
	if _, err := s.Commit(t.Context(), replica, []job.Update{last}); err != nil {
		t.Fatal(err)
	}
	out, _, err := s.ClaimDeliveries(t.Context(), replica, "ops", 10)
	if err != nil || len(out) != 1 || out[0].Event.Subject != "open" {
		t.Errorf("announced: %+v, %v; want the group that was open", out, err)
	}
}
