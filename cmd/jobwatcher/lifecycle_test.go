package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

// diary records what happened in which order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

func newTestLifecycle() (*lifecycle, *diary) {
	d := &diary{}
	return &lifecycle{log: zap.NewNop(), grace: 20 * time.Second}, d
}

func TestStopDrainsLoopsThenServersThenUnwindsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newTestLifecycle()
		l.draining = func(context.Context) { d.write("readiness off") }
		l.CleanUp("store", func(context.Context) error { d.write("store closed"); return nil })
		stop := make(chan struct{})
		l.Server("http", func() error { <-stop; d.write("http served to the end"); return nil },
			func(context.Context) error { d.write("http asked to stop"); close(stop); return nil })
		l.CleanUp("release", func(context.Context) error { d.write("released"); return nil })
		l.Loop("watcher", func(soft, _ context.Context) error {
			<-soft.Done()
			<-time.After(3 * time.Second)
			d.write("watcher drained")
			return nil
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(interrupted{15}) })
		if err := l.Run(ctx); err != nil {
			t.Errorf("Run = %v, want no error", err)
		}
		want := []string{"readiness off", "watcher drained", "released", "http asked to stop", "http served to the end", "store closed"}
		if diff := cmp.Diff(want, d.read()); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestLoopThatDoesNotDrainIsAbortedWithinTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newTestLifecycle()
		l.Loop("slow", func(_, hard context.Context) error {
			<-hard.Done()
			d.write(context.Cause(hard).Error())
			return nil
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(interrupted{15})
		began := time.Now()
		if err := l.Run(ctx); err != nil {
			t.Errorf("Run = %v, want no error", err)
		}
		if took := time.Since(began); took > l.grace {
			t.Errorf("took %v, more than the grace of %v", took, l.grace)
		}
		if diff := cmp.Diff([]string{errGraceOver.Error()}, d.read()); diff != "" {
			t.Errorf("the hard context (-want +got):\n%s", diff)
		}
	})
}

func TestDeafLoopIsNamedAndCleanUpsRunAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newTestLifecycle()
		l.CleanUp("store", func(context.Context) error { d.write("store closed"); return nil })
		free := make(chan struct{})
		l.Loop("deaf", func(context.Context, context.Context) error { <-free; return nil })
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(interrupted{15})
		err := l.Run(ctx)
		if err == nil || !strings.Contains(err.Error(), "deaf did not stop in time") {
			t.Errorf("Run = %v, want an error that names the loop", err)
		}
		if diff := cmp.Diff([]string{"store closed"}, d.read()); diff != "" {
			t.Errorf("clean-ups (-want +got):\n%s", diff)
		}
		close(free)
	})
}

func TestFirstLoopToEndEndsAll(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name string
		run  func() error
		text string
	}{
		{"with an error", func() error { return boom }, "broken: boom"},
		{"without one", func() error { return nil }, "broken: " + errEnded.Error()},
		{"in a panic", func() error { panic("oops") }, "broken: panic: oops"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, d := newTestLifecycle()
				l.Loop("broken", func(context.Context, context.Context) error { return tt.run() })
				l.Loop("good", func(soft, _ context.Context) error { <-soft.Done(); d.write("good drained"); return nil })
				l.CleanUp("one", func(context.Context) error { return errors.New("first clean-up") })
				l.CleanUp("two", func(context.Context) error { return errors.New("second clean-up") })
				err := l.Run(t.Context())
				if err == nil {
					t.Fatal("Run = nil")
				}
				for _, text := range []string{tt.text, "one: first clean-up", "two: second clean-up"} {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("Run = %v, want it to say %q", err, text)
					}
				}
				if diff := cmp.Diff([]string{"good drained"}, d.read()); diff != "" {
					t.Errorf("the other loop (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestUnwindingWithoutRunningStopsNothingThatNeverStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newTestLifecycle()
		l.Server("http", func() error { return nil }, func(context.Context) error { d.write("stopped"); return nil })
		began := time.Now()
		if err := l.unwind(t.Context(), began); err != nil {
			t.Errorf("unwind = %v", err)
		}
		if err := l.unwind(t.Context(), began); err != nil {
			t.Errorf("second unwind = %v", err)
		}
		if diff := cmp.Diff([]string{"stopped"}, d.read()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
	})
}
