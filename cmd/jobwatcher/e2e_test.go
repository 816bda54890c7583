package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
	"go.uber.org/zap/zapcore"
)

// fieldNames are the only ones that a log line may have (house 1.9); the
// second line is for start-up lines.
var fieldNames = []string{
	"tenant", "job_id", "status", "state", "outcome", "event_id", "delivery_id", "destination", "attempt", "next_at", "reason", "took", "owner", "request_id", "track_id", "version", "error",
	"count", "addr", "name", "path",
}

// mainScenario is one job of each outcome, and one that is overdue, from the
// command line to both receivers.
func mainScenario(t *testing.T, w *world, d *inProcess) (byOutcome map[job.Outcome]job.ID) {
	t.Helper()
	rows := int64(24516)
	byOutcome = map[job.Outcome]job.ID{
		job.OutcomeCompleted: w.tenant.Submit(zuorasim.Spec{Query: "SELECT 'canary-query'", RunTime: 1500 * time.Millisecond, Outcome: job.Completed, Rows: &rows}),
		job.OutcomeFailed:    w.tenant.Submit(zuorasim.Spec{RunTime: 200 * time.Millisecond, Outcome: job.Failed, Error: "Column 'x' cannot be resolved"}),
		job.OutcomeCancelled: w.tenant.Submit(zuorasim.Spec{RunTime: 200 * time.Millisecond, Outcome: job.Cancelled}),
		job.OutcomeLost:      w.tenant.Submit(zuorasim.Spec{Forever: true}),
	}
	w.tenant.Fault(zuorasim.Fault{Kind: zuorasim.KindStatus, Status: http.StatusNotFound, Job: byOutcome[job.OutcomeLost]})
	for outcome, id := range byOutcome {
		code, out, errs := d.cli("track", id.String(), "--label", "team=finance", "--label", "as="+string(outcome), "--deadline", "1s")
		if code != 0 || out != id.String()+"  tracked\n" {
			t.Fatalf("track: exit %d, stdout %q, stderr %q", code, out, errs)
		}
	}
	ids := make([]job.ID, 0, len(byOutcome))
	for _, id := range byOutcome {
		ids = append(ids, id)
	}
	w.announced(ids, 0)
	eventually(t, "the overdue job is announced as such", func() bool {
		return slices.ContainsFunc(w.messages(), func(m message) bool {
			return m.Type == job.EventOverdue && m.Subject == byOutcome[job.OutcomeCompleted].String()
		})
	})
	eventually(t, "every delivery is settled", func() bool {
		rows, _, err := d.client.Deliveries(t.Context(), map[string][]string{"state": {"pending,sending"}}, 0, "")
		return err == nil && len(rows) == 0
	})
	return byOutcome
}

func TestJobsAreTrackedWatchedCountedAndAnnouncedOnce(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	d := w.serve(map[string]string{"JOBWATCHER_LOST_AFTER": "300ms", "JOBWATCHER_METRICS_LISTEN": "127.0.0.1:0"})
	byOutcome := mainScenario(t, w, d)

	for outcome, id := range byOutcome {
		v, err := d.client.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if v.Outcome != outcome || v.State != job.Finished || v.Labels["as"] != string(outcome) {
			t.Errorf("job %s = %+v, want outcome %s", id, v, outcome)
		}
		if i := slices.IndexFunc(w.messages(), func(m message) bool {
			return m.Subject == id.String() && m.Type == outcome.EventType() && m.Data.Job.Outcome == outcome && m.Data.Job.Query == nil
		}); i < 0 {
			t.Errorf("no webhook says that %s is %s", id, outcome)
		}
		code, out, _ := d.cli("show", id.String())
		if code != 0 || !strings.Contains(out, string(outcome)) || !strings.Contains(out, "to webhook 200") || !strings.Contains(out, "LAST TRY") {
			t.Errorf("show: exit %d\n%s", code, out)
		}
	}
	code, out, errs := d.cli("list", "--outcome", "completed", "-o", "json")
	if code != 0 || !strings.Contains(out, byOutcome[job.OutcomeCompleted].String()) || strings.Contains(out, byOutcome[job.OutcomeFailed].String()) {
		t.Errorf("list: exit %d, stderr %q\n%s", code, errs, out)
	}
	if code, out, _ := d.cli("wait", byOutcome[job.OutcomeFailed].String()); code != exitFailed || !strings.Contains(out, "cannot be resolved") {
		t.Errorf("wait for a failed job: exit %d\n%s", code, out)
	}
	if code, out, _ := d.cli("destinations"); code != 0 || strings.Count(out, "ready") != 2 {
		t.Errorf("destinations: exit %d\n%s", code, out)
	}
	if code, out, errs := d.cli("destinations", "test", "webhook"); code != 0 || !strings.Contains(out, "200") {
		t.Errorf("destinations test: exit %d, stdout %q, stderr %q", code, out, errs)
	}
	for _, at := range []string{d.url, d.metrics} {
		code, page := fetch(t, at+"/metrics")
		for _, line := range []string{
			`jobwatcher_jobs_tracked_total{source="api",tenant="127.0.0.1"} 4`,
			`jobwatcher_jobs_finished_total{outcome="completed",tenant="127.0.0.1"} 1`,
			`jobwatcher_jobs_finished_total{outcome="lost",tenant="127.0.0.1"} 1`,
			`jobwatcher_job_output_rows_total{tenant="127.0.0.1"} 24516`,
			`jobwatcher_deliveries{destination="webhook",state="exhausted"} 0`,
			`jobwatcher_replicas 1`,
			"go_goroutines ",
		} {
			if !strings.Contains(page, line) {
				t.Errorf("%s/metrics (%d) does not say %s", at, code, line)
			}
		}
	}
	if code, _ := fetch(t, d.metrics+"/v1/jobs"); code != http.StatusNotFound {
		t.Errorf("the metrics address answers /v1/jobs with %d", code)
	}
}

