package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"golang.org/x/time/rate"
)

const hook = "https://hooks.slack.example/services/T0CANARY99/B0CANARY99/" + notifytest.CanaryToken

func destination(url string, include ...string) notify.Destination {
	return notify.Destination{Name: "finance", Include: include, Slack: &notify.SlackConfig{URL: secret.Fixed(secret.New(url))}}
}

func sender(t testing.TB, r *notifytest.Receiver) *Sender {
	t.Helper()
	s, err := New(destination(hook), Options{Client: outbound.New(outbound.Options{Transport: notifytest.InProcess(r)})})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSenderPassesTheChecksForAllSenders(t *testing.T) {
	notifytest.ExerciseSender(t, func(t *testing.T, s notifytest.Setup) notify.Sender {
		t.Helper()
		d := destination(s.URL.Reveal(), notify.IncludeQuery, notify.IncludeDataFile)
		got, err := New(d, Options{Client: outbound.New(outbound.Options{Transport: s.Transport, Timeout: s.Timeout})})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}, notifytest.Exercise{})
}

func TestMessageIsPostedAsJSON(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	client := outbound.New(outbound.Options{AllowPrivate: true})
	t.Cleanup(client.CloseIdle)
	s, err := New(destination(server.URL+"/services/T0/B0/x"), Options{Client: client, PageURL: "https://user:canary-pw@jobwatcher.example/"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
	if err != nil || answer.Code != 200 || answer.Head != "ok" || answer.Key != "" {
		t.Errorf("got %+v, %v", answer, err)
	}
	got := r.Received()[0]
	if got.Method != http.MethodPost || got.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("got %s %v", got.Method, got.Header)
	}
	var w wire
	if err := json.Unmarshal(got.Body, &w); err != nil || w.Text == "" || len(w.Blocks) < 3 {
		t.Errorf("got %s, %v", got.Body, err)
	}
	if strings.Contains(string(got.Body), "canary-pw") || !strings.Contains(string(got.Body), "https://jobwatcher.example/") {
		t.Errorf("the page's link is wrong: %s", got.Body)
	}
	if strings.Contains(string(got.Body), "canary-query") {
		t.Errorf("the query was sent unasked: %s", got.Body)
	}
}

func TestRefusedBlocksAreSentAsPlainText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := notifytest.NewReceiver(notifytest.Step{Status: 400, Body: "invalid_blocks"})
		s := sender(t, r)
		if !s.Lane().Limiter.Allow() { // as the lane does before each message
			t.Fatal("the limiter gives nothing")
		}
		if _, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)}); err != nil {
			t.Fatal(err)
		}
		got := r.Received()
		if len(got) != 2 || strings.Contains(string(got[1].Body), "blocks") || !strings.Contains(string(got[1].Body), "Job failed") {
			t.Fatalf("got %d requests: %s", len(got), got[len(got)-1].Body)
		}
		if gap := got[1].At.Sub(got[0].At); gap < time.Second {
			t.Errorf("the second came after %s", gap)
		}

		r.Script(notifytest.Step{Status: 400, Body: "invalid_blocks"}, notifytest.Step{Status: 400, Body: "invalid_payload"})
		_, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
		var failed *notify.SendError
		if !errors.As(err, &failed) || failed.Reason != job.ReasonRejected || !strings.Contains(err.Error(), "invalid_payload") {
			t.Errorf("got %v", err)
		}

		r.Script(notifytest.Step{Status: 400, Body: "invalid_blocks_format"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := s.Send(ctx, []job.Outgoing{notifytest.Sample(job.EventFailed)}); !errors.As(err, &failed) || failed.Reason != job.ReasonRejected {
			t.Errorf("got %v", err)
		}
	})
}

func TestErrorsNameSlacksWordAndNotTheURL(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver(
		notifytest.Step{Status: 404, Body: "no_service"},
		notifytest.Step{Status: 403, Body: "no access to " + hook},
		notifytest.Step{Status: 200, Body: `{"ok":false,"error":"T0CANARY99"}`},
	)
	s := sender(t, r)
	for _, want := range []string{"gone: the receiver answered 404: no_service", "forbidden: the receiver answered 403", "server: the receiver answered 200"} {
		answer, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
		if err == nil || err.Error() != want || strings.Contains(answer.Head, "T0CANARY99") {
			t.Errorf("got %v and %q, want %s", err, answer.Head, want)
		}
	}
}

