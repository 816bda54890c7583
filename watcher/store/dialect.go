package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is everything in which the two databases differ; the statements are
// the same text on both (house rule 1.12).
type dialect struct {
	postgres bool
	memory   bool
	path     string
	// dsn is the URL of the PostgreSQL database. It may hold a password.
	dsn string
	// now is the expression for the database's clock, in Unix milliseconds.
	now string
	// skip and share are suffixes that SQLite, with its one writer, does not need.
	skip, share string
}

const readers = 4

// connect opens a pool of connections.
func (s *Store) connect(d driver.Driver, dsn string) *sql.DB {
	if s.o.wrap != nil {
		d = s.o.wrap(d)
	}
	return sql.OpenDB(connector{d, dsn})
}

func (s *Store) openSQLite(path string) error {
	if path == "" {
		return &job.InvalidError{Field: "store", Value: "sqlite:", Allowed: "sqlite: followed by a file name"}
	}
	s.dialect = dialect{
		path: path, memory: path == ":memory:",
		now: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
	}
	pragmas := url.Values{"_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)",
		// FULL: an acknowledged commit survives power loss, not only kill -9. Group
		// commit makes it affordable.
		"synchronous(FULL)", "foreign_keys(1)", "temp_store(MEMORY)", "cache_size(-16000)",
	}, "_txlock": {"immediate"}}
	if s.dialect.memory {
		db := s.connect(preparing{&sqlite.Driver{}}, "file::memory:?"+pragmas.Encode())
		db.SetMaxOpenConns(1)
		s.write, s.read = db, db
		return nil
	}
	if dir := filepath.Dir(path); dir != "." {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return fmt.Errorf("open store: the directory %s of the SQLite file does not exist: create it or change JOBWATCHER_STORE", dir)
		}
	}
	if !s.o.NoLock {
		if err := s.acquire(path); err != nil {
			return err
		}
	}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas.Encode()
	s.write = s.connect(preparing{&sqlite.Driver{}}, dsn)
	s.write.SetMaxOpenConns(1)
	s.read = s.connect(preparing{&sqlite.Driver{}}, dsn)
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	if err := s.write.Ping(); err != nil {
		return fmt.Errorf("open store: %w", s.explain(err))
	}
	return nil
}

// acquire locks PATH.lock; the kernel lets go of it when the process ends,
// however it ends.
func (s *Store) acquire(path string) error {
	l := flock.New(path + ".lock")
	ok, err := l.TryLock()
	if err != nil {
		return fmt.Errorf("open store: cannot lock %s.lock: %w; the directory must be writable", path, err)
	}
	if !ok {
		return fmt.Errorf("open store: %s is in use by another jobwatcher (lock file %s.lock); SQLite serves one daemon at a time, use PostgreSQL for several: %w", path, path, job.ErrConflict)
	}
	s.lock = l
	return nil
}

func (s *Store) openPostgres(dsn string) error {
	s.dialect = dialect{
		postgres: true, dsn: dsn,
		now:  "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
		skip: " FOR UPDATE SKIP LOCKED", share: " FOR SHARE",
	}
	if _, err := pgconn.ParseConfig(dsn); err != nil {
		// Its error repeats the URL, with what it takes for the password hidden.
		return errors.New("open store: the postgres URL is not valid: postgres://USER:PASSWORD@HOST:PORT/DATABASE is what it looks like")
	}
	db := s.connect(stdlib.GetDefaultDriver(), dsn)
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	s.write, s.read = db, db
	return nil
}

// explain adds what to do to the errors that a person must act on. They are
// told apart by code, never by text.
func (s *Store) explain(err error) error {
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return err
	}
	path := s.dialect.path
	switch lite.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("no space is left for the database %s: free some, the daemon goes on by itself: %w", path, err)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("the database %s cannot be written: check its permissions and its volume: %w", path, err)
	case sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("the database %s cannot be opened: check its path and permissions: %w", path, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file %s is not an intact SQLite database: restore a backup, or move it away to begin anew: %w", path, err)
	}
	return err
}

// transient reports whether the same transaction may succeed when it is tried
// again at once: a busy database, a serialisation failure or a deadlock.
func transient(err error) bool {
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		code := lite.Code() & 0xff
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "40001" || pg.Code == "40P01"
	}
	return false
}

// at is the transaction's one "now": the database's clock unless a test gives one.
func (s *Store) at(ctx context.Context, q querier) (job.Instant, error) {
	if s.o.Now != nil {
		return job.At(s.o.Now()), nil
	}
	var ms int64
	if err := q.QueryRowContext(ctx, "SELECT "+s.dialect.now).Scan(&ms); err != nil {
		return 0, fmt.Errorf("read the database's clock: %w", err)
	}
	return job.Instant(ms), nil
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}
