package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

// fakeDaemon serves a handler as the daemon that the command line asks.
func fakeDaemon(t *testing.T, routes map[string]http.HandlerFunc) {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		mux.HandleFunc(pattern, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	environment(t, map[string]string{"JOBWATCHER_SERVER": server.URL, "JOBWATCHER_API_TOKEN": "canary-token"})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "code": code, "title": http.StatusText(status), "detail": detail})
}

func TestWaitEndsWithTheExitCodeOfItsJobs(t *testing.T) {
	rows := int64(24516)
	ended := func(outcome job.Outcome) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			id, _ := job.ParseID(r.PathValue("id"))
			answer(w, job.View{ID: id, State: job.Finished, Status: job.Status(outcome), Outcome: outcome, OutputRows: &rows})
		}
	}
	running := func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		w.WriteHeader(http.StatusNoContent)
	}
	show := func(w http.ResponseWriter, r *http.Request) {
		id, _ := job.ParseID(r.PathValue("id"))
		answer(w, job.View{ID: id, State: job.Watching, Status: job.InProgress})
	}
	for _, tt := range []struct {
		name string
		wait http.HandlerFunc
		code int
		text string
	}{
		{"all completed", ended(job.OutcomeCompleted), 0, "24,516"},
		{"one failed", ended(job.OutcomeFailed), exitFailed, "failed"},
		{"one lost", ended(job.OutcomeLost), exitFailed, "lost"},
		{"time over", running, exitTimeout, "in_progress"},
		{"unknown job", func(w http.ResponseWriter, _ *http.Request) {
			problem(w, http.StatusNotFound, "not_found", "no such job")
		}, exitFault, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fakeDaemon(t, map[string]http.HandlerFunc{"GET /v1/jobs/{id}/wait": tt.wait, "GET /v1/jobs/{id}": show})
			code, out, errs := runCLI(t, id2.String()+"\n", "wait", id1.String(), "-", "--timeout", "300ms")
			if code != tt.code {
				t.Errorf("exit code = %d, want %d; stderr %q", code, tt.code, errs)
			}
			if !strings.Contains(out, tt.text) {
				t.Errorf("stdout %q does not say %q", out, tt.text)
			}
			if tt.code != exitFault && strings.Count(out, "\n") != 3 {
				t.Errorf("stdout = %q, want a heading and two jobs", out)
			}
		})
	}
}

func TestWaitSurvivesARestartOfTheDaemon(t *testing.T) {
	var asked atomic.Int32
	fakeDaemon(t, map[string]http.HandlerFunc{"GET /v1/jobs/{id}/wait": func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			w.WriteHeader(http.StatusNoContent)
		case 2:
			problem(w, http.StatusServiceUnavailable, "not_ready", "draining")
		default:
			answer(w, job.View{ID: id1, State: job.Finished, Outcome: job.OutcomeCompleted})
		}
	}})
	if code, _, errs := runCLI(t, "", "wait", id1.String()); code != 0 {
		t.Errorf("exit code = %d, stderr %q", code, errs)
	}
}

func TestManyJobsAreTrackedAsAStream(t *testing.T) {
	fakeDaemon(t, map[string]http.HandlerFunc{"POST /v1/jobs": func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.Header.Get("Content-Type"), "application/x-ndjson"; got != want {
			t.Errorf("content type = %q, want %q", got, want)
		}
		if got, want := r.Header.Get("Authorization"), "Bearer canary-token"; got != want {
			t.Errorf("authorization = %q, want %q", got, want)
		}
		lines := bufio.NewScanner(r.Body)
		n := 0
		for lines.Scan() {
			var item struct {
				ID       string            `json:"id"`
				Labels   map[string]string `json:"labels"`
				Deadline string            `json:"deadline"`
			}
			if err := json.Unmarshal(lines.Bytes(), &item); err != nil || item.Labels["team"] != "finance" || item.Deadline != "2h0m0s" {
				t.Errorf("line %q: %v", lines.Text(), err)
			}
			result := `"tracked"`
			if item.ID == "nonsense" {
				result = `"invalid","error":"not a UUID"`
			}
			n++
			fmt.Fprintf(w, `{"id":%q,"result":%s}`+"\n", item.ID, result)
		}
		if n != 3 {
			t.Errorf("%d lines, want 3", n)
		}
	}})
	code, out, errs := runCLI(t, "# comment\n"+id2.String()+" # another\n\nnonsense\n", "track", id1.String(), "-", "-l", "team=finance", "--deadline", "2h")
	if code != exitFault {
		t.Errorf("exit code = %d, want %d because one is invalid", code, exitFault)
	}
	want := id1.String() + "  tracked\n" + id2.String() + "  tracked\nnonsense  invalid  not a UUID\n"
	if out != want {
		t.Errorf("stdout = %q, want %q", out, want)
	}
	if want := "2 tracked, 0 already tracked, 1 invalid\n"; errs != want {
		t.Errorf("stderr = %q, want %q", errs, want)
	}
}

