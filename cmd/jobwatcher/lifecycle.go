package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// lifecycle runs named loops together and unwinds named clean-ups in reverse.
//
//	signal ─> draining hooks ─> soft cancelled ─> loops drain ─┬─> clean-ups, last in first out
//	                                              grace over ──┴─> hard cancelled
//
// The first loop or server to end ends all.
type lifecycle struct {
	log *zap.Logger
	// grace is how long everything may take from the signal on.
	grace time.Duration
	// draining is called before anything is cancelled: readiness goes off here.
	draining func(context.Context)

	loops    []loop
	servers  []loop
	cleanups []cleanup
}

// A loop takes two contexts: soft asks it to take nothing new and to finish
// what it has, hard to abort what is in the air.
type loop struct {
	name string
	run  func(soft, hard context.Context) error
}

type cleanup struct {
	name string
	run  func(context.Context) error
}

// Least times, whatever the grace: what a loop gets to obey the hard context,
// and what a clean-up gets to finish.
const (
	hardLimit    = 2 * time.Second
	cleanupLimit = 3 * time.Second
)

var errEnded = errors.New("ended although nobody asked it to")

// Loop adds a loop that drains when soft is cancelled.
func (l *lifecycle) Loop(name string, run func(soft, hard context.Context) error) {
	l.loops = append(l.loops, loop{name, run})
}

// Server adds something that serves until the clean-up stop has been called,
// which happens after every loop has drained and later clean-ups are done.
func (l *lifecycle) Server(name string, serve func() error, stop func(context.Context) error) {
	done := make(chan struct{})
	var started atomic.Bool
	l.servers = append(l.servers, loop{name, func(context.Context, context.Context) error {
		started.Store(true)
		defer close(done)
		return serve()
	}})
	l.CleanUp(name, func(ctx context.Context) error {
		err := stop(ctx)
		if !started.Load() {
			return err
		}
		select {
		case <-done:
		case <-ctx.Done():
			err = errors.Join(err, context.Cause(ctx))
		}
		return err
	})
}

// CleanUp adds something to undo at the end, last in, first out.
func (l *lifecycle) CleanUp(name string, run func(context.Context) error) {
	l.cleanups = append(l.cleanups, cleanup{name, run})
}

type ended struct {
	name string
	err  error
}

// Run starts everything, waits until ctx is cancelled or something ends, and
// winds up. It returns what ended it, if that was not ctx, and whatever went
// wrong on the way out.
func (l *lifecycle) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	soft, cancelSoft := context.WithCancelCause(base)
	hard, cancelHard := context.WithCancelCause(base)
	defer cancelSoft(nil)
	defer cancelHard(nil)

	ends := make(chan ended, len(l.loops)+len(l.servers))
	var loops sync.WaitGroup
	for _, one := range l.servers {
		go func() { ends <- ended{one.name, guard(base, base, one)} }() // its clean-up waits for it
	}
	running := newNames(l.loops)
	for _, one := range l.loops {
		loops.Go(func() {
			err := guard(soft, hard, one)
			running.remove(one.name)
			ends <- ended{one.name, err}
		})
	}

	var first error
	select {
	case <-ctx.Done():
		l.log.Info("stopping", zap.String("reason", context.Cause(ctx).Error()))
	case e := <-ends:
		if e.err == nil {
			e.err = errEnded
		}
		first = fmt.Errorf("%s: %w", e.name, e.err)
		l.log.Error("stopping", zap.Error(first))
	}

	began := time.Now()
	if l.draining != nil {
		l.draining(hard)
	}
	cancelSoft(errDraining)
	drained := make(chan struct{})
	go func() { loops.Wait(); close(drained) }()
	late := l.drain(drained, running, began, cancelHard)
	return errors.Join(first, late, l.unwind(base, began))
}

var (
	errDraining  = errors.New("the daemon is stopping")
	errGraceOver = errors.New("the time to stop is over")
)

// drain waits for the loops, first gently, then not.
func (l *lifecycle) drain(drained <-chan struct{}, running *names, began time.Time, cancelHard context.CancelCauseFunc) error {
	soft := time.NewTimer(l.grace - time.Since(began) - l.reserve())
	defer soft.Stop()
	select {
	case <-drained:
		l.log.Info("drained", zap.Duration("took", time.Since(began)))
		return nil
	case <-soft.C:
	}
	l.log.Warn("not drained in time, aborting what is in the air", zap.String("name", running.String()))
	cancelHard(errGraceOver)
	hard := time.NewTimer(hardLimit)
	defer hard.Stop()
	select {
	case <-drained:
		return nil
	case <-hard.C:
		return fmt.Errorf("%s did not stop in time", running)
	}
}

// reserve is the part of the grace that is kept for what comes after draining.
func (l *lifecycle) reserve() time.Duration { return min(l.grace/4, hardLimit) }

// unwind runs the clean-ups in reverse and joins their errors. It is safe to
// call twice: each runs once.
func (l *lifecycle) unwind(base context.Context, began time.Time) error {
	var all error
	for _, c := range slices.Backward(l.cleanups) {
		limit := max(l.grace-time.Since(began), cleanupLimit)
		ctx, cancel := context.WithTimeoutCause(base, limit, errGraceOver)
		if err := c.run(ctx); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", c.name, err))
		}
		cancel()
	}
	l.cleanups = nil
	return all
}

// guard turns a panic into an error, so that one loop's mistake still lets the
// others drain.
func guard(soft, hard context.Context, one loop) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return one.run(soft, hard)
}

// names are the loops still running.
type names struct {
	mu  sync.Mutex
	all []string
}

func newNames(loops []loop) *names {
	n := &names{}
	for _, one := range loops {
		n.all = append(n.all, one.name)
	}
	return n
}

func (n *names) remove(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := slices.Index(n.all, name); i >= 0 {
		n.all = slices.Delete(n.all, i, i+1)
	}
}

func (n *names) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.all, ", ")
}

// interrupted is the cause of a context that a signal cancelled.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return i.signal.String() }

// exitCode is the shell's convention: 128 and the signal's number. It is
// distinct from every code of contract section 2 but for 130 itself.
func (i interrupted) exitCode() int { return 128 + int(i.signal) }

// withSignals cancels the context at the first SIGINT or SIGTERM. The second
// one ends the process at once.
func withSignals(parent context.Context, exit func(code int)) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	arrived := make(chan os.Signal, 2)
	signal.Notify(arrived, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := 0; ; n++ {
			select {
			case s := <-arrived:
				number, _ := s.(syscall.Signal)
				if n > 0 {
					exit(interrupted{number}.exitCode())
				}
				cancel(interrupted{number})
			case <-over:
				return
			}
		}
	})
	return ctx, func() {
		signal.Stop(arrived)
		close(over)
		wait.Wait()
		cancel(nil)
	}
}