func TestLogLinesUseTheAgreedFieldsAndLevels(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	w.hook.Script(notifytest.Step{Status: 500})
	d := w.serve(map[string]string{"JOBWATCHER_LOST_AFTER": "300ms", "JOBWATCHER_LOG_LEVEL": "debug"})
	mainScenario(t, w, d)
	_ = d.stop()
	if d.logs.Len() < 20 {
		t.Errorf("only %d lines", d.logs.Len())
	}
	for _, line := range d.logs.All() {
		for name := range line.ContextMap() {
			if !slices.Contains(fieldNames, name) {
				t.Errorf("%s %q: the field %s is none of the agreed", line.LoggerName, line.Message, name)
			}
		}
		if line.Level > zapcore.WarnLevel {
			t.Errorf("%s %q at %s, though nobody must act", line.LoggerName, line.Message, line.Level)
		}
	}
	for _, text := range []string{"starting", "listening", "stopping", "drained"} {
		if d.logs.FilterMessage(text).Len() == 0 {
			t.Errorf("no line says %q", text)
		}
	}
}

func TestReadinessEndsAndLongPollsReturnWhenStopping(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	d := w.serve(map[string]string{"JOBWATCHER_SHUTDOWN_DELAY": "1s"})
	id := w.tenant.Submit(zuorasim.Spec{Forever: true})
	track(t, d.client, id, apiclient.Item{})
	if code, body := d.get("/readyz"); code != http.StatusOK {
		t.Errorf("readyz = %d %s", code, body)
	}
	polled := make(chan error, 1)
	go func() {
		_, _, err := d.client.Wait(t.Context(), id, time.Minute)
		polled <- err
	}()
	stopped := make(chan error, 1)
	go func() { stopped <- d.stop() }()
	eventually(t, "readyz is off while the delay lasts", func() bool {
		code, _ := d.get("/readyz")
		return code == http.StatusServiceUnavailable
	})
	if code, _ := d.get("/livez"); code != http.StatusOK {
		t.Errorf("livez = %d while draining", code)
	}
	select {
	case <-polled: // 204 or 503: it must not hang
	case <-time.After(testPatience):
		t.Error("the long poll hangs")
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestEmptyListenServesNothingAndWorksAllTheSame(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	id := w.tenant.Submit(zuorasim.Spec{RunTime: time.Millisecond, Outcome: job.Completed})
	d := w.serve(map[string]string{"JOBWATCHER_LISTEN": "", "JOBWATCHER_JOB_IDS": id.String()})
	if d.url != "http://" {
		t.Errorf("it listens at %s", d.url)
	}
	w.announced([]job.ID{id}, 0)
}

func TestDemoAnnouncesEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes ten seconds")
	}
	environment(t, nil)
	code, out, errs := runCLI(t, "", "demo", "--jobs", "3")
	if code != 0 {
		t.Errorf("exit %d, stderr %q", code, errs)
	}
	for _, text := range []string{"submitted", "tracked", "sees", "announced", "signature verified", "to Slack", "API and metrics at http://127.0.0.1:", "cannot be resolved"} {
		if !strings.Contains(out, text) {
			t.Errorf("the story does not say %q:\n%s", text, out)
		}
	}
	if strings.Contains(out, "missing") {
		t.Errorf("something was not announced:\n%s", out)
	}
}

func TestWatchNeedsNoDaemon(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	environment(t, w.vars(map[string]string{"JOBWATCHER_LISTEN": unset}))
	rows := int64(24516)
	good := w.tenant.Submit(zuorasim.Spec{RunTime: 300 * time.Millisecond, Outcome: job.Completed, Rows: &rows})
	bad := w.tenant.Submit(zuorasim.Spec{RunTime: 300 * time.Millisecond, Outcome: job.Failed})
	endless := w.tenant.Submit(zuorasim.Spec{Forever: true})
	for _, tt := range []struct {
		name  string
		stdin string
		args  []string
		code  int
		text  string
	}{
		{"completed", "", []string{good.String()}, 0, "24,516"},
		{"one failed, from stdin", good.String() + "\n" + bad.String() + "\n", []string{"-"}, exitFailed, "failed"},
		{"time over", "", []string{good.String(), endless.String(), "--timeout", "1s"}, exitTimeout, "in_progress"},
		{"JSON", "", []string{good.String(), "-o", "json"}, 0, `"outcome": "completed"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errs := runCLI(t, tt.stdin, append([]string{"watch"}, tt.args...)...)
			if code != tt.code || !strings.Contains(out, tt.text) {
				t.Errorf("exit %d, want %d; stdout %q, stderr %q", code, tt.code, out, errs)
			}
			if !strings.Contains(errs, good.String()+"  completed") {
				t.Errorf("progress does not tell of the end: %q", errs)
			}
		})
	}
	if len(w.hook.Received())+len(w.slack.Received()) > 0 {
		t.Error("watch announced something")
	}
}

func TestWatchGivesUpWhenTheCredentialsAreRefused(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	environment(t, w.vars(map[string]string{"ZUORA_CLIENT_SECRET": "canary-wrong"}))
	code, out, errs := runCLI(t, "", "watch", id1.String())
	if code != exitFault || out != "" || !strings.Contains(errs, "Zuora refuses the credentials") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, errs)
	}
	notifytest.NoCanary(t, "stderr", errs, "canary-wrong")
}