func TestRefusalsAreOneLineInTheDaemonsWords(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		text    string
	}{
		{"problem", func(w http.ResponseWriter, _ *http.Request) {
			problem(w, http.StatusUnprocessableEntity, "invalid_field", "status: \"x\" is not a status")
		}, `status: "x" is not a status`},
		{"no token", func(w http.ResponseWriter, _ *http.Request) {
			problem(w, http.StatusUnauthorized, "not_for_you", "a token is needed")
		}, "set JOBWATCHER_API_TOKEN"},
		{"proxy", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>Bad gateway</html>", http.StatusBadGateway)
		}, "502 Bad Gateway"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://example.com/", http.StatusFound)
		}, "302 Found"},
		{"not JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, "read the answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fakeDaemon(t, map[string]http.HandlerFunc{"GET /v1/jobs": tt.handler})
			code, out, errs := runCLI(t, "", "list")
			if code != exitFault || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, tt.text) {
				t.Errorf("exit %d, stdout %q, stderr %q; want one line with %q", code, out, errs, tt.text)
			}
			if strings.Contains(errs, "canary") {
				t.Errorf("the token is printed: %q", errs)
			}
		})
	}
}

func TestListReadsPagesUntilItsLimit(t *testing.T) {
	page := func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		next := ""
		if q.Get("cursor") == "" {
			next = "more"
		}
		jobs := []job.View{{ID: id1, Status: job.InProgress, Labels: job.Labels{"team": q.Get("label")}}}
		answer(w, map[string]any{"jobs": jobs, "next_cursor": next})
	}
	fakeDaemon(t, map[string]http.HandlerFunc{"GET /v1/jobs": page})
	for _, tt := range []struct {
		limit string
		rows  int
		note  string
	}{{"1", 1, "--limit 0 shows all"}, {"0", 2, ""}, {"100", 2, ""}} {
		code, out, errs := runCLI(t, "", "list", "--limit", tt.limit, "-o", "json", "--label", "a=b")
		var jobs []job.View
		if err := json.Unmarshal([]byte(out), &jobs); err != nil || code != 0 {
			t.Fatalf("exit %d, %v, stderr %q", code, err, errs)
		}
		if len(jobs) != tt.rows || jobs[0].Labels["team"] != "a=b" {
			t.Errorf("limit %s: jobs = %+v, want %d", tt.limit, jobs, tt.rows)
		}
		if tt.note == "" && errs != "" || !strings.Contains(errs, tt.note) {
			t.Errorf("limit %s: stderr %q, want %q", tt.limit, errs, tt.note)
		}
	}
}

func TestReplayByFilterSendsWhatWasAsked(t *testing.T) {
	fakeDaemon(t, map[string]http.HandlerFunc{"POST /v1/deliveries/replay": func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body["state"] != "exhausted" || body["destination"] != "loader" || body["since"] == nil {
			t.Errorf("body = %v, %v", body, err)
		}
		answer(w, map[string]int{"replayed": 7})
	}})
	code, out, errs := runCLI(t, "", "replay", "--state", "exhausted", "--since", "24h", "--destination", "loader")
	if code != 0 || out != "7 to be sent again\n" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, errs)
	}
}

