package notifytest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// orderedFaults are the ways in which a body may end badly.
func orderedFaults(yield func(what string, s Step) bool) {
	_ = yield("stalls", Step{HangBody: true}) && yield("breaks", Step{CutBody: true})
}

// exerciseFaults is about receivers that do not behave.
func exerciseFaults(run runner, x Exercise) {
	run("silent receiver", Always(Step{Hang: true}), func(t *testing.T, e *exchange) {
		began := time.Now()
		e.fails(t, job.ReasonTimeout)
		if took := time.Since(began); took != e.timeout {
			t.Errorf("it gave up after %s, want %s", took, e.timeout)
		}
	})
	slow := x.Accepts
	slow.Delay = 14 * time.Second
	run("slow receiver", Always(slow), func(t *testing.T, e *exchange) {
		if _, failed := e.send(t.Context(), t); failed != nil {
			t.Errorf("got %v, want it taken after %s", failed, slow.Delay)
		}
	})
	run("connection cut", Always(Step{Cut: true}), func(t *testing.T, e *exchange) {
		answer, _ := e.fails(t, job.ReasonNetwork)
		if answer.Code != 0 {
			t.Errorf("got code %d without an answer", answer.Code)
		}
	})
	for what, step := range orderedFaults {
		taken, refused := x.Accepts, step
		taken.HangBody, taken.CutBody = step.HangBody, step.CutBody
		refused.Status, refused.Body = 500, "half"
		run("body "+what+" after 200", Always(taken), func(t *testing.T, e *exchange) {
			// The receiver took it and said so; sending again would tell it twice.
			if answer, failed := e.send(t.Context(), t); failed != nil || answer.Code != 200 {
				t.Errorf("got %+v, %v", answer, failed)
			}
		})
		run("body "+what+" after 500", Always(refused), func(t *testing.T, e *exchange) {
			if answer, _ := e.fails(t, job.ReasonServer); answer.Head != "half" {
				t.Errorf("got %q", answer.Head)
			}
		})
	}
	run("endless body", Always(Step{Status: 500, Flood: 8 << 20}), func(t *testing.T, e *exchange) {
		e.fails(t, job.ReasonServer)
		if read := e.transport.BodyRead(); read > 64<<10 {
			t.Errorf("%d bytes of the answer were read", read)
		}
	})
	run("bytes that are no text", Always(Step{Status: 500, Body: "a\xff\xfe\x00\x1b[2J\r\nb\u202e"}), func(t *testing.T, e *exchange) {
		e.fails(t, job.ReasonServer)
	})
	run("echo of a refused request", Always(Step{Status: 400, Echo: true}), func(t *testing.T, e *exchange) {
		e.fails(t, job.ReasonRejected)
	})
	run("URL in the answer", Always(Step{Status: 404, Body: "no hook at " + exerciseURL + " or " + CanaryToken + " or " + CanaryDataFile}), func(t *testing.T, e *exchange) {
		e.fails(t, job.ReasonNotFound)
	})
	run("cancelled while waiting", Always(Step{Hang: true}), func(t *testing.T, e *exchange) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, failed := e.send(ctx, t)
		if failed == nil || !errors.Is(failed, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", failed, time.Since(began))
		}
	})
	run("cancelled before", Always(Step{}), func(t *testing.T, e *exchange) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, failed := e.send(ctx, t); failed == nil || !errors.Is(failed, context.Canceled) {
			t.Errorf("got %v", failed)
		}
	})
	run("recovery", NewReceiver(Step{Cut: true}, Step{Status: 500}, Step{Status: 429}).Then(x.Accepts), func(t *testing.T, e *exchange) {
		e.fails(t, job.ReasonNetwork)
		e.fails(t, job.ReasonServer)
		e.fails(t, job.ReasonRateLimited)
		if _, failed := e.send(t.Context(), t); failed != nil {
			t.Errorf("got %v", failed)
		}
		e.requests(t, 4)
	})
	run("every kind of event", Always(x.Accepts), func(t *testing.T, e *exchange) {
		for _, kind := range SampleTypes() {
			if _, err := e.sender.Send(t.Context(), []job.Outgoing{Sample(kind)}); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	})
	run("an event that says nothing", Always(x.Accepts), func(t *testing.T, e *exchange) {
		for _, data := range []string{"", "{}", `{"job":{}}`, `{"job":null}`, `{"x":1}`} {
			o := Sample(job.EventFailed)
			o.Event.Data, o.Event.Job, o.Event.Time, o.DataFile = []byte(data), nil, 0, Sample(job.EventCompleted).DataFile
			var failed *notify.SendError
			if _, err := e.sender.Send(t.Context(), []job.Outgoing{o}); err != nil && (!errors.As(err, &failed) || failed.Reason != job.ReasonInternal) {
				t.Errorf("%s: %v", data, err)
			}
		}
	})
	run("no event at all", Always(x.Accepts), func(t *testing.T, e *exchange) {
		var failed *notify.SendError
		if _, err := e.sender.Send(t.Context(), nil); !errors.As(err, &failed) || failed.Reason != job.ReasonInternal {
			t.Errorf("got %v, want an error of our own", err)
		}
		e.requests(t, 0)
	})
}
