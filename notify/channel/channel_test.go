package channel_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/channel"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// token is what a gotify URL has at the end: 15 characters, the first an A.
const token = "Acanary.Token12"

// service is a Gotify on loopback, which the library speaks to as to any other.
func service(t *testing.T, answer http.HandlerFunc) (url string, bodies func() string) {
	t.Helper()
	var all strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		all.Write(body)
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"id":1}`)
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http://", "gotify://", 1) + "/" + token + "?disabletls=yes", all.String
}

func sender(t *testing.T, url, template string, o outbound.Options) *channel.Sender {
	t.Helper()
	d := notify.Destination{Name: "oncall", Channel: &notify.ChannelConfig{URL: secret.Fixed(secret.New(url))}}
	if template != "" {
		var err error
		if d.Channel.Template, err = notify.ParseTemplate(template, false); err != nil {
			t.Fatal(err)
		}
	}
	s, err := channel.New(d, outbound.New(o))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var open = outbound.Options{AllowPrivate: true}

func TestEveryKindOfEventIsSaidInPlainWords(t *testing.T) {
	t.Parallel()
	for _, kind := range job.EventTypes() {
		url, bodies := service(t, nil)
		out := notifytest.Sample(kind)
		answer, err := sender(t, url, "", open).Send(t.Context(), []job.Outgoing{out})
		if err != nil || answer.Note != "" {
			t.Errorf("%s: %v, note %q", kind, err, answer.Note)
		}
		said := bodies()
		notifytest.NoCanary(t, "the message", said, notifytest.CanaryQuery)
		word, _, _ := strings.Cut(kind.Short(), "_")
		if strings.HasPrefix(string(kind), "dev.jobwatcher.job.") && (!strings.Contains(said, out.Event.Subject) || !strings.Contains(said, word)) {
			t.Errorf("%s: says %s", kind, said)
		}
	}
}

func TestOwnWordsAreSaidAndFallBack(t *testing.T) {
	t.Parallel()
	url, bodies := service(t, nil)
	if _, err := sender(t, url, "It {{.Event}}!", open).Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(bodies(), "It failed!") {
		t.Errorf("said %s", bodies())
	}
	url, bodies = service(t, nil)
	out := notifytest.SampleOf(job.EventFailed, job.MustParseID("0b1e0000-0000-4000-8000-000000000001")) // not what templates are tried with
	answer, err := sender(t, url, `{{if ne .Subject "`+out.Event.Subject+`"}}fine{{else}}{{slice "a" 5}}{{end}}`, open).Send(t.Context(), []job.Outgoing{out})
	if err != nil || !strings.Contains(answer.Note, "template failed") || !strings.Contains(bodies(), out.Event.Subject) {
		t.Errorf("note %q, %v, said %s", answer.Note, err, bodies())
	}
}

func TestRefusalIsRecordedWithoutSecrets(t *testing.T) {
	t.Parallel()
	url, _ := service(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no: "+r.URL.String()+" "+r.Header.Get("X-Gotify-Key"), http.StatusForbidden)
	})
	_, err := sender(t, url, "", open).Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
	var failed *notify.SendError
	if !errors.As(err, &failed) || failed.Reason != job.ReasonRejected {
		t.Fatalf("error %v, want one with the reason rejected", err)
	}
	if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "canary") {
		t.Errorf("the error shows the token: %v", err)
	}
}

func TestUnreachableAndPrivateServicesAreToldApart(t *testing.T) {
	t.Parallel()
	url, _ := service(t, nil)
	for _, tt := range []struct {
		url  string
		o    outbound.Options
		want job.Reason
	}{
		{url, outbound.Options{}, job.ReasonBlocked},
		{"gotify://127.0.0.1:1/" + token + "?disabletls=yes", open, job.ReasonNetwork},
	} {
		_, err := sender(t, tt.url, "", tt.o).Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
		var failed *notify.SendError
		if !errors.As(err, &failed) || failed.Reason != tt.want || strings.Contains(err.Error(), token) {
			t.Errorf("error %v, want the reason %s", err, tt.want)
		}
	}
}

func TestBadURLIsRefusedWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                   "not a service URL",
		"canary":                             "not a service URL",
		"https://canary.example/":            "not one of",
		"generic://canary.example":           "not one of",
		"slack://canary":                     "not one of",
		"telegram://canary@telegram?chats=1": "valid URL of the service telegram",
		"discord://canary":                   "valid URL of the service discord",
		"smtp://me:canary@mail.example:587/?from=a@b.c&to=a@b.c": "",
	} {
		err := channel.Check(secret.New(text))
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("the error repeats the URL: %v", err)
		}
	}
}

// The URLs in the documents are such as the library takes.
func TestURLsOfTheDocumentsAreValid(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/destinations/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## channel")
	found := regexp.MustCompile("`([a-z]+://[^`]+)`").FindAllStringSubmatch(section, -1)
	for _, m := range found {
		if err := channel.Check(secret.New(m[1])); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	for _, name := range channel.Services() {
		if !strings.Contains(section, name) {
			t.Errorf("%s is not in the document", name)
		}
	}
	if len(found) < 5 {
		t.Errorf("only %d URLs", len(found))
	}
}

// What is sent through the default transport meets the guard as well.
func TestGuardedTransportRefusesPrivateAddresses(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	for allowed, o := range map[bool]outbound.Options{false: {}, true: open} {
		client := &http.Client{Transport: outbound.New(o).Guarded()}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, nil)
		res, err := client.Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		if (err == nil) != allowed || !allowed && !errors.Is(err, outbound.ErrBlocked) {
			t.Errorf("allowed %v: %v", allowed, err)
		}
	}
}

// A service that does not answer costs the attempt its time and no more.
func TestSilentServiceIsATimeout(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	asked := make(chan struct{}, 1)
	url, _ := service(t, func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-release })
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := sender(t, url, "", open).Send(ctx, []job.Outgoing{notifytest.Sample(job.EventFailed)})
	if _, ok := errors.AsType[*notify.SendError](err); !ok {
		t.Errorf("error %v, want that of an attempt", err)
	}
}