func TestHealthcheckAsksTheLocalDaemon(t *testing.T) {
	ready := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	for _, vars := range []map[string]string{
		{"JOBWATCHER_LISTEN": address},
		{"JOBWATCHER_LISTEN": strings.TrimPrefix(address, "127.0.0.1")},
		{"JOBWATCHER_LISTEN": "", "JOBWATCHER_METRICS_LISTEN": address},
	} {
		environment(t, vars)
		ready = true
		if code, _, errs := runCLI(t, "", "healthcheck"); code != 0 {
			t.Errorf("%v: exit %d, %s", vars, code, errs)
		}
		ready = false
		if code, _, errs := runCLI(t, "", "healthcheck"); code != exitFault || !strings.Contains(errs, "503") {
			t.Errorf("%v, not ready: exit %d, stderr %q", vars, code, errs)
		}
	}
	environment(t, map[string]string{"JOBWATCHER_LISTEN": ""})
	if code, _, _ := runCLI(t, "", "healthcheck"); code != exitFault {
		t.Errorf("exit %d without an address", code)
	}
	ready = true
	if code, _, errs := runCLI(t, "", "healthcheck", "--url", server.URL+"/"); code != 0 {
		t.Errorf("--url: exit %d, %s", code, errs)
	}
	if code, _, errs := runCLI(t, "", "healthcheck", "--url", address); code != exitFault || !strings.Contains(errs, "such as http://") {
		t.Errorf("--url without a scheme: exit %d, stderr %q", code, errs)
	}
}

func TestListGoesOnWithALineForEachChange(t *testing.T) {
	fakeDaemon(t, map[string]http.HandlerFunc{
		"GET /v1/jobs": func(w http.ResponseWriter, _ *http.Request) {
			answer(w, map[string]any{"jobs": []job.View{}, "next_cursor": ""})
		},
		"GET /v1/events": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprint(w, "retry: 3000\n\n: still here\n\nid: a-1\nevent: status\ndata: {\"kind\":\"status\",\"at\":\"2026-11-23T12:00:00Z\",\"id\":\"3a3e85c4-96e7-486b-ae02-827120104301\","+
				"\"job\":{\"id\":\"3a3e85c4-96e7-486b-ae02-827120104301\",\"state\":\"finished\",\"status\":\"failed\",\"outcome\":\"failed\",\"error\":\"Column x\\u001b[2J cannot be resolved\"}}\n\n"+
				"id: a-2\nevent: reset\ndata: {}\n\nid: a-3\nevent: untracked\ndata: {\"kind\":\"untracked\",\"at\":\"2026-11-23T12:00:01Z\",\"id\":\"3a3e85c4-96e7-486b-ae02-827120104301\",\"job\":null}\n\n")
		},
	})
	code, out, errs := runCLI(t, "", "list", "--watch")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 || !strings.Contains(lines[1], "failed") || !strings.Contains(lines[1], "cannot be resolved") ||
		strings.Contains(out, "\x1b") || !strings.HasSuffix(lines[2], "untracked") || !strings.Contains(errs, "missed") {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, errs)
	}
	if _, out, _ = runCLI(t, "", "list", "-w", "-o", "json"); !strings.Contains(out, `"kind":"reset"`) {
		t.Errorf("JSON: %s", out)
	}
}

func TestShellCompletesIDsAndNames(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	d := w.serve(nil)
	running, ended := w.submit(1, time.Hour)[0], w.submit(1, 10*time.Millisecond)[0]
	track(t, d.client, running, apiclient.Item{Labels: map[string]string{"team": "finance"}})
	track(t, d.client, ended, apiclient.Item{})
	w.announced([]job.ID{ended}, 0)
	t.Setenv("JOBWATCHER_SERVER", d.url)
	for _, tc := range []struct {
		args      string
		want, not string
	}{
		{"show |", running.String() + "\t", ""},
		{"show |", ended.String() + "\tcompleted", ""},
		{"explain |", "team=finance", ended.String()},
		{"untrack " + running.String() + " |", ":36", running.String()},
		{"wait |" + running.String()[:4], running.String(), ended.String()},
		{"deliveries |", "dlv_", ""},
		{"replay --destination |", "slack\t", "dlv_"},
		{"destinations pause |w", "webhook\t", "slack"},
		{"deliveries --state |", "exhausted", "dlv_"},
	} {
		given, begun, _ := strings.Cut(tc.args, "|")
		_, stdout, _ := runCLI(t, "", append([]string{"__complete"}, append(strings.Fields(given), begun)...)...)
		if !strings.Contains(stdout, tc.want) || tc.not != "" && strings.Contains(stdout, tc.not) {
			t.Errorf("%s: completes\n%s", tc.args, stdout)
		}
	}
	t.Setenv("JOBWATCHER_SERVER", "http://127.0.0.1:1")
	if _, stdout, _ := runCLI(t, "", "__complete", "show", ""); !strings.HasPrefix(stdout, ":") {
		t.Errorf("without a daemon: completes\n%s", stdout)
	}
}
