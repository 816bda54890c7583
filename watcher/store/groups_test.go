package store_test

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
)

// dropGroups undoes the migration that brought groups.
const dropGroups = `DROP TABLE job_groups; DROP TABLE group_jobs; DROP INDEX events_jobless; `

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
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), dropGroups+`DELETE FROM goose_db_version WHERE version_id >= 3`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
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
