package zuorasim

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// order makes one control call, which needs no token.
func (s *sim) order(method, path, body string) reply {
	s.t.Helper()
	c := *s.raw()
	c.token = ""
	return c.do(method, path, body, "Content-Type", "application/json")
}

func TestControlMakesJobsAndTellsAboutThem(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Control: true})
	r := s.order("POST", "/_sim/jobs", `{"jobs":[{"count":2,"run_time":"20s","rows":7},`+
		`{"id":"3a3e85c4-96e7-486b-ae02-827120104301","outcome":"failed","run_time":"5s","error":"no","source":"WAREHOUSE"}]}`)
	ids := decode[struct{ IDs []job.ID }](t, r.body).IDs
	if len(ids) != 3 || ids[2] != sampleID {
		t.Fatalf("got %d %s", r.StatusCode, r.body)
	}
	r = s.order("POST", "/_sim/jobs", `{}`)
	if got := len(decode[struct{ IDs []job.ID }](t, r.body).IDs); got != 1 {
		t.Errorf("an empty order: got %d jobs", got)
	}
	s.clock.pass(20 * time.Second)
	s.poll(ids[2])
	s.poll(ids[2])
	got := decode[map[string]any](t, s.order("GET", "/_sim/jobs/"+sampleID.String(), "").body)
	delete(got, "query")
	want := map[string]any{
		"id": sampleID.String(), "source": "WAREHOUSE", "client": DefaultClientID, "status": "failed", "error": "no", "rows": nil,
		"created_at": "2026-01-05T12:00:00.000Z", "started_at": "2026-01-05T12:00:00.000Z", "ended_at": "2026-01-05T12:00:05.000Z",
		"updated_on": "2026-01-05T12:00:05.000Z", "end_seen_at": "2026-01-05T12:00:20.000Z",
		"polls": 2.0, "listed": 0.0, "late_polls": 1.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.poll(ids[0]); got.QueryStatus != job.Completed || *got.OutputRows != 7 {
		t.Errorf("got %+v", got)
	}
	all := decode[struct{ Jobs []json.RawMessage }](t, s.order("GET", "/_sim/jobs", "").body)
	if len(all.Jobs) != 4 {
		t.Errorf("got %d jobs", len(all.Jobs))
	}
}

func TestControlMovesJobsAndTheWorld(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Control: true})
	id := s.Submit(Spec{Forever: true})
	path := "/_sim/jobs/" + id.String()
	s.order("POST", path+"/finish", `{"status":"cancelled"}`)
	if got := s.poll(id).QueryStatus; got != job.Cancelled {
		t.Errorf("finish: got %s", got)
	}
	s.order("DELETE", path, "")
	if got := s.get(jobsPath + "/" + id.String()).StatusCode; got != 404 {
		t.Errorf("forget: got %d", got)
	}
	s.order("POST", "/_sim/clock", `{"skew":"-10m"}`)
	if got, want := s.get(jobsPath).Header.Get("Date"), "Mon, 05 Jan 2026 11:50:00 GMT"; got != want {
		t.Errorf("clock: got %s, want %s", got, want)
	}
	s.order("POST", "/_sim/others", `{"per_minute":60,"spend":49000}`)
	s.clock.pass(10 * time.Second)
	if got, want := s.get(jobsPath).Header.Get("RateLimit-Remaining"), "986"; got != want {
		t.Errorf("others: got %s, want %s", got, want)
	}
	s.order("POST", "/_sim/tokens/revoke", `{}`)
	if got := s.get(jobsPath).StatusCode; got != 401 {
		t.Errorf("revoke: got %d", got)
	}
	st := decode[struct {
		Requests map[string]int
		Windows  []struct {
			Window string
			Left   int
		}
	}](t, s.order("GET", "/_sim/stats", "").body)
	if st.Requests["list"] != 3 || len(st.Windows) != 3 || st.Windows[0].Window != "1m0s" || st.Windows[0].Left != 985 {
		t.Errorf("stats: got %+v", st)
	}
	log := decode[struct{ Requests []Request }](t, s.order("GET", "/_sim/requests?limit=2", "").body).Requests
	if len(log) != 2 || log[1].Code != 401 || log[0].Code != 200 {
		t.Errorf("requests: got %+v", log)
	}
}

