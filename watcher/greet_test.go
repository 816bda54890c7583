package watcher

import (
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func greeting(o *Options) { o.Greet = true }

func TestFirstRequestIsMadeWhereThereIsNothingToLookAt(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.lists(func(int) ([]job.Observation, error) { return nil, nil })
		w, _ := b.start(greeting)
		if h := w.Health(); h.Reachable || h.Reason != job.NoReason {
			t.Errorf("before any request: %+v", h)
		}
		b.pass(time.Hour)
		if n := len(b.up.pages()); n != 1 || !w.Health().Reachable {
			t.Errorf("%d requests, %+v", n, w.Health())
		}
	})
}

func TestNoFirstRequestWhereLooksTell(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(func(job.ID, time.Time) (job.Observation, error) { return always(job.InProgress)(time.Now()) })
		w, _ := b.start(greeting)
		b.track(w, idOf(1))
		b.pass(time.Minute)
		if n := len(b.up.pages()); n != 0 || !w.Health().Reachable {
			t.Errorf("%d list calls, %+v", n, w.Health())
		}
	})
}

func TestRefusedCredentialsShowWithoutAnyJob(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		refused := &fault{reason: job.ReasonAuth, wide: true}
		b.up.lists(func(int) ([]job.Observation, error) { return nil, refused })
		w, _ := b.start(greeting)
		b.pass(time.Hour)
		if h := w.Health(); h.Reachable || h.Reason != job.ReasonAuth {
			t.Errorf("%+v", h)
		}
		if n := len(b.up.pages()); n < 5 || n > 30 {
			t.Errorf("%d tries in an hour", n)
		}
		if n := b.logged(zapcore.ErrorLevel, "credentials"); n != 1 {
			t.Errorf("%d lines about it, want 1", n)
		}
		b.up.lists(func(int) ([]job.Observation, error) { return nil, nil })
		b.pass(10 * time.Minute)
		n := len(b.up.pages())
		if b.pass(time.Hour); !w.Health().Reachable || len(b.up.pages()) != n {
			t.Errorf("%+v, %d more tries after the answer", w.Health(), len(b.up.pages())-n)
		}
	})
}

func TestFirstRequestIsAnsweredByARefusalOfTheListAsWell(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.lists(func(int) ([]job.Observation, error) { return nil, &fault{reason: job.ReasonForbidden} })
		w, _ := b.start(greeting)
		b.pass(time.Hour)
		if n := len(b.up.pages()); n != 1 || !w.Health().Reachable {
			t.Errorf("%d requests, %+v", n, w.Health())
		}
		if n := b.logged(zapcore.ErrorLevel, ""); n != 0 {
			t.Errorf("%d errors: a list that is not ours to see is no fault", n)
		}
	})
}
