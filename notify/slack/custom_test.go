package slack

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func templated(t *testing.T, text string, r *notifytest.Receiver) *Sender {
	t.Helper()
	d := destination(hook)
	var err error
	if d.Slack.Template, err = notify.ParseTemplate(text, false); err != nil {
		t.Fatal(err)
	}
	s, err := New(d, Options{Client: outbound.New(outbound.Options{Transport: notifytest.InProcess(r)})})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTemplateSpeaksAndForeignTextDoesNot(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver()
	s := templated(t, `<!here> *{{.Event}}* {{.Job.Error}}`, r)
	answer, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
	if err != nil || answer.Note != "" {
		t.Fatal(answer, err)
	}
	body := string(r.Received()[0].Body)
	if !strings.Contains(body, "<!here> *failed*") || strings.Contains(body, "<!channel>") || !strings.Contains(body, "&lt;!channel&gt;") {
		t.Errorf("got %s", body)
	}
	var w wire
	if err := json.Unmarshal([]byte(body), &w); err != nil || !strings.HasPrefix(w.Text, "<!here> *failed*") {
		t.Errorf("text %q, %v", w.Text, err)
	}
}

func TestTemplateThatFailsLeavesThePlainMessageAndSaysSo(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver()
	s := templated(t, `x{{if eq (len .Job.Labels) 2}}{{index .Job.Labels 7}}{{end}}`, r)
	answer, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed)})
	body := string(r.Received()[0].Body)
	if err != nil || !strings.Contains(answer.Note, "the template failed") || !strings.Contains(body, "The template of this destination failed") || !strings.Contains(body, "Job failed") {
		t.Errorf("%+v, %v: %s", answer, err, body)
	}
}

func TestDigestKeepsItsFormWhateverTheTemplate(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver()
	s := templated(t, `mine`, r)
	if _, err := s.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventFailed), notifytest.Sample(job.EventCompleted)}); err != nil {
		t.Fatal(err)
	}
	if body := string(r.Received()[0].Body); strings.Contains(body, "mine") || !strings.Contains(body, "2 events") {
		t.Errorf("got %s", body)
	}
}

func FuzzCutMarkup(f *testing.F) {
	f.Add("a &amp; b <https://x.example|link> c", 8)
	f.Add("<!here>", 3)
	f.Add("é😀", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = max(n%4000, 1)
		if n < 1 || !utf8.ValidString(s) {
			t.Skip()
		}
		got := cutMarkup(s, n)
		if size(got) > max(n, 1) || !utf8.ValidString(got) {
			t.Errorf("%q cut to %d is %q, %d wide", s, n, got, size(got))
		}
	})
}