func TestControlSetsAndEndsFaults(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Control: true})
	r := s.order("POST", "/_sim/faults", `{"kind":"status","status":503,"retry_after":"2","probability":1,"for":"1m","path":"/query/jobs"}`)
	name := decode[struct{ Name string }](t, r.body).Name
	s.order("POST", "/_sim/faults", `{"kind":"latency","delay":"1ns","jitter":"1ns","job":"`+sampleID.String()+`"}`)
	if r := s.get(jobsPath); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") != "2" {
		t.Errorf("got %d %v", r.StatusCode, r.Header)
	}
	got := decode[map[string][]map[string]any](t, s.order("GET", "/_sim/faults", "").body)
	want := map[string][]map[string]any{"faults": {
		{
			"name": name, "kind": "status", "status": 503.0, "retry_after": "2", "probability": 1.0, "for": "1m0s",
			"path": "/query/jobs", "hits": 1.0,
		},
		{"name": "flt_2", "kind": "latency", "delay": "1ns", "jitter": "1ns", "job": sampleID.String()},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.order("DELETE", "/_sim/faults/"+name, "").StatusCode; got != 200 {
		t.Errorf("delete: got %d", got)
	}
	if got := s.get(jobsPath).StatusCode; got != 200 {
		t.Errorf("after it: got %d", got)
	}
	s.order("DELETE", "/_sim/faults", "")
	if got := string(s.order("GET", "/_sim/faults", "").body); strings.TrimSpace(got) != `{"faults":[]}` {
		t.Errorf("got %s", got)
	}
}

func TestControlRefusesBadOrders(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Control: true})
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/_sim/jobs", `{`, 400},
		{"POST", "/_sim/jobs", `{"runtime":"5s"}`, 400},
		{"POST", "/_sim/jobs", `{"run_time":"soon"}`, 400},
		{"POST", "/_sim/jobs", `{"run_time":"-5s"}`, 400},
		{"POST", "/_sim/jobs", `{"source":"DATAHUB"}`, 400},
		{"POST", "/_sim/jobs", `{"id":"x"}`, 400},
		{"POST", "/_sim/jobs", `{"count":100001}`, 400},
		{"POST", "/_sim/jobs", `{"count":2,"id":"` + sampleID.String() + `"}`, 400},
		{"POST", "/_sim/faults", `{"kind":"explode"}`, 400},
		{"POST", "/_sim/faults", `{"kind":"hang","match":"x"}`, 400},
		{"POST", "/_sim/clock", `{"skew":5}`, 400},
		{"POST", "/_sim/others", `{"per_minute":-1}`, 400},
		{"GET", "/_sim/jobs/x", ``, 400},
		{"GET", "/_sim/jobs/" + sampleID.String(), ``, 404},
		{"DELETE", "/_sim/jobs/" + sampleID.String(), ``, 404},
		{"POST", "/_sim/jobs/" + sampleID.String() + "/finish", `{"status":"failed"}`, 404},
		{"POST", "/_sim/jobs/" + sampleID.String() + "/finish", `{}`, 400},
		{"DELETE", "/_sim/faults/flt_9", ``, 404},
		{"GET", "/_sim/requests?limit=x", ``, 400},
		{"GET", "/_sim/nothing", ``, 404},
		{"PUT", "/_sim/jobs", ``, 405},
	} {
		if r := s.order(c.method, c.path, c.body); r.StatusCode != c.want {
			t.Errorf("%s %s %s: got %d %s, want %d", c.method, c.path, c.body, r.StatusCode, r.body, c.want)
		}
	}
	// A page in a browser can send text/plain without asking, so it is refused.
	if got := s.raw().do(http.MethodPost, "/_sim/jobs", `{}`, "Content-Type", "text/plain").StatusCode; got != 400 {
		t.Errorf("text/plain: got %d", got)
	}
	if got := len(s.Jobs()); got != 0 {
		t.Errorf("%d jobs were made", got)
	}
	if got := len(s.Requests()); got != 0 {
		t.Errorf("control calls are in the log: %d", got)
	}
}
