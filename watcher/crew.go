package watcher

import (
	"context"
	"sync/atomic"
)

// crew is the fixed number of workers that make requests, and who of them is free.
type crew struct {
	free    atomic.Int32
	calls   chan struct{}
	errands chan func(context.Context)
}

func newCrew(size int) *crew {
	return &crew{calls: make(chan struct{}, size), errands: make(chan func(context.Context))}
}

// begin forgets the previous session's calls; nobody is working then.
func (c *crew) begin() {
	c.free.Store(0)
	for len(c.calls) > 0 {
		<-c.calls
	}
}

// call wakes one worker if any is free.
func (c *crew) call() {
	for {
		n := c.free.Load()
		if n <= 0 {
			return
		}
		if c.free.CompareAndSwap(n, n-1) {
			c.calls <- struct{}{}
			return
		}
	}
}

// errand has a worker run f, so that it counts as one of the requests in
// flight, and waits for its end.
func (c *crew) errand(ctx context.Context, f func(context.Context)) error {
	done := make(chan struct{})
	select {
	case c.errands <- func(hard context.Context) { defer close(done); f(hard) }:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-done
	return nil
}

// work is one worker: it takes what is due, one job after the other, and rests
// when nothing is.
func (w *Watcher) work(soft, hard context.Context) {
	for soft.Err() == nil {
		select {
		case f := <-w.crew.errands:
			f(hard)
			continue
		default:
		}
		now := w.o.Now()
		if w.claim.believed(now) {
			if w.sweep(hard, now) {
				continue
			}
			t, p, more, ok := w.queue.take(now, w.gate, w.crew.free.Load() > 0)
			if more {
				w.crew.call()
			}
			if ok {
				w.look(hard, t, p, now)
				continue
			}
		}
		w.crew.free.Add(1)
		w.queue.rest()
		select {
		case <-w.crew.calls:
		case f := <-w.crew.errands:
			if !w.crew.taken() {
				<-w.crew.calls
			}
			f(hard)
		case <-soft.Done():
			return
		}
	}
}

// taken ends a rest that was not ended by a call. When a call has been made for
// it already, that call must be taken instead.
func (c *crew) taken() bool {
	for {
		n := c.free.Load()
		if n <= 0 {
			return false
		}
		if c.free.CompareAndSwap(n, n-1) {
			return true
		}
	}
}
