package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// combiner is group commit: write operations that arrive while a transaction is
// under way share the next one, each behind a savepoint of its own, so that one
// which fails undoes nothing but itself. There is no goroutine behind it: the
// first caller to come leads, and hands over when its own operation is done.
type combiner struct {
	store *Store
	lead  chan struct{}
	mu    sync.Mutex
	queue []*operation
}

// operation is one unit of work. run may be called more than once, so it must
// set its results anew each time.
type operation struct {
	run  func(ctx context.Context, tx *sql.Tx, now job.Instant) error
	err  error
	done chan struct{}
}

const (
	// maxGroup bounds one transaction; past some hundred rows a commit's cost no
	// longer shows (performance.md).
	maxGroup = 256
	// maxTries bounds retries of a busy or deadlocked transaction.
	maxTries = 5
)

func (c *combiner) init(s *Store) { c.store, c.lead = s, make(chan struct{}, 1) }

// do runs the operation in some transaction and returns when that is durable,
// or its error. When ctx ends before, the outcome is unknown.
func (c *combiner) do(ctx context.Context, run func(ctx context.Context, tx *sql.Tx, now job.Instant) error) error {
	op := &operation{run: run, done: make(chan struct{})}
	c.mu.Lock()
	c.queue = append(c.queue, op)
	c.mu.Unlock()
	for {
		select {
		case <-op.done:
			return op.err
		case <-ctx.Done():
			c.withdraw(op)
			select {
			case <-op.done:
				return op.err
			default:
				return fmt.Errorf("write: %w", context.Cause(ctx))
			}
		case c.lead <- struct{}{}:
			select {
			case <-op.done: // the previous leader took it along
			default:
				c.turn(context.WithoutCancel(ctx))
			}
			<-c.lead
		}
	}
}

func (c *combiner) withdraw(op *operation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.queue {
		if other == op {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			return
		}
	}
}

// turn runs what waits in one transaction.
func (c *combiner) turn(ctx context.Context) {
	c.mu.Lock()
	n := min(len(c.queue), maxGroup)
	batch := append([]*operation(nil), c.queue[:n]...)
	c.queue = c.queue[n:]
	c.mu.Unlock()
	err := c.transact(ctx, batch)
	for try := 1; err != nil && transient(err) && try < maxTries; try++ {
		err = c.transact(ctx, batch)
	}
	for _, op := range batch {
		op.err = c.store.explain(cmp.Or(err, op.err))
		close(op.done)
	}
}

func (c *combiner) transact(ctx context.Context, batch []*operation) (err error) {
	tx, err := c.store.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback()
		}
	}()
	now, err := c.store.at(ctx, tx)
	if err != nil {
		return err
	}
	for _, op := range batch {
		if err := c.step(ctx, tx, op, now, len(batch) > 1); err != nil {
			return err
		}
	}
	if len(batch) == 1 && batch[0].err != nil {
		_ = tx.Rollback()
		return nil
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// step runs one operation; its own error stays with it.
func (c *combiner) step(ctx context.Context, tx *sql.Tx, op *operation, now job.Instant, shared bool) error {
	if !shared {
		op.err = c.guarded(ctx, tx, op, now)
		if op.err != nil && transient(op.err) {
			return op.err
		}
		return nil
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT op"); err != nil {
		return fmt.Errorf("savepoint: %w", err)
	}
	op.err = c.guarded(ctx, tx, op, now)
	if op.err == nil {
		_, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT op")
		return err
	}
	if transient(op.err) {
		return op.err
	}
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT op"); err != nil {
		return errors.Join(op.err, err)
	}
	_, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT op")
	return err
}

// guarded turns a panic into that operation's error, so that the others and the
// combiner go on.
func (c *combiner) guarded(ctx context.Context, tx *sql.Tx, op *operation, now job.Instant) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return op.run(ctx, tx, now)
}
