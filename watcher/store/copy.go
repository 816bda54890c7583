package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// copied are the tables that move from one database to another, each with the
// order of its rows. Replicas do not: who is alive is not.
var copied = []struct{ table, order string }{
	{"jobs", "tenant, id"},
	{"job_groups", "tenant, name"},
	{"group_jobs", "tenant, job_id"},
	{"events", "id"},
	{"destinations", "name"},
	{"deliveries", "id"},
	{"attempts", "delivery_id, n"},
	{"delivered", "destination"},
	{"budget", "tenant, span_ms"},
}

// disowned is what makes a copy anybody's: nobody owns anything in the copy, and what was being sent is
// due again, under the same webhook-id.
var disowned = []string{
	`UPDATE jobs SET owner = '' WHERE owner <> ''`,
	`UPDATE deliveries SET state = 'pending', owner = '' WHERE state = 'sending'`,
	`UPDATE deliveries SET owner = '' WHERE owner <> ''`,
}

// copyLease is how long a replica is believed alive before a copy: longer than
// any heartbeat takes.
const copyLease = time.Minute

// Copied is how many rows of a table were copied.
type Copied struct {
	Table string
	Rows  int64
}

// Copy copies everything from one database into another that is empty, reads
// both again and compares them row for row. No daemon may be alive on either
// (job.ErrConflict). The target has all of it or nothing.
func Copy(ctx context.Context, from, to *Store) (all []Copied, err error) {
	for _, side := range []struct {
		name  string
		store *Store
	}{{"from", from}, {"to", to}} {
		if err := side.store.idle(ctx); err != nil {
			return nil, fmt.Errorf("copy: %s: %w", side.name, err)
		}
	}
	tx, err := to.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("copy: %w", to.explain(err))
	}
	defer func() { _ = tx.Rollback() }()
	for _, t := range copied {
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM "+t.table).Scan(&n); err != nil {
			return nil, fmt.Errorf("copy: %w", to.explain(err))
		}
		if n > 0 {
			return nil, fmt.Errorf("copy: the target is not empty: it has %d rows in %s: %w", n, t.table, job.ErrConflict)
		}
	}
	for _, t := range copied {
		n, err := copyTable(ctx, from, tx, t.table, t.order)
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", t.table, to.explain(from.explain(err)))
		}
		all = append(all, Copied{t.table, n})
	}
	for i, t := range copied {
		want, wanted, err := digest(ctx, from.read, t.table)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", t.table, from.explain(err))
		}
		got, n, err := digest(ctx, tx, t.table)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", t.table, to.explain(err))
		}
		if got != want || n != wanted || n != all[i].Rows {
			return nil, fmt.Errorf("verify %s: the copy differs (%d rows of %d): nothing was kept: %w", t.table, n, wanted, job.ErrConflict)
		}
	}
	for _, statement := range disowned {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("copy: %w", to.explain(err))
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("copy: %w", to.explain(err))
	}
	return all, nil
}

// idle refuses a database on which a daemon is alive.
func (s *Store) idle(ctx context.Context) error {
	if s.Alone() {
		return nil // its lock says so
	}
	now, err := s.at(ctx, s.read)
	if err != nil {
		return err
	}
	var host string
	err = s.read.QueryRowContext(ctx, `SELECT host FROM replicas WHERE holder <> '' AND heartbeat_at > $1 LIMIT 1`, int64(now.Add(-copyLease))).Scan(&host)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for daemons: %w", err)
	}
	return fmt.Errorf("a daemon on %s is alive, or was a minute ago: stop it first: %w", host, job.ErrConflict)
}

// copyTable copies one table, some rows in one statement.
func copyTable(ctx context.Context, from *Store, to *sql.Tx, table, order string) (n int64, err error) {
	rows, err := from.read.QueryContext(ctx, "SELECT * FROM "+table+" ORDER BY "+order)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	atOnce := min(30_000/len(columns), insertRows)
	var args []any
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		_, err := to.ExecContext(ctx, insertText(table, columns, len(args)/len(columns)), args...)
		args = args[:0]
		return err
	}
	for rows.Next() {
		row, err := scanRow(rows, len(columns))
		if err != nil {
			return n, err
		}
		args = append(args, row...)
		n++
		if len(args) == atOnce*len(columns) {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return n, err
	}
	return n, flush()
}

func insertText(table string, columns []string, rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES ")
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("(" + holders(i*len(columns)+1, len(columns)) + ")")
	}
	return b.String()
}

// scanRow reads a row as the driver gives it; texts are texts on both databases.
func scanRow(rows *sql.Rows, columns int) ([]any, error) {
	row, into := make([]any, columns), make([]any, columns)
	for i := range row {
		into[i] = &row[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	for i := range row {
		if b, isBytes := row[i].([]byte); isBytes {
			row[i] = string(b)
		}
	}
	return row, nil
}

// digest is a fingerprint of a table's rows, which does not depend on the order
// of columns (later migrations add them at other places) nor on that of rows
// (databases compare texts differently).
func digest(ctx context.Context, q querier, table string) (sum string, n int64, err error) {
	rows, err := q.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return "", 0, err
	}
	var total [sha256.Size]byte
	for rows.Next() {
		row, err := scanRow(rows, len(columns))
		if err != nil {
			return "", n, err
		}
		var one [sha256.Size]byte
		for i, v := range row {
			add(&one, sha256.Sum256(fmt.Appendf(nil, "%s\x00%T\x00%v", columns[i], v, v)))
		}
		add(&total, sha256.Sum256(one[:]))
		n++
	}
	return hex.EncodeToString(total[:]), n, rows.Err()
}

// add adds as numbers, so that order does not matter, and equal rows count twice.
func add(to *[sha256.Size]byte, b [sha256.Size]byte) {
	carry := 0
	for i := len(to) - 1; i >= 0; i-- {
		carry += int(to[i]) + int(b[i])
		to[i], carry = byte(carry), carry>>8
	}
}
