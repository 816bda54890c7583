package verify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// database is a PostgreSQL whose connections we cut, as a restart of it would.
type database struct{ db *sql.DB }

// openDatabase refuses a database that is in use: verify fills it with jobs.
func openDatabase(ctx context.Context, url string) (*database, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, errors.New("the store's URL cannot be read") // the driver's error may repeat the password
	}
	var name *string
	if err := db.QueryRowContext(ctx, `SELECT to_regclass('jobs')::text`).Scan(&name); err != nil {
		return nil, errors.Join(fmt.Errorf("the store: %w", err), db.Close())
	}
	if name != nil {
		return nil, errors.Join(errors.New("the database holds jobs already; verify needs one of its own, empty"), db.Close())
	}
	return &database{db}, nil
}

// cut ends every connection to the database but our own.
func (d *database) cut(ctx context.Context) error {
	_, err := d.db.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	return err
}

func (d *database) close() error { return d.db.Close() }
