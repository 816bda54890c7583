package notifytest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exchange posts once and describes what came back.
func exchange(t *testing.T, rt http.RoundTripper, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/hook?a=1", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return "no answer"
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 10000))
	end := "whole"
	if err != nil {
		end = "broken"
	}
	return fmt.Sprintf("%d %q %s %s", res.StatusCode, res.Header.Get("X-Test"), bytes.TrimRight(body, "x"), end)
}

func TestReceiverDoesWhatItsScriptSaysOverBothTransports(t *testing.T) {
	t.Parallel()
	script := []notifytest.Step{
		{},
		{Status: 503, Body: "busy", Header: map[string]string{"X-Test": "yes"}},
		{Cut: true},
		{Body: "half", CutBody: true},
		{Status: 302},
		{Status: 500, Body: "long", Flood: 9000},
	}
	want := []string{
		`200 "" ok whole`, `503 "yes" busy whole`, "no answer",
		`200 "" half broken`, `302 ""  whole`, `500 "" long whole`, `204 ""  whole`, `204 ""  whole`,
	}
	overNetwork := notifytest.NewReceiver(script...).Then(notifytest.Step{Status: 204})
	server := httptest.NewServer(overNetwork)
	t.Cleanup(server.Close)
	network := &http.Transport{}
	t.Cleanup(network.CloseIdleConnections)
	inProcess := notifytest.NewReceiver(script...).Then(notifytest.Step{Status: 204})
	for what, c := range map[string]struct {
		r   *notifytest.Receiver
		rt  http.RoundTripper
		url string
	}{
		"network":    {overNetwork, network, server.URL},
		"in process": {inProcess, notifytest.InProcess(inProcess), "http://receiver.example"},
	} {
		var got []string
		for range want {
			got = append(got, exchange(t, c.rt, c.url))
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		received := c.r.Received()
		if len(received) != len(want) || string(received[0].Body) != "body" || received[0].Method != http.MethodPost || !strings.HasSuffix(received[0].URL, "/hook?a=1") {
			t.Errorf("%s: got %+v", what, received)
		}
	}
}

func TestInProcessTransportKeepsVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := notifytest.NewReceiver(notifytest.Step{Delay: 3 * time.Second}, notifytest.Step{Hang: true}, notifytest.Step{Body: "half", HangBody: true})
		rt := notifytest.InProcess(r)
		for _, want := range []struct {
			answer string
			took   time.Duration
		}{{`200 "" ok whole`, 3 * time.Second}, {"no answer", 5 * time.Second}, {`200 "" half broken`, 5 * time.Second}} {
			began := time.Now()
			if got := exchange(t, rt, "http://receiver.example"); got != want.answer || time.Since(began) != want.took {
				t.Errorf("got %s after %s, want %s after %s", got, time.Since(began), want.answer, want.took)
			}
			select {
			case <-r.Arrivals():
			default:
				t.Error("no arrival was told")
			}
		}
	})
}

func TestSamplesAreOfEveryKindAndHideTheirCanaries(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for _, kind := range notifytest.SampleTypes() {
		o := notifytest.Sample(kind)
		if !json.Valid(o.Event.Data) || o.Event.ID == "" || o.Event.Subject == "" || o.ID == "" || o.EventType != kind {
			t.Errorf("%s: got %+v", kind, o)
		}
		// The store's snapshot holds neither query nor result link.
		notifytest.NoCanary(t, string(kind), string(o.Event.Data), notifytest.CanaryQuery, "canary-query")
		ids[o.Event.ID] = true
	}
	if len(ids) != len(job.EventTypes()) {
		t.Errorf("got %d ids for %d types", len(ids), len(job.EventTypes()))
	}
	if a, b := notifytest.Sample(job.EventFailed), notifytest.SampleOf(job.EventFailed, job.ID{1}); a.Event.ID == b.Event.ID || a.ID == b.ID {
		t.Error("two jobs share an event")
	}
}

func TestVerifierRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := func() notifytest.Received {
		return notifytest.Received{
			Header: http.Header{"Content-Type": {"application/cloudevents+json"}, "Webhook-Id": {"evt_1"}, "Webhook-Timestamp": {"1"}},
			Body:   []byte(`{"specversion":"1.0","id":"evt_1","source":"/x","type":"t","timestamp":"2026-01-01T00:00:00Z"}`),
		}
	}
	if err := notifytest.CheckWebhook(good()); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(r *notifytest.Received){
		"content type":  func(r *notifytest.Received) { r.Header.Set("Content-Type", "application/json") },
		"signed":        func(r *notifytest.Received) { r.Header.Set("Webhook-Signature", "v1,x") },
		"other id":      func(r *notifytest.Received) { r.Header.Set("Webhook-Id", "evt_2") },
		"no timestamp":  func(r *notifytest.Received) { r.Header.Del("Webhook-Timestamp") },
		"no JSON":       func(r *notifytest.Received) { r.Body = []byte("x") },
		"no CloudEvent": func(r *notifytest.Received) { r.Body = []byte(`{"id":"evt_1"}`) },
		"no time":       func(r *notifytest.Received) { r.Body = bytes.Replace(r.Body, []byte("timestamp"), []byte("time"), 1) },
	} {
		r := good()
		spoil(&r)
		if notifytest.CheckWebhook(r) == nil {
			t.Errorf("%s: it was accepted", what)
		}
	}
	for _, secret := range []string{"whsec_bm90IHRoZXJl", "?"} {
		if notifytest.CheckWebhook(good(), secret) == nil {
			t.Errorf("%s: it was accepted unsigned", secret)
		}
	}
}

// naive is a sender as one writes it in five minutes.
type naive struct {
	client *http.Client
	url    string
}

func (n naive) Send(ctx context.Context, batch []job.Outgoing) (notify.Answer, error) {
	if len(batch) == 0 {
		return notify.Answer{}, errors.New("nothing to send")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(batch[0].Event.Data))
	if err != nil {
		return notify.Answer{}, err
	}
	res, err := n.client.Do(req)
	if err != nil {
		return notify.Answer{}, &notify.SendError{Reason: job.ReasonNetwork, Err: err}
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return notify.Answer{}, &notify.SendError{Reason: job.ReasonNetwork, Err: err}
	}
	answer := notify.Answer{Code: res.StatusCode, Head: string(body)}
	if res.StatusCode >= 300 {
		return answer, &notify.SendError{Reason: job.ReasonServer, Err: errors.New(n.url)}
	}
	return answer, nil
}

const naiveVariable = "JOBWATCHER_TEST_NAIVE_SENDER"

func TestNaiveSender(t *testing.T) {
	if os.Getenv(naiveVariable) == "" {
		t.Skip("it is run by TestExerciseFindsTheFaultsOfANaiveSender, and fails")
	}
	notifytest.ExerciseSender(t, func(_ *testing.T, s notifytest.Setup) notify.Sender {
		return naive{&http.Client{Transport: s.Transport, Timeout: s.Timeout}, s.URL.Reveal()}
	}, notifytest.Exercise{})
}

// Checks that cannot fail are none: here they must.
func TestExerciseFindsTheFaultsOfANaiveSender(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestNaiveSender$", "-test.v")
	cmd.Env = append(os.Environ(), naiveVariable+"=1")
	output, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the naive sender passes: %s", output)
	}
	for _, found := range []string{
		"refused_with_404", "refused_with_429", "asked_to_wait_with_429", "redirected_elsewhere_with_302", "redirected_nowhere_with_302",
		"silent_receiver", "body_stalls_after_200", "body_breaks_after_200", "endless_body", "bytes_that_are_no_text", "echo_of_a_refused_request",
		"URL_in_the_answer", "cancelled_before",
	} {
		if !bytes.Contains(output, []byte("--- FAIL: TestNaiveSender/"+found)) {
			t.Errorf("the fault %q was not found", found)
		}
	}
}
