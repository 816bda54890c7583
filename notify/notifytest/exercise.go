package notifytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// Setup is what a Sender under test is made with.
type Setup struct {
	URL       secret.Text // its path holds CanaryToken
	Transport http.RoundTripper
	Timeout   time.Duration
}

// Exercise says what else is known about the Senders under test.
type Exercise struct {
	// Secrets are what the Sender was configured with and must never show.
	Secrets []string
	// Accepts is the step that counts as success; zero: 200 "ok".
	Accepts Step
}

// exerciseURL is public by name, so that no guard has anything to say.
const exerciseURL = "https://receiver.example/services/" + CanaryToken + "?sig=" + CanaryToken

// maxHead is how much of an answer may go into the ledger.
const maxHead = 512

// ExerciseSender runs the checks that every Sender must pass: which answers
// are failures and why, how long the receiver asks us to wait, what a silent, a
// broken and a talkative receiver do to it, and that no answer or error shows a
// URL or a secret. newSender is called inside the bubble of virtual time in
// which its sender is used.
func ExerciseSender(t *testing.T, newSender func(t *testing.T, s Setup) notify.Sender, x Exercise) {
	t.Helper()
	run := func(name string, r *Receiver, check func(t *testing.T, e *exchange)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport := InProcess(r)
				const timeout = 15 * time.Second
				sender := newSender(t, Setup{URL: secret.New(exerciseURL), Transport: transport, Timeout: timeout})
				check(t, &exchange{sender: sender, receiver: r, transport: transport, timeout: timeout, x: x})
			})
		})
	}
	exerciseAnswers(run, x)
	exerciseFaults(run, x)
}

type runner func(name string, r *Receiver, check func(t *testing.T, e *exchange))

// exchange is one sender with one receiver.
type exchange struct {
	sender    notify.Sender
	receiver  *Receiver
	transport *Transport
	timeout   time.Duration
	x         Exercise
}

// send sends one sample and checks what holds whatever happens.
func (e *exchange) send(ctx context.Context, t *testing.T) (notify.Answer, *notify.SendError) {
	t.Helper()
	answer, err := e.sender.Send(ctx, []job.Outgoing{Sample(job.EventFailed)})
	var failed *notify.SendError
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("the error is a %T, want a *notify.SendError: %v", err, err)
	}
	if !utf8.ValidString(answer.Head) || len(answer.Head) > maxHead || strings.ContainsAny(answer.Head, "\x00\x1b\n\r") {
		t.Errorf("the answer's head is not clean: %d bytes %q", len(answer.Head), answer.Head)
	}
	NoCanary(t, "the answer's head", answer.Head, e.x.Secrets...)
	NoCanary(t, "the answer's head", answer.Head, CanaryQuery)
	if err != nil {
		NoCanary(t, "the error", fmt.Sprintf("%v %+v %#v %#v", err, err, failed, failed.Err), e.x.Secrets...)
		if strings.Contains(err.Error(), "/services/") {
			t.Errorf("the error shows the URL's path: %v", err)
		}
	}
	return answer, failed
}

// fails sends one sample and expects it to fail for the reason.
func (e *exchange) fails(t *testing.T, reason job.Reason) (notify.Answer, *notify.SendError) {
	t.Helper()
	answer, failed := e.send(t.Context(), t)
	if failed == nil {
		t.Fatalf("it counts as taken, want %s", reason)
	}
	if failed.Reason != reason {
		t.Errorf("got reason %s, want %s: %v", failed.Reason, reason, failed)
	}
	return answer, failed
}

func (e *exchange) requests(t *testing.T, want int) {
	t.Helper()
	if got := len(e.receiver.Received()); got != want {
		t.Errorf("the receiver got %d requests, want %d", got, want)
	}
}

// exerciseAnswers is about receivers that answer properly.
func exerciseAnswers(run runner, x Exercise) {
	run("taken", Always(x.Accepts), func(t *testing.T, e *exchange) {
		if answer, failed := e.send(t.Context(), t); failed != nil || answer.Code/100 != 2 {
			t.Errorf("got %+v, %v", answer, failed)
		}
		e.requests(t, 1)
	})
	for _, code := range []int{http.StatusCreated, http.StatusAccepted, http.StatusNoContent} {
		run(fmt.Sprintf("taken with %d", code), Always(Step{Status: code}), func(t *testing.T, e *exchange) {
			if answer, failed := e.send(t.Context(), t); failed != nil || answer.Code != code {
				t.Errorf("got %+v, %v", answer, failed)
			}
		})
	}
	refusals := map[int]job.Reason{
		400: job.ReasonRejected, 401: job.ReasonAuth, 402: job.ReasonRejected, 403: job.ReasonForbidden,
		404: job.ReasonNotFound, 405: job.ReasonRejected, 409: job.ReasonRejected, 410: job.ReasonGone,
		413: job.ReasonRejected, 422: job.ReasonRejected, 429: job.ReasonRateLimited,
		500: job.ReasonServer, 501: job.ReasonServer, 502: job.ReasonServer, 503: job.ReasonServer, 504: job.ReasonServer,
	}
	for _, code := range slices.Sorted(maps.Keys(refusals)) {
		reason := refusals[code]
		run(fmt.Sprintf("refused with %d", code), Always(Step{Status: code, Body: "no"}), func(t *testing.T, e *exchange) {
			answer, failed := e.fails(t, reason)
			if answer.Code != code || answer.Head != "no" || failed.RetryAfter != 0 {
				t.Errorf("got %+v, %v", answer, failed)
			}
			e.requests(t, 1) // trying again is the schedule's business
		})
	}
	for _, code := range []int{429, 503} {
		run(fmt.Sprintf("asked to wait with %d", code),
			NewReceiver(
				Step{Status: code, Header: map[string]string{"Retry-After": "7"}},
				Step{Status: code, Header: map[string]string{"Retry-After": "Sat, 01 Jan 2000 00:02:00 GMT", "Date": "Sat, 01 Jan 2000 00:00:00 GMT"}},
				Step{Status: code, Header: map[string]string{"Retry-After": "soon"}},
				Step{Status: code, Header: map[string]string{"Retry-After": "-5"}},
			),
			func(t *testing.T, e *exchange) {
				for _, want := range []time.Duration{7 * time.Second, 2 * time.Minute, 0, 0} {
					if _, failed := e.send(t.Context(), t); failed == nil || failed.RetryAfter != want {
						t.Errorf("got %+v, want to wait %s", failed, want)
					}
				}
			})
	}
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, to := range [][2]string{{"elsewhere", "https://elsewhere.example/"}, {"inside", "http://169.254.169.254/latest"}, {"nowhere", ":\x7f"}} {
			run(fmt.Sprintf("redirected %s with %d", to[0], code), Always(Step{Status: code, Header: map[string]string{"Location": to[1]}}), func(t *testing.T, e *exchange) {
				e.fails(t, job.ReasonRedirected)
				e.requests(t, 1)
			})
		}
	}
}
