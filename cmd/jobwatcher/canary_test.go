package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

// Contract section 9, 6. Secrets are put into every input, receivers that send
// everything back are among the destinations, and then everything that comes
// out is searched.
func TestSecretsComeOutNowhere(t *testing.T) {
	const (
		token     = "canary-bearer-token"
		apiToken  = "canary-api-token"
		readToken = "canary-read-token"
		header    = "canary-header-value"
		link      = "canary-data-file-token"
		query     = "canary-query-text"
		hookPath  = "canary-hook-path"
		slackPath = "canary-slack-path"
		askedPath = "canary-asked-path"
	)
	w := newWorld(t, zuorasim.Options{BearerToken: token, DataFileToken: link})
	asked := notifytest.NewReceiver()
	w.hook.Script(notifytest.Step{Status: 500, Echo: true}, notifytest.Step{Status: 200, Echo: true})
	w.slack.Script(notifytest.Step{Status: 500, Echo: true})
	file := filepath.Join(w.dir, "destinations.yaml")
	yaml := fmt.Sprintf("destinations:\n- name: asked\n  webhook:\n    url: %s\n    secret: %s\n    headers: {X-Secret: %s}\n  include: [query, data_file]\n", w.receiver(asked, "/hooks/"+askedPath), signingSecret, header)
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	d := w.serve(map[string]string{
		"ZUORA_CLIENT_ID": unset, "ZUORA_CLIENT_SECRET": unset, "ZUORA_BEARER_TOKEN": token,
		"JOBWATCHER_API_TOKEN": apiToken, "JOBWATCHER_API_READ_TOKEN": readToken,
		"JOBWATCHER_DESTINATIONS_FILE": file, "JOBWATCHER_JOB_METRICS_LIMIT": "10",
	})
	d.client.Close()
	client, err := apiclient.New(d.url, secret.Fixed(secret.New(apiToken)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	id := w.tenant.Submit(zuorasim.Spec{Query: "SELECT '" + query + "'", RunTime: 300 * time.Millisecond, Outcome: job.Completed})
	// Before it ends, everything that can go wrong upstream does once.
	for _, f := range []zuorasim.Fault{
		{Kind: zuorasim.KindJunk, Junk: zuorasim.JunkHTML, Count: 1},
		{Kind: zuorasim.KindStatus, Status: 403, Count: 1},
		{Kind: zuorasim.KindCut, Count: 1},
		{Kind: zuorasim.KindStatus, Status: 401, Count: 1},
	} {
		w.tenant.Fault(f)
	}
	track(t, client, id, apiclient.Item{Labels: map[string]string{"team": "finance"}})
	eventually(t, "the job is announced everywhere", func() bool {
		return len(w.hook.Received()) > 0 && w.chats(id) > 0 && len(asked.Received()) > 0
	})
	eventually(t, "the first attempts are in the ledger", func() bool {
		rows, _, err := client.Deliveries(t.Context(), nil, 0, "")
		tried := 0
		for i := range rows {
			tried += len(rows[i].Attempts)
		}
		return err == nil && tried >= 3
	})
	// One who was asked for it gets it: otherwise this test could not fail.
	body := string(asked.Received()[0].Body)
	for _, text := range []string{query, link} {
		if !strings.Contains(body, text) {
			t.Errorf("the destination that asks for query and data_file was not given %s", text)
		}
	}
	if got := asked.Received()[0].Header.Get("X-Secret"); got != header {
		t.Errorf("X-Secret = %q, want %q", got, header)
	}

	out := map[string]string{}
	for _, path := range []string{
		"/metrics", "/readyz?verbose", "/livez", "/openapi.yaml", "/v1/jobs", "/v1/jobs/" + id.String(), "/v1/jobs/" + id.String() + "/explain", "/v1/deliveries", "/v1/destinations", "/v1/jobs/nonsense",
		"/", "/?state=finished", "/jobs/" + id.String(), "/deliveries", "/destinations", "/budget", "/trends",
	} {
		out["GET "+path] = authorised(t, d.url+path, apiToken)
	}
	out["wrong token"] = authorised(t, d.url+"/v1/jobs", "canary-of-somebody-else")
	t.Setenv("JOBWATCHER_SERVER", d.url)
	for _, args := range [][]string{{"list"}, {"show", id.String()}, {"explain", id.String()}, {"deliveries"}, {"destinations"}, {"destinations", "test", "asked"}, {"config"}, {"config", "-o", "json"}, {"config", "check"}} {
		_, stdout, stderr := runCLI(t, "", args...)
		out["jobwatcher "+strings.Join(args, " ")] = stdout + stderr
	}
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	var lines strings.Builder
	for _, line := range d.logs.All() {
		fields, err := json.Marshal(line.ContextMap())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%s %s %s\n", line.Message, fields, line.Stack)
	}
	out["log at debug"] = lines.String()
	for _, got := range append(w.hook.Received(), w.slack.Received()...) {
		notifytest.NoCanary(t, "message to a destination that did not ask", string(got.Body), token, apiToken, readToken, header, link, query, signingSecret)
	}
	key := strings.TrimPrefix(signingSecret, "whsec_")
	for where, text := range out {
		notifytest.NoCanary(t, where, text, token, apiToken, readToken, header, link, hookPath, slackPath, askedPath, signingSecret, key, "canary-of-somebody-else")
		// The API, and the page about one job, show the query of a job to whoever may read it;
		// nobody else does.
		if !strings.HasPrefix(where, "GET /v1/jobs") && !strings.HasPrefix(where, "GET /jobs/") {
			notifytest.NoCanary(t, where, text, query)
		}
	}
}

// authorised reads a page with a token, head and body.
func authorised(t *testing.T, url, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	code, head, body := roundTrip(t, req)
	return fmt.Sprint(code, head, body)
}