func TestDestinationsWithOneURLShareItsPace(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(hook+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Pacer{}
	lane := func(source secret.Source) notify.LaneOptions {
		s, err := New(notify.Destination{Name: "x", Slack: &notify.SlackConfig{URL: source}}, Options{Pacer: p})
		if err != nil {
			t.Fatal(err)
		}
		return s.Lane()
	}
	first := lane(secret.Fixed(secret.New(hook)))
	if first.Concurrency != 1 || first.Batch != 100 || first.Limiter.Burst() != 1 || float64(first.Limiter.Limit()) > 1 {
		t.Errorf("got %+v", first)
	}
	if lane(secret.File(file)).Limiter != first.Limiter || lane(secret.Fixed(secret.New(hook))).Limiter != first.Limiter {
		t.Error("the same URL has two paces")
	}
	if lane(secret.Fixed(secret.New(hook+"x"))).Limiter == first.Limiter {
		t.Error("two URLs share a pace")
	}
	missing := lane(secret.File(file + "-missing"))
	if missing.Limiter == first.Limiter || missing.Limiter == lane(secret.File(file+"-other")).Limiter || missing.Limiter != lane(secret.File(file+"-missing")).Limiter {
		t.Error("URLs that cannot be read yet do not go by their files' names")
	}
}

func TestURLIsReadAgainForEachMessage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	r := notifytest.NewReceiver()
	s, err := New(notify.Destination{Name: "x", Slack: &notify.SlackConfig{URL: secret.File(file)}},
		Options{Client: outbound.New(outbound.Options{Transport: notifytest.InProcess(r)})})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		content string
		ok      bool
	}{{"https://a.example/1\n", true}, {"https://a.example/2", true}, {"", false}, {"canary no URL", false}} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
		var failed *notify.SendError
		if c.ok != (err == nil) || err != nil && (!errors.As(err, &failed) || failed.Reason != job.ReasonInternal || strings.Contains(err.Error(), "canary")) {
			t.Errorf("%q: got %v", c.content, err)
		}
		if checked := s.Check(); (checked == nil) != c.ok {
			t.Errorf("%q: Check says %v", c.content, checked)
		}
	}
	got := r.Received()
	if len(got) != 2 || got[0].URL != "https://a.example/1" || got[1].URL != "https://a.example/2" {
		t.Errorf("got %+v", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)}); err == nil {
		t.Error("it was sent without a URL")
	}
}

func TestBadConfigurationIsRefusedWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		d notify.Destination
		o Options
	}{
		"no Slack":       {notify.Destination{Name: "x"}, Options{}},
		"no URL":         {destination(""), Options{}},
		"no scheme":      {destination("canary.example"), Options{}},
		"page is no URL": {destination(hook), Options{PageURL: "canary"}},
		"page too long":  {destination(hook), Options{PageURL: "https://x/canary" + strings.Repeat("x", 500)}},
	} {
		if s, err := New(c.d, c.o); err == nil || strings.Contains(strings.ToLower(err.Error()), "canary") {
			t.Errorf("%s: got %v, %v", what, s, err)
		}
	}
	s := sender(t, notifytest.NewReceiver())
	notifytest.NoCanary(t, "the sender", fmt.Sprintf("%v %+v %#v", s, s, s), "T0CANARY99")
}

func TestReplicasShareAURLsPace(t *testing.T) {
	t.Parallel()
	p := &Pacer{}
	first := p.limiter(secret.Fixed(secret.New("https://hooks.slack.example/a")))
	p.Share(3)
	second := p.limiter(secret.Fixed(secret.New("https://hooks.slack.example/b")))
	if each := rate.Every(3 * spacing); first.Limit() != each || second.Limit() != each {
		t.Errorf("each of three sends %v and %v a second, want %v", first.Limit(), second.Limit(), each)
	}
	p.Share(0)
	if first.Limit() != rate.Every(spacing) {
		t.Errorf("alone it sends %v a second", first.Limit())
	}
}
