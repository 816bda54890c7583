package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// server runs a foreign program until the test ends.
func server(t *testing.T, name string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), tool(t, name), args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", name, said.String())
		}
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// observatory is a Prometheus that scrapes one daemon every second, with our
// rules, and an Alertmanager that tells the test.
type observatory struct {
	t      *testing.T
	url    string
	mu     sync.Mutex
	alerts map[string]map[string]string // by name: labels and annotations
}

var waits = regexp.MustCompile(`(?m)^(\s+for:) \S+$`)

func observe(t *testing.T, target string) *observatory {
	t.Helper()
	o := &observatory{t: t, alerts: map[string]map[string]string{}}
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var told struct {
			Alerts []struct {
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"alerts"`
		}
		if json.NewDecoder(r.Body).Decode(&told) != nil {
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, a := range told.Alerts {
			for k, v := range a.Annotations {
				a.Labels["annotation:"+k] = v
			}
			o.alerts[a.Labels["alertname"]] = a.Labels
		}
	}))
	t.Cleanup(hook.Close)
	dir := t.TempDir()
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	// As they are, but for how long they wait.
	write(t, filepath.Join(dir, "rules.yaml"), waits.ReplaceAllString(string(rules), "$1 1s"))
	manager, prom := freeAddress(t), freeAddress(t)
	write(t, filepath.Join(dir, "alertmanager.yaml"), fmt.Sprintf("route: {receiver: test, group_wait: 1s, group_interval: 1s, repeat_interval: 1h, group_by: [alertname]}\nreceivers: [{name: test, webhook_configs: [{url: %q}]}]\n", hook.URL))
	write(t, filepath.Join(dir, "prometheus.yaml"), fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs: [{job_name: jobwatcher, static_configs: [{targets: [%q]}]}]
`, manager, strings.TrimPrefix(target, "http://")))
	server(t, "prometheus-alertmanager", "--config.file="+filepath.Join(dir, "alertmanager.yaml"), "--storage.path="+filepath.Join(dir, "am"),
		"--web.listen-address="+manager, "--cluster.listen-address=")
	server(t, "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+prom)
	o.url = "http://" + prom
	eventually(t, "Prometheus is ready", func() bool {
		_, code := read(t, o.url+"/-/ready")
		return code == http.StatusOK
	})
	return o
}

// read gets a page, or code 0.
func read(t *testing.T, address string) (string, int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error(), 0
	}
	defer func() { _ = answer.Body.Close() }()
	b, _ := io.ReadAll(answer.Body)
	return string(b), answer.StatusCode
}

// ask is how many series an expression gives.
func (o *observatory) ask(expr string) (int, error) {
	body, _ := read(o.t, o.url+"/api/v1/query?query="+url.QueryEscape(expr))
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Result []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return 0, err
	}
	if answer.Status != "success" {
		return 0, fmt.Errorf("%s", answer.Error)
	}
	return len(answer.Data.Result), nil
}

func (o *observatory) alert(name string) map[string]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.alerts[name]
}

// A receiver that fails makes the alert arrive, through a real Prometheus and a
// real Alertmanager; and every question of the dashboard is answered by what a
// daemon at work shows.
func TestAlertArrivesAndDashboardShowsSomething(t *testing.T) {
	w := newWorld(t, zuorasim.Options{Plan: zuorasim.Production()})
	w.hook.Script(slices.Repeat([]notifytest.Step{{Status: http.StatusInternalServerError}}, 500)...)
	d := w.serve(map[string]string{"JOBWATCHER_DEADLINE": "2s"})
	o := observe(t, d.url)
	eventually(t, "Prometheus scrapes the daemon", func() bool { n, err := o.ask("jobwatcher_build_info"); return err == nil && n == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var busy sync.WaitGroup
	defer busy.Wait()
	defer cancel()
	busy.Go(func() { // jobs that come and go, one of three failing
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			spec := zuorasim.Spec{RunTime: 500 * time.Millisecond, Outcome: job.Completed, Unlimited: true}
			switch n % 6 {
			case 0, 3:
				spec.Outcome = job.Failed
			case 1:
				spec.RunTime = time.Hour
			}
			_, _ = d.client.Track(ctx, w.tenant.Submit(spec), apiclient.Item{})
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	eventually(t, "the alert arrives", func() bool { return o.alert("JobwatcherDeliveryFailing") != nil })
	a := o.alert("JobwatcherDeliveryFailing")
	if a["destination"] != "webhook" || a["severity"] != "warning" || !strings.Contains(a["annotation:summary"], "webhook") ||
		a["annotation:runbook_url"] != "deploy/runbook.md#jobwatcherdeliveryfailing" {
		t.Errorf("it says %v", a)
	}
	eventually(t, "jobs that are overdue are an alert as well", func() bool { return o.alert("JobwatcherJobOverdue") != nil })
	for _, quiet := range []string{"JobwatcherDown", "JobwatcherNothingPolled", "JobwatcherStoreErrors", "JobwatcherCredentialsRefused"} {
		if a := o.alert(quiet); a != nil {
			t.Errorf("%s came: %v", quiet, a)
		}
	}

	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	empty := map[string]bool{}
	for _, expr := range expressions(board.Panels) {
		filled := regexp.MustCompile(`\$\{?[a-z_]+(:[a-z]+)?\}?`).ReplaceAllString(strings.NewReplacer("$__rate_interval", "30s", "$__interval", "5s", "$__range", "1m").Replace(expr), ".*")
		answered := func() bool { n, err := o.ask(filled); return err == nil && n > 0 }
		if limit := time.Now().Add(10 * time.Second); !answered() {
			for !answered() && time.Now().Before(limit) {
				<-time.After(500 * time.Millisecond)
			}
			if n, err := o.ask(filled); err != nil || n == 0 {
				empty[expr] = true
				t.Errorf("the dashboard asks %s, and gets %d series, %v", expr, n, err)
			}
		}
	}
	for _, record := range regexp.MustCompile(`record: (\S+)`).FindAllStringSubmatch(readFile(t, rulesFile), -1) {
		if n, err := o.ask(record[1]); err != nil || n == 0 {
			t.Errorf("the rule %s records nothing: %v", record[1], err)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func expressions(panels []panel) (all []string) {
	for _, p := range panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
		all = append(all, expressions(p.Panels)...)
	}
	return all
}

// 100,000 jobs finished leave the number of series as it was, and the page small.
func TestMetricsStayTheSameSizeHoweverManyJobsEnd(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m := metrics.New(registry, metrics.Options{Tenant: "acme", JobLimit: 100})
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	scraped := func() (lines, size int) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		return strings.Count(w.Body.String(), "\n"), w.Body.Len()
	}
	end := func(n int) {
		for i := range n {
			rows, took := int64(i), time.Duration(i)*time.Millisecond
			j := job.Job{ID: job.ID{byte(i), byte(i >> 8), byte(i >> 16)}, Outcome: job.Outcomes()[i%len(job.Outcomes())], OutputRows: &rows, ProcessingTime: &took, FinishedAt: job.At(time.Now())}
			m.JobFinished(&j)
			m.Detected(took)
			m.PollLag(took)
		}
	}
	end(1000)
	before, _ := scraped()
	end(100_000)
	after, size := scraped()
	if after != before || size > 1<<20 {
		t.Errorf("%d lines after 1,000 jobs, %d after 100,000 more; %d bytes", before, after, size)
	}
}
