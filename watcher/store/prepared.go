package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
)

const (
	// maxPrepared bounds the statements that one connection keeps; ours are far
	// fewer, but for those with lists of varying length.
	maxPrepared = 256
	// maxPreparedText leaves out bulk inserts, whose text would be most of the
	// memory.
	maxPreparedText = 4096
)

// preparing is a SQLite driver whose connections prepare each statement once:
// parsing costs as much as running what we run (BenchmarkDeliver). pgx does the
// same of itself.
type preparing struct{ driver.Driver }

func (p preparing) Open(dsn string) (driver.Conn, error) {
	c, err := p.Driver.Open(dsn)
	if err != nil {
		return nil, err
	}
	inner, ok := c.(liteConn)
	if !ok {
		return nil, errors.Join(errDriver, c.Close())
	}
	return &preparingConn{liteConn: inner, statements: map[string]liteStmt{}}, nil
}

// liteConn is what database/sql asks of a connection, and the driver's has.
type liteConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// liteStmt is what its statements have.
type liteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

var errDriver = errors.New("the SQLite driver lacks what the store needs")

type preparingConn struct {
	liteConn
	statements map[string]liteStmt
}

// numbered writes $1 as ?1, or as ? where all come in their order. To SQLite $1
// is a name, and each name in a statement is compared with all before it.
func numbered(text string) string {
	var b strings.Builder
	rest, inOrder := text, true
	for n := 1; ; n++ {
		before, after, found := strings.Cut(rest, "$")
		b.WriteString(before)
		if !found {
			break
		}
		digits := len(after) - len(strings.TrimLeft(after, "0123456789"))
		inOrder = inOrder && after[:digits] == strconv.Itoa(n)
		b.WriteByte('?')
		if rest = after[digits:]; !inOrder {
			return strings.ReplaceAll(text, "$", "?")
		}
	}
	return b.String()
}

// once reports whether a statement is better run as it is.
func once(text string) bool { return len(text) > maxPreparedText || strings.Contains(text, ";") }

func (c *preparingConn) prepared(ctx context.Context, text string) (liteStmt, error) {
	if s, ok := c.statements[text]; ok {
		return s, nil
	}
	if len(c.statements) >= maxPrepared {
		if err := c.forget(); err != nil {
			return nil, err
		}
	}
	s, err := c.PrepareContext(ctx, numbered(text))
	if err != nil {
		return nil, err
	}
	lite, ok := s.(liteStmt)
	if !ok {
		return nil, errors.Join(errDriver, s.Close())
	}
	c.statements[text] = lite
	return lite, nil
}

func (c *preparingConn) forget() error {
	var all error
	for text, s := range c.statements {
		all = errors.Join(all, s.Close())
		delete(c.statements, text)
	}
	return all
}

func (c *preparingConn) Close() error { return errors.Join(c.forget(), c.liteConn.Close()) }

func (c *preparingConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	if once(text) {
		return c.liteConn.ExecContext(ctx, numbered(text), args)
	}
	s, err := c.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args)
}

func (c *preparingConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	if once(text) {
		return c.liteConn.QueryContext(ctx, numbered(text), args)
	}
	s, err := c.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args)
}

// connector opens connections of a driver to one database.
type connector struct {
	driver driver.Driver
	dsn    string
}

// Connect implements [driver.Connector].
func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }

// Driver implements [driver.Connector].
func (c connector) Driver() driver.Driver { return c.driver }
