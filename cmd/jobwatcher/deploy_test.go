package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rulesFile     = root + "deploy/prometheus/rules.yaml"
	ruleTestsFile = root + "deploy/prometheus/rules_test.yaml"
	dashboardFile = root + "deploy/grafana/jobwatcher.json"
)

// rule is one of rules.yaml.
type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func alerts(t *testing.T) (all []rule) {
	t.Helper()
	for _, r := range rules(t) {
		if r.Alert != "" {
			all = append(all, r)
		}
	}
	if len(all) < 12 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

// Whoever is woken by an alert finds a section of the runbook about it, and no
// section is about an alert that is gone.
func TestEveryAlertHasItsRunbookSection(t *testing.T) {
	t.Parallel()
	sections := regexp.MustCompile(`(?m)^## (\S+)$`).FindAllStringSubmatch(documents(t)["deploy/runbook.md"], -1)
	var titles []string
	for _, s := range sections {
		titles = append(titles, s[1])
	}
	for _, a := range alerts(t) {
		if i := slices.Index(titles, a.Alert); i < 0 {
			t.Errorf("%s has no section in the runbook", a.Alert)
		} else {
			titles = slices.Delete(titles, i, i+1)
		}
		if want := "deploy/runbook.md#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %q, want %q", a.Alert, a.Annotations["runbook_url"], want)
		}
		if a.Annotations["summary"] == "" || a.Labels["severity"] != "warning" && a.Labels["severity"] != "critical" {
			t.Errorf("%s lacks a summary, or a severity of warning or critical", a.Alert)
		}
	}
	if len(titles) > 0 {
		t.Errorf("sections about no alert: %v", titles)
	}
}

func TestEveryAlertIsShownFiringAndQuiet(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(ruleTestsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Alerts []struct {
				Name     string `yaml:"alertname"`
				Expected []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		} `yaml:"tests"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, one := range file.Tests {
		for _, a := range one.Alerts {
			if len(a.Expected) > 0 {
				fires[a.Name] = true
			} else {
				quiet[a.Name] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: shown firing %v, quiet %v; want both", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
	}
}

func TestPromtoolAcceptsTheRulesAndTheirTests(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", "--lint=all", "--lint-fatal", rulesFile}, {"test", "rules", ruleTestsFile}} {
		if out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// panel is what Grafana draws; rows hold panels.
type panel struct {
	ID      int     `json:"id"`
	Title   string  `json:"title"`
	Type    string  `json:"type"`
	Panels  []panel `json:"panels"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
	GridPos *struct {
		W int `json:"w"`
		X int `json:"x"`
	} `json:"gridPos"`
}

// Each expression of the dashboard must be one that Prometheus understands:
// they are checked as if they were recording rules.
func TestDashboardIsWhatGrafanaAndPrometheusUnderstand(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID           string  `json:"uid"`
		Title         string  `json:"title"`
		SchemaVersion int     `json:"schemaVersion"`
		Panels        []panel `json:"panels"`
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	if board.UID == "" || board.Title == "" || board.SchemaVersion < 36 {
		t.Errorf("uid %q, title %q, schema version %d", board.UID, board.Title, board.SchemaVersion)
	}
	type recording struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var all []recording
	ids := map[int]string{}
	var walk func([]panel)
	walk = func(panels []panel) {
		for _, p := range panels {
			if other, twice := ids[p.ID]; twice || p.ID == 0 {
				t.Errorf("panel %q has the id %d, as %q has", p.Title, p.ID, other)
			}
			ids[p.ID] = p.Title
			if p.Title == "" || p.GridPos == nil || p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 || p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("panel %d %q lacks a title, a place in the grid or a question", p.ID, p.Title)
			}
			for _, q := range p.Targets {
				expr := strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$__range", "1h").Replace(q.Expr)
				all = append(all, recording{fmt.Sprintf("panel:p%d:e%d", p.ID, len(all)), expr})
			}
			walk(p.Panels)
		}
	}
	walk(board.Panels)
	wrapped, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": all}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	write(t, path, string(wrapped))
	if out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), "check", "rules", path).CombinedOutput(); err != nil || len(all) < 20 {
		t.Errorf("%d expressions, %v\n%s", len(all), err, out)
	}
	everything := string(text)
	for _, wanted := range []string{
		"job_processing_seconds", "job_output_rows", "jobs_finished_total", "detection_delay_seconds", "budget_remaining", "deliveries", "jobwatcher_replicas",
	} {
		if !strings.Contains(everything, wanted) {
			t.Errorf("no panel about %s", wanted)
		}
	}
}
