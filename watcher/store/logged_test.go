package store_test

import (
	"context"
	"database/sql/driver"
	"strings"
	"sync"
)

// statements are those that went through a logged driver.
type statements struct {
	mu  sync.Mutex
	all map[string][]any // the text, with the arguments of its first use
	n   int
}

func (s *statements) add(text string, args []driver.NamedValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if _, known := s.all[text]; known {
		return
	}
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a.Value
	}
	s.all[text] = values
}

// since forgets and returns what was sent.
func (s *statements) since() (all map[string][]any, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, n = s.all, s.n
	s.all, s.n = map[string][]any{}, 0
	return all, n
}

// logged wraps a driver in one that notes every statement.
func logged() (wrap func(driver.Driver) driver.Driver, said *statements) {
	said = &statements{all: map[string][]any{}}
	return func(d driver.Driver) driver.Driver { return loggedDriver{d, said} }, said
}

type loggedDriver struct {
	driver.Driver
	said *statements
}

func (d loggedDriver) Open(name string) (driver.Conn, error) {
	c, err := d.Driver.Open(name)
	if err != nil {
		return nil, err
	}
	return &loggedConn{c, d.said}, nil
}

// loggedConn passes on what database/sql may ask of the drivers that we use.
type loggedConn struct {
	driver.Conn
	said *statements
}

func (c *loggedConn) QueryContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Rows, error) {
	c.said.add(text, args)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, text, args)
}

func (c *loggedConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	c.said.add(text, args)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, text, args)
}

func (c *loggedConn) PrepareContext(ctx context.Context, text string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, text)
}

func (c *loggedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (c *loggedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// big are the tables that grow with history.
var big = []string{"jobs", "events", "deliveries", "attempts", "group_jobs"}

// readsBig says whether a statement touches one of them.
func readsBig(text string) bool {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	switch strings.ToUpper(first) {
	case "SELECT", "UPDATE", "DELETE", "WITH":
	default:
		return false // an INSERT reads nothing but its own keys
	}
	for _, table := range big {
		if strings.Contains(text, " "+table) {
			return true
		}
	}
	return false
}
