package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/store/storetest"
)

const (
	tenant  = "rest.zuora.com"
	replica = job.ReplicaID("one")
)

func id(n int) job.ID { return job.ID{0: 0x3a, 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)} }

// tracking is job n with labels that take some room on the disk.
func tracking(n int) job.Tracking {
	at := job.At(time.Now())
	return job.Tracking{
		Spec:   job.Spec{ID: id(n), Labels: job.Labels{"filler": strings.Repeat("x", 500)}},
		Tenant: tenant, Source: job.SourceAPI, TrackedAt: at, DeadlineAt: at.Add(time.Hour), AbandonAt: at.Add(2 * time.Hour),
	}
}

// finish is the update that finishes job n and owes one delivery.
func finish(n int) job.Update {
	at := job.At(time.Now())
	e := job.Event{
		ID: job.EventID(tenant, id(n).String(), job.EventCompleted), Type: job.EventCompleted, Tenant: tenant,
		Subject: id(n).String(), JobID: id(n), Time: at, Data: []byte(`{"job":{}}`),
	}
	return job.Update{
		Tenant: tenant, ID: id(n), At: at, Status: job.Completed, StatusSince: at, Outcome: job.OutcomeCompleted, FinishedAt: at,
		History: []job.Change{{At: at, Kind: job.KindFinished, Outcome: job.OutcomeCompleted}},
		Event:   &e, Destinations: []string{"loader"},
	}
}

func register(t *testing.T, s *store.Store) {
	t.Helper()
	if err := s.Register(t.Context(), job.Replica{ID: replica, Host: "host", Version: "test"}, time.Minute, true); err != nil {
		t.Fatal(err)
	}
}

// refused opens the store, which must fail with an error that names each of these.
func refused(t *testing.T, url string, names ...string) error {
	t.Helper()
	s, err := store.Open(t.Context(), url, store.Options{})
	if err == nil {
		t.Fatal(errors.Join(fmt.Errorf("open %s: got no error", url), s.Close()))
	}
	for _, name := range names {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("open %s: got %q, want %q named in it", url, err, name)
		}
	}
	return err
}

func TestASecondDaemonOnTheSameFileIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "jobs.db")
	first, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := refused(t, "sqlite:"+path, path, "in use by another jobwatcher", "PostgreSQL"); !errors.Is(err, job.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	if err := first.Ping(t.Context()); err != nil || !first.Alone() {
		t.Errorf("the first after the second was refused: alone %v, %v", first.Alone(), err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, "sqlite:"+path, store.Options{})
}

func TestANewerSchemaIsRefused(t *testing.T) {
	server := storetest.Postgres(t)
	for name, c := range map[string]struct{ driver, dsn, url string }{
		"SQLite": func() struct{ driver, dsn, url string } {
			p := t.TempDir() + "/jobs.db"
			return struct{ driver, dsn, url string }{"sqlite", p, "sqlite:" + p}
		}(),
		"Postgres": func() struct{ driver, dsn, url string } {
			u := server.Database(t)
			return struct{ driver, dsn, url string }{"pgx", u, u}
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(t.Context(), c.url, store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open(c.driver, c.dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = db.Close() }()
			if _, err := db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, true)`); err != nil {
				t.Fatal(err)
			}
			if err := refused(t, c.url, "4711", "a newer jobwatcher has used it"); !errors.Is(err, job.ErrConflict) {
				t.Errorf("got %v, want ErrConflict", err)
			}
		})
	}
}

// filled is a closed database with some jobs in it, bigger than a few pages.
func filled(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "jobs.db")
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	register(t, s)
	var items []job.Tracking
	for n := range 500 {
		items = append(items, tracking(n))
	}
	if _, err := s.Track(t.Context(), replica, items); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileThatIsNoDatabaseIsRefusedAndKept(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func([]byte) []byte{
		"GarbageHeader": func(b []byte) []byte { copy(b, bytes.Repeat([]byte("junk"), 64)); return b },
		"AnotherFile":   func([]byte) []byte { return bytes.Repeat([]byte("name: value\n"), 1000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filled(t)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = spoil(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, "sqlite:"+path, path, "not an intact SQLite database", "restore a backup")
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(b, after) {
				t.Errorf("the file was changed: %d bytes before, %d after (%v)", len(b), len(after), err)
			}
		})
	}
}

// Pages lost in the middle show when they are read: the error says so, whoever
// meets it, and the file stays for whoever restores what is left.
func TestLostPagesAreToldWhenTheyAreMet(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, string, int64){
		"Overwritten": func(t *testing.T, path string, size int64) {
			t.Helper()
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			// All from the middle on: some page of the table is among them.
			if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(size/2)), size/2/4096*4096); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"Truncated": func(t *testing.T, path string, size int64) {
			t.Helper()
			if err := os.Truncate(path, size/2/4096*4096); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filled(t)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			spoil(t, path, info.Size())
			err = walk(t, path)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "not an intact SQLite database") {
				t.Errorf("got %v, want an error that names %s and says that it is not intact", err, path)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("the file is gone: %v", err)
			}
		})
	}
}

// walk does what a daemon does at its start: it opens, registers and reads its jobs.
func walk(t *testing.T, path string) error {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := s.Register(t.Context(), job.Replica{ID: "two"}, time.Minute, true); err != nil {
		return err
	}
	return s.Owned(t.Context(), "two", tenant, func(job.Watch) error { return nil })
}

func TestBadStoreURLsSayWhatIsAllowed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for url, names := range map[string][]string{
		"":                                   {"sqlite:PATH", "postgres://"},
		"jobs.db":                            {"sqlite:PATH", "postgres://"},
		"mysql://me:s3cret@db/jobs":          {"mysql:", "sqlite:PATH", "postgres://"},
		"sqlite:":                            {"file name"},
		"sqlite:/nowhere/at/all/jobs.db":     {"/nowhere/at/all", "does not exist"},
		"sqlite:" + file + "/jobs.db":        {file, "does not exist"},
		"sqlite:" + filepath.Dir(file):       {filepath.Dir(file), "cannot be opened"},
		"postgres://me:s3cret@db:notaport/x": {"postgres URL is not valid"},
		"postgres://me:s3cret@127.0.0.1:1/x": {"127.0.0.1"},
	} {
		if err := refused(t, url, names...); strings.Contains(err.Error(), "s3cret") {
			t.Errorf("open: the password shows: %v", err)
		}
	}
}

// mounted is a small file system of its own: permission bits do not refuse
// root, and a disk that is really full cannot be had otherwise.
func mounted(t *testing.T) (dir string, readOnly func()) {
	t.Helper()
	dir = t.TempDir()
	mount := func(args ...string) error {
		out, err := exec.CommandContext(t.Context(), "mount", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("mount %v: %w: %s", args, err, out)
		}
		return nil
	}
	if err := mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("needs root and CAP_SYS_ADMIN: %v", err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil { //nolint:noctx // the test's context has ended
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir, func() {
		if err := mount("-o", "remount,ro", dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPlaceThatCannotBeWrittenIsNamed(t *testing.T) {
	t.Run("ReadOnlyVolume", func(t *testing.T) {
		dir, readOnly := mounted(t)
		path := filepath.Join(dir, "jobs.db")
		s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		readOnly()
		refused(t, "sqlite:"+path, path, "permissions")
	})
	// /proc takes no files from anybody, root included.
	t.Run("Proc", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("there is no /proc here")
		}
		refused(t, "sqlite:/proc/jobs.db", "/proc/jobs.db", "must be writable")
	})
}

// A full disk refuses what is new, loses nothing that was acknowledged, and is
// over as soon as there is room again, in the same process.
func TestAFullDiskRefusesLosesNothingAndIsGotOver(t *testing.T) {
	dir, _ := mounted(t)
	path := filepath.Join(dir, "jobs.db")
	s := open(t, "sqlite:"+path, store.Options{})
	register(t, s)
	if _, err := s.Track(t.Context(), replica, []job.Tracking{tracking(0)}); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	// It ends in "no space left", which is what it is for.
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	acknowledged := 1
	var err error
	for n := 1; n < 5000 && err == nil; n++ {
		if _, err = s.Track(t.Context(), replica, []job.Tracking{tracking(n)}); err == nil {
			acknowledged++
		}
	}
	if err == nil || !strings.Contains(err.Error(), "no space is left") || !strings.Contains(err.Error(), path) {
		t.Fatalf("track on a full disk: got %v, want an error that says so and names %s", err, path)
	}
	// The outcome that waits stays refused until there is room.
	if _, err := s.Commit(t.Context(), replica, []job.Update{finish(0)}); err == nil {
		t.Error("commit on a full disk: got no error")
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	count := func() (n int) {
		if err := s.Owned(t.Context(), replica, tenant, func(job.Watch) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got := count(); got != acknowledged {
		t.Errorf("jobs on a full disk: got %d, want the %d that were acknowledged", got, acknowledged)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if results, err := s.Commit(t.Context(), replica, []job.Update{finish(0)}); err != nil || results[0] != nil {
		t.Fatalf("the outcome that waited: %v, %v", results, err)
	}
	if _, err := s.Track(t.Context(), replica, []job.Tracking{tracking(6000)}); err != nil {
		t.Fatalf("track when there is room again: %v", err)
	}
	if got := count(); got != acknowledged { // one has ended, one is new
		t.Errorf("jobs in the end: got %d, want %d", got, acknowledged)
	}
	storetest.CheckInvariants(t, s, tenant)
}
