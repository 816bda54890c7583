package webhook

import (
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

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	oldSecret = "whsec_b2xkLWNhbmFyeS1zZWNyZXQtb2xkLWNhbmFyeQ=="
	newSecret = "whsec_bmV3LWNhbmFyeS1zZWNyZXQtbmV3LWNhbmFyeQ=="
)

func fixed(texts ...string) []secret.Source {
	var sources []secret.Source
	for _, s := range texts {
		sources = append(sources, secret.Fixed(secret.New(s)))
	}
	return sources
}

func destination(url string, secrets ...string) notify.Destination {
	return notify.Destination{Name: "loader", Webhook: &notify.WebhookConfig{URL: secret.Fixed(secret.New(url)), Secrets: fixed(secrets...)}}
}

func sender(t testing.TB, d notify.Destination, r *notifytest.Receiver) *Sender {
	t.Helper()
	s, err := New(d, outbound.New(outbound.Options{Transport: notifytest.InProcess(r)}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func send(t testing.TB, s *Sender, o job.Outgoing) notify.Answer {
	t.Helper()
	a, err := s.Send(t.Context(), []job.Outgoing{o})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSenderPassesTheChecksForAllSenders(t *testing.T) {
	token := "Bearer canary-header-token"
	notifytest.ExerciseSender(t, func(t *testing.T, s notifytest.Setup) notify.Sender {
		t.Helper()
		d := notify.Destination{Name: "loader", Include: []string{notify.IncludeQuery, notify.IncludeDataFile}, Webhook: &notify.WebhookConfig{
			URL: secret.Fixed(s.URL), Secrets: fixed(oldSecret, newSecret),
			Headers: map[string]secret.Text{"Authorization": secret.New(token)},
		}}
		w, err := New(d, outbound.New(outbound.Options{Transport: s.Transport, Timeout: s.Timeout}))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}, notifytest.Exercise{Secrets: []string{oldSecret, newSecret, oldSecret[6:], newSecret[6:], token, "canary-header-token"}})
}

func TestIndependentVerifiersAcceptTheWebhook(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	client := outbound.New(outbound.Options{AllowPrivate: true})
	t.Cleanup(client.CloseIdle)
	d := destination(server.URL+"/hooks/zuora", newSecret, oldSecret)
	d.Include = []string{notify.IncludeQuery, notify.IncludeDataFile}
	s, err := New(d, client)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range notifytest.SampleTypes() {
		send(t, s, notifytest.Sample(kind))
	}
	for i, got := range r.Received() {
		kind := notifytest.SampleTypes()[i]
		if err := notifytest.CheckWebhook(got, newSecret, oldSecret); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for _, one := range []string{newSecret, oldSecret} {
			official, err := standardwebhooks.NewWebhook(one)
			if err != nil {
				t.Fatal(err)
			}
			if err := official.Verify(got.Body, got.Header); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			got.Body[10] ^= 1
			if official.Verify(got.Body, got.Header) == nil || notifytest.CheckWebhook(got, one) == nil {
				t.Errorf("%s: an altered body is accepted", kind)
			}
			got.Body[10] ^= 1
		}
		if notifytest.CheckWebhook(got, "whsec_b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldA==") == nil {
			t.Errorf("%s: another secret is accepted", kind)
		}
	}
}

func TestRequestIsAsTheContractSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := notifytest.NewReceiver()
		d := destination("https://loader.example/hooks/zuora", oldSecret)
		d.Webhook.Headers = map[string]secret.Text{"x-team": secret.New("finance")}
		o := notifytest.Sample(job.EventCompleted)
		answer := send(t, sender(t, d, r), o)
		got := r.Received()[0]
		headers := map[string]string{}
		for name := range got.Header {
			headers[name] = got.Header.Get(name)
		}
		signature := headers["Webhook-Signature"]
		delete(headers, "Webhook-Signature")
		want := map[string]string{
			"Content-Type": "application/cloudevents+json", "User-Agent": "jobwatcher", "X-Team": "finance",
			"Webhook-Id": o.Event.ID, "Webhook-Timestamp": "946684800", // when a bubble begins
		}
		if diff := cmp.Diff(headers, want); diff != "" {
			t.Error(diff)
		}
		if len(strings.Fields(signature)) != 1 || !strings.HasPrefix(signature, "v1,") {
			t.Errorf("got signature %q", signature)
		}
		if got.Method != http.MethodPost || got.URL != "https://loader.example/hooks/zuora" {
			t.Errorf("got %s %s", got.Method, got.URL)
		}
		if diff := cmp.Diff(answer, notify.Answer{Code: 200, Head: "ok", Key: answer.Key}); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRetriesKeepTheIDAndTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := notifytest.NewReceiver(notifytest.Step{Status: 500})
		s := sender(t, destination("https://loader.example/", oldSecret), r)
		o := notifytest.Sample(job.EventFailed)
		if _, err := s.Send(t.Context(), []job.Outgoing{o}); err == nil {
			t.Fatal("500 was taken")
		}
		time.Sleep(20 * time.Hour) //nolint:forbidigo // virtual
		o.Tries = 9
		send(t, s, o)
		first, second := r.Received()[0], r.Received()[1]
		if diff := cmp.Diff(string(second.Body), string(first.Body)); diff != "" {
			t.Error(diff)
		}
		if first.Header.Get("Webhook-Id") != second.Header.Get("Webhook-Id") {
			t.Error("webhook-id changed")
		}
		if first.Header.Get("Webhook-Timestamp") == second.Header.Get("Webhook-Timestamp") {
			t.Error("webhook-timestamp did not change: receivers would take the retry for a replay attack")
		}
		if err := notifytest.CheckWebhook(second, oldSecret); err != nil {
			t.Error(err)
		}
	})
}

func TestUnsignedWebhookStillNamesEventAndTime(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver()
	d := destination("https://loader.example/")
	d.Webhook.Secrets = []secret.Source{{}}
	if a := send(t, sender(t, d, r), notifytest.Sample(job.EventTest)); a.Key != "" {
		t.Errorf("got key %q", a.Key)
	}
	if err := notifytest.CheckWebhook(r.Received()[0]); err != nil {
		t.Error(err)
	}
}

func TestSecretsAreReadAgainForEachAttempt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := notifytest.NewReceiver()
	d := destination("https://loader.example/")
	d.Webhook.Secrets = []secret.Source{secret.File(file)}
	s := sender(t, d, r)
	var keys []string
	for _, step := range []struct {
		text  string
		valid []string
	}{
		{oldSecret + "\n", []string{oldSecret}},
		{newSecret + "\n" + oldSecret + "\n\n", []string{newSecret, oldSecret}},
		{newSecret, []string{newSecret}},
	} {
		write(step.text)
		keys = append(keys, send(t, s, notifytest.Sample(job.EventFailed)).Key)
		got := r.Received()[len(keys)-1]
		if err := notifytest.CheckWebhook(got, step.valid...); err != nil {
			t.Errorf("%d secrets: %v", len(step.valid), err)
		}
		if n := len(strings.Fields(got.Header.Get("Webhook-Signature"))); n != len(step.valid) {
			t.Errorf("got %d signatures, want %d", n, len(step.valid))
		}
	}
	if name, before, _ := strings.Cut(keys[0], " "); name != "secret#1" || !strings.HasSuffix(keys[1], ", secret#2 "+before) || !strings.HasPrefix(keys[1], keys[2]) {
		t.Errorf("the ledger's keys are %q, want them to tell the secrets apart", keys)
	}
	for _, bad := range []string{"", "\n", "whsec_", "whsec_%%%", "canary not base64!"} {
		write(bad)
		_, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
		var failed *notify.SendError
		if !errors.As(err, &failed) || failed.Reason != job.ReasonInternal || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	if len(r.Received()) != 3 {
		t.Error("something was sent with a bad secret")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestKeyIsAFingerprintAndNotThePrefixedSecret(t *testing.T) {
	t.Parallel()
	with, err := newSigner(fixed(oldSecret))
	if err != nil {
		t.Fatal(err)
	}
	without, err := newSigner(fixed(strings.TrimPrefix(oldSecret, "whsec_")))
	if err != nil {
		t.Fatal(err)
	}
	_, mark, _ := strings.Cut(with.key(), "secret#1 ")
	if with.key() != without.key() || len(mark) != 8 || strings.Contains(oldSecret, mark) {
		t.Errorf("got %q and %q", with.key(), without.key())
	}
}

func TestBadConfigurationIsRefusedWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	client := outbound.New(outbound.Options{})
	header := func(name, value string) notify.Destination {
		d := destination("https://loader.example/")
		d.Webhook.Headers = map[string]secret.Text{name: secret.New(value)}
		return d
	}
	for what, d := range map[string]notify.Destination{
		"no webhook":      {Name: "loader"},
		"no URL":          destination(""),
		"no scheme":       destination("canary.example/hook"),
		"bad secret":      destination("https://loader.example/", "canary?"),
		"one bad secret":  destination("https://loader.example/", oldSecret+" canary?"),
		"reserved header": header("webhook-ID", "canary"),
		"content type":    header("content-type", "canary"),
		"header name":     header("X Team", "canary"),
		"no header name":  header("", "canary"),
		"header value":    header("X-Team", "canary\r\nX-Other: canary"),
	} {
		s, err := New(d, client)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: got %v, %v", what, s, err)
		}
	}
	if _, err := New(header("X-Team", "a\tb é"), client); err != nil {
		t.Error(err)
	}
}

func TestBlockedAddressIsReportedAsBlocked(t *testing.T) {
	t.Parallel()
	s, err := New(destination("http://169.254.169.254/canary", oldSecret), outbound.New(outbound.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
	var failed *notify.SendError
	if !errors.As(err, &failed) || failed.Reason != job.ReasonBlocked || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestSenderShowsNoSecretWhenPrinted(t *testing.T) {
	t.Parallel()
	s := sender(t, destination("https://loader.example/"+notifytest.CanaryToken, oldSecret), notifytest.NewReceiver())
	shown := fmt.Sprintf("%v %+v %#v", s, s, s)
	notifytest.NoCanary(t, "the sender", shown, oldSecret)
}

func TestBatchesAreRefused(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver()
	o := notifytest.Sample(job.EventFailed)
	_, err := sender(t, destination("https://loader.example/"), r).Send(t.Context(), []job.Outgoing{o, o})
	var failed *notify.SendError
	if !errors.As(err, &failed) || failed.Reason != job.ReasonInternal || len(r.Received()) != 0 {
		t.Errorf("got %v", err)
	}
}
