package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Options are what Open needs beside the URL. The zero value is what the daemon uses.
type Options struct {
	// Now replaces the database's clock; only tests give it.
	Now func() time.Time
	// Metrics counts operations; nil counts nothing.
	Metrics *metrics.Metrics
	// NoLock leaves out the lock that keeps a second process from the same
	// SQLite file; only tests give it.
	NoLock bool
	// wrap goes around the database's driver; only tests of this package do.
	wrap func(driver.Driver) driver.Driver
}

// Store keeps jobs, events and deliveries in one database. Its methods may be
// called from any goroutine.
type Store struct {
	o       Options
	dialect dialect
	// write has one connection on SQLite, which has one writer anyway; read has
	// several.
	write, read *sql.DB
	lock        *flock.Flock
	queue       combiner
}

//go:embed migrations/*.sql
var migrations embed.FS

// Open opens the database at a URL (sqlite:PATH, sqlite::memory: or
// postgres://…), brings its schema up to date and, for a SQLite file, makes
// sure that no other process has it open.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	s := &Store{o: o}
	var err error
	switch {
	case strings.HasPrefix(url, "sqlite:"):
		err = s.openSQLite(strings.TrimPrefix(url, "sqlite:"))
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		err = s.openPostgres(url)
	default:
		return nil, &job.InvalidError{Field: "store", Value: scheme(url), Allowed: "sqlite:PATH or postgres://…"}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.queue.init(s)
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(s.explain(err), s.Close())
	}
	return s, nil
}

// scheme is the part of a URL that can hold no password.
func scheme(url string) string {
	if before, _, found := strings.Cut(url, ":"); found {
		return before + ":"
	}
	return "a URL without scheme"
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	kind := goose.DialectSQLite3
	if s.dialect.postgres {
		kind = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return fmt.Errorf("prepare migration lock: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(kind, s.write, files, options...)
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	known := int64(0)
	for _, source := range provider.ListSources() {
		known = max(known, source.Version)
	}
	has, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if has > known {
		return fmt.Errorf("the database has schema version %d, this program knows only up to %d: a newer jobwatcher has used it; run that one, or restore a backup: %w", has, known, job.ErrConflict)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

// Close closes the database and gives the file free.
func (s *Store) Close() error {
	var errs []error
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	if err := s.read.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("ping store: %w", s.explain(err))
	}
	return nil
}

// Alone reports whether this process is the only one that can have the store
// open, so that whatever another replica owned is free at once.
func (s *Store) Alone() bool { return s.lock != nil || s.dialect.memory }

// observe counts one operation: defer s.observe("track", time.Now(), &err).
func (s *Store) observe(operation string, began time.Time, err *error) {
	s.o.Metrics.StoreOperation(operation, time.Since(began), *err)
}
