package webhook

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// custom is a destination with a body of its own.
func custom(t *testing.T, text string) notify.Destination {
	t.Helper()
	d := destination("https://receiver.example/in", oldSecret)
	parsed, err := notify.ParseTemplate(text, true)
	if err != nil {
		t.Fatal(err)
	}
	d.Webhook.Template, d.Webhook.ContentType = parsed, "application/json"
	return d
}

func TestTemplateMakesTheBodyWithFieldsThatItCannotSee(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("canary-routing-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := custom(t, `{"what": {{json .Event}}, "routing_key": "mine"}`)
	d.Webhook.Fields = map[string]secret.Source{"routing_key": secret.File(file)}
	r := notifytest.NewReceiver(notifytest.Step{Echo: true})
	answer := send(t, sender(t, d, r), notifytest.Sample(job.EventFailed))
	got := r.Received()[0]
	var body map[string]string
	if err := json.Unmarshal(got.Body, &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"what": "failed", "routing_key": "canary-routing-key"}, body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Webhook-Id") == "" || got.Header.Get("Webhook-Signature") == "" || answer.Note != "" {
		t.Errorf("headers %v, note %q", got.Header, answer.Note)
	}
	if strings.Contains(answer.Head, "canary") {
		t.Errorf("the ledger holds the key: %q", answer.Head)
	}
}

func TestTemplateThatFailsCostsNobodyTheEvent(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver()
	s := sender(t, custom(t, `{"a": 1{{if eq .Job.Status "in_progress"}}{{if eq .Event "lost"}}{{if eq (len .Job.Labels) 2}}{{index .Job.Labels 7}}{{end}}{{end}}{{end}}}`), r)
	if a := send(t, s, notifytest.Sample(job.EventCompleted)); a.Note != "" {
		t.Errorf("note %q of a template that works", a.Note)
	}
	out := notifytest.Sample(job.EventLost)
	answer := send(t, s, out)
	got := r.Received()[1]
	var body struct {
		ID   string `json:"id"`
		Data struct {
			Fault string   `json:"template_error"`
			Job   job.View `json:"job"`
		} `json:"data"`
	}
	if err := json.Unmarshal(got.Body, &body); err != nil {
		t.Fatal(err)
	}
	if body.ID != out.Event.ID || body.Data.Job.ID != out.JobID || !strings.Contains(body.Data.Fault, "index") || got.Header.Get("Content-Type") != ContentType {
		t.Errorf("body %s as %s", got.Body, got.Header.Get("Content-Type"))
	}
	if !strings.Contains(answer.Note, "the template failed") {
		t.Errorf("note %q", answer.Note)
	}
	if err := notifytest.CheckWebhook(got, oldSecret); err != nil {
		t.Error(err)
	}
}

func TestTemplateHasTheResultLinkOnlyWhenItIsIncluded(t *testing.T) {
	t.Parallel()
	for _, include := range [][]string{nil, {notify.IncludeDataFile}} {
		r := notifytest.NewReceiver()
		d := custom(t, `{"link": {{json .Job.DataFile}}}`)
		d.Include = include
		send(t, sender(t, d, r), notifytest.Sample(job.EventCompleted))
		if got := strings.Contains(string(r.Received()[0].Body), notifytest.CanaryDataFile); got != (include != nil) {
			t.Errorf("include %v: the link is there: %v", include, got)
		}
	}
}
