package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// world is everything around a daemon: a simulated tenant and two receivers on
// real loopback ports.
type world struct {
	t      *testing.T
	tenant *zuorasim.Tenant
	zuora  *httptest.Server
	hook   *notifytest.Receiver
	hookAt string
	slack  *notifytest.Receiver
	chatAt string
	dir    string
}

var signingSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("canary-signing-secret-of-tests!!"))

func newWorld(t *testing.T, o zuorasim.Options) *world {
	t.Helper()
	o.Control = true
	w := &world{t: t, tenant: zuorasim.New(o), hook: notifytest.NewReceiver(), slack: notifytest.NewReceiver(), dir: t.TempDir()}
	w.zuora = httptest.NewServer(w.tenant)
	t.Cleanup(w.zuora.Close)
	w.hookAt, w.chatAt = w.receiver(w.hook, "/hooks/canary-hook-path"), w.receiver(w.slack, "/services/canary-slack-path")
	return w
}

// receiver serves one and returns its URL.
func (w *world) receiver(r *notifytest.Receiver, path string) string {
	w.t.Helper()
	server := httptest.NewServer(r)
	w.t.Cleanup(server.Close)
	return server.URL + path
}

// vars are the variables of a daemon in this world; the JSON log goes to stderr.
func (w *world) vars(more map[string]string) map[string]string {
	vars := map[string]string{
		"ZUORA_BASE_URL":                        w.zuora.URL,
		"ZUORA_CLIENT_ID":                       zuorasim.DefaultClientID,
		"ZUORA_CLIENT_SECRET":                   zuorasim.DefaultClientSecret,
		"JOBWATCHER_STORE":                      "sqlite:" + filepath.Join(w.dir, "jobs.db"),
		"JOBWATCHER_LISTEN":                     "127.0.0.1:0",
		"JOBWATCHER_WEBHOOK_URL":                w.hookAt,
		"JOBWATCHER_WEBHOOK_SECRET":             signingSecret,
		"JOBWATCHER_SLACK_URL":                  w.chatAt,
		"JOBWATCHER_ALLOW_PRIVATE_DESTINATIONS": "true",
		"JOBWATCHER_POLL_INITIAL_INTERVAL":      "50ms",
		"JOBWATCHER_POLL_MAX_INTERVAL":          "200ms",
		"JOBWATCHER_LOG_FORMAT":                 "json",
		"JOBWATCHER_SHUTDOWN_GRACE":             "5s",
	}
	for k, v := range more {
		if v == unset {
			delete(vars, k)
		} else {
			vars[k] = v
		}
	}
	return vars
}

const unset = "\x00unset"

// inProcess is a daemon that runs in the test itself.
type inProcess struct {
	t       *testing.T
	url     string
	metrics string
	logs    *observer.ObservedLogs
	client  *apiclient.Client
	stop    func() error
}

// serve runs the daemon with these variables until the test ends.
func (w *world) serve(more map[string]string) *inProcess {
	w.t.Helper()
	environment(w.t, w.vars(more))
	c, err := loadConfig(forDaemon)
	if err != nil {
		w.t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	ctx, cancel := context.WithCancelCause(context.Background())
	addresses := make(chan [2]string, 1)
	done := make(chan error, 1)
	go func() {
		done <- serve(ctx, c, zap.New(core), hooks{listening: func(api, metrics string) { addresses <- [2]string{api, metrics} }})
	}()
	d := &inProcess{t: w.t, logs: logs}
	stopped := false
	d.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel(interrupted{15})
		select {
		case err := <-done:
			return err
		case <-time.After(testPatience):
			return errors.New("the daemon does not stop")
		}
	}
	w.t.Cleanup(func() {
		if err := d.stop(); err != nil {
			w.t.Errorf("the daemon ended with %v", err)
		}
	})
	select {
	case at := <-addresses:
		d.url, d.metrics = "http://"+at[0], "http://"+at[1]
	case err := <-done:
		stopped = true
		w.t.Fatalf("the daemon did not start: %v", err)
	}
	if d.url == "http://" {
		return d // JOBWATCHER_LISTEN is off
	}
	if d.client, err = apiclient.New(d.url, secret.Source{}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(d.client.Close)
	return d
}

// get reads a page of the daemon.
func (d *inProcess) get(path string) (int, string) {
	d.t.Helper()
	return fetch(d.t, d.url+path)
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	code, _, body := roundTrip(t, req)
	return code, body
}

// roundTrip sends one request on a connection of its own.
func roundTrip(t *testing.T, req *http.Request) (code int, header http.Header, body string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(b)
}

// cli runs a verb against the daemon.
func (d *inProcess) cli(args ...string) (code int, stdout, stderr string) {
	d.t.Helper()
	return runCLI(d.t, "", append(args, "--server", d.url)...)
}

// track asks for a job to be watched and fails the test when that fails.
func track(t *testing.T, c *apiclient.Client, id job.ID, item apiclient.Item) {
	t.Helper()
	if _, err := c.Track(t.Context(), id, item); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	within(t, testPatience, what, so)
}

func within(t *testing.T, patience time.Duration, what string, so func() bool) {
	t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// message is what a webhook receiver reads.
type message struct {
	ID      string        `json:"id"`
	Type    job.EventType `json:"type"`
	Subject string        `json:"subject"`
	Data    struct {
		Job job.View `json:"job"`
	} `json:"data"`
}

// messages are the webhooks that came in, each verified.
func (w *world) messages() []message {
	w.t.Helper()
	var all []message
	for _, got := range w.hook.Received() {
		if err := notifytest.CheckWebhook(got, signingSecret); err != nil {
			w.t.Errorf("webhook: %v", err)
		}
		var m message
		if err := json.Unmarshal(got.Body, &m); err != nil {
			w.t.Errorf("webhook body: %v", err)
		}
		if id := got.Header.Get("Webhook-Id"); id != m.ID {
			w.t.Errorf("webhook-id %q, event id %q", id, m.ID)
		}
		all = append(all, m)
	}
	return all
}

// ends are the ids of the events that announced the end of a job.
func (w *world) ends(id job.ID) []string {
	w.t.Helper()
	var ids []string
	for _, m := range w.messages() {
		if m.Subject == id.String() && m.Type != job.EventOverdue {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// chats counts the Slack messages about a job.
func (w *world) chats(id job.ID) int {
	n := 0
	for _, got := range w.slack.Received() {
		if strings.Contains(string(got.Body), id.String()) {
			n++
		}
	}
	return n
}
