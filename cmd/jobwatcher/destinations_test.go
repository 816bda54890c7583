package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

// destinationsFile writes the file and returns its path.
func (w *world) destinationsFile(text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, "destinations.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func TestGroupIsAnnouncedOnceAcrossARestart(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	sets := notifytest.NewReceiver()
	file := w.destinationsFile("destinations:\n  - name: sets\n    on: [group_finished]\n    match: {team: finance}\n    webhook: {url: \"" + w.receiver(sets, "/sets") + "\"}\n")
	vars := map[string]string{"JOBWATCHER_DESTINATIONS_FILE": file}
	d := w.serve(vars)
	soon := w.tenant.Submit(zuorasim.Spec{RunTime: 200 * time.Millisecond, Outcome: job.Completed})
	later := w.tenant.Submit(zuorasim.Spec{RunTime: 2500 * time.Millisecond, Outcome: job.Completed})
	for _, id := range []job.ID{later, soon} {
		track(t, d.client, id, apiclient.Item{Group: "month-end", Labels: map[string]string{"team": "finance"}})
	}
	eventually(t, "the first job is announced", func() bool { return len(w.ends(soon)) == 1 })
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(sets.Received()); n != 0 {
		t.Errorf("announced %d times while a job goes on", n)
	}
	d = w.serve(vars)
	eventually(t, "the group is announced", func() bool { return len(sets.Received()) > 0 })
	var got struct {
		Type    job.EventType `json:"type"`
		Subject string        `json:"subject"`
		Data    struct {
			Group job.GroupView `json:"group"`
		} `json:"data"`
	}
	if err := json.Unmarshal(sets.Received()[0].Body, &got); err != nil {
		t.Fatal(err)
	}
	g := got.Data.Group
	if got.Type != job.EventGroupFinished || got.Subject != "month-end" || g.Jobs != 2 || g.Failed != 0 || g.Outcome != job.OutcomeCompleted || len(g.Members) != 2 {
		t.Errorf("body: %s", sets.Received()[0].Body)
	}
	eventually(t, "nothing is left to send", func() bool {
		rows, _, err := d.client.Deliveries(t.Context(), map[string][]string{"state": {"pending,sending"}}, 0, "")
		return err == nil && len(rows) == 0
	})
	if n := len(sets.Received()); n != 1 {
		t.Errorf("announced %d times, want once", n)
	}
}

func TestDestinationsFileIsReloadedByTheRunningDaemon(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	added := notifytest.NewReceiver()
	at := w.receiver(added, "/added")
	path := w.destinationsFile("destinations: []\n")
	d := w.serve(map[string]string{"JOBWATCHER_DESTINATIONS_FILE": path})
	w.destinationsFile("destinations:\n  - name: added\n    webhook: {url: \"" + at + "\", template: '{\"job\": {{json .Job.ID}}}'}\n")
	eventually(t, "the new destination is listed", func() bool {
		_, out, _ := d.cli("destinations")
		return strings.Contains(out, "added")
	})
	id := w.tenant.Submit(zuorasim.Spec{RunTime: 100 * time.Millisecond, Outcome: job.Completed})
	track(t, d.client, id, apiclient.Item{})
	eventually(t, "it is told, in the operator's words", func() bool {
		got := added.Received()
		return len(got) == 1 && string(got[0].Body) == `{"job": "`+id.String()+`"}`
	})
	w.destinationsFile("destinations:\n  - name: added\n    webhook: {url: \"" + at + "\", template: '{{.Nothing}}'}\n")
	eventually(t, "the fault is counted", func() bool {
		_, page := d.get("/metrics")
		return strings.Contains(page, `jobwatcher_destinations_reloads_total{result="failure"} 1`) &&
			strings.Contains(page, `jobwatcher_destinations_reloads_total{result="success"} 1`)
	})
	environment(t, w.vars(map[string]string{"JOBWATCHER_DESTINATIONS_FILE": path}))
	if code, _, errs := runCLI(t, "", "config", "check"); code != exitFault || !strings.Contains(errs, "can't evaluate field Nothing") {
		t.Errorf("config check: exit %d, %q", code, errs)
	}
	if _, out, _ := d.cli("destinations"); !strings.Contains(out, "added") {
		t.Errorf("the former destination is gone:\n%s", out)
	}
}
