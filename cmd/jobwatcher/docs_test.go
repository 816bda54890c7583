package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

const root = "../../"

// documents are all Markdown files of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".md") {
			text, err := os.ReadFile(path)
			all[strings.TrimPrefix(path, root)] = string(text)
			return err
		}
		return nil
	})
	if err != nil || len(all) < 8 {
		t.Fatalf("%d documents, %v", len(all), err)
	}
	return all
}

var (
	fence        = regexp.MustCompile("(?s)```sh\n(.*?)```")
	link         = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	variableName = regexp.MustCompile(`\b(?:JOBWATCHER|ZUORA)_[A-Z][A-Z_]*[A-Z]\b`)
	metric       = regexp.MustCompile(`\bjobwatcher_[a-z_]*[a-z]\b`)
	aCommand     = regexp.MustCompile(`(?m)(?:^|\s|` + "`" + `)(?:\./)?jobwatcher ([a-z][^|;&#` + "`" + `\n]*)`)
)

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for path, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
			}
		}
	}
}

func TestEveryVariableInTheDocumentsExists(t *testing.T) {
	t.Parallel()
	var c Config
	known := map[string]bool{
		// Read by the client commands, and by Kubernetes' services.
		"JOBWATCHER_SERVER": true, "JOBWATCHER_SERVICE_HOST": true, "JOBWATCHER_PORT": true,
	}
	for _, v := range variables(&c) {
		known[v.name] = true
	}
	for path, text := range documents(t) {
		for _, one := range variableName.FindAllString(text, -1) {
			if !known[one] && !known[strings.TrimSuffix(one, "_FILE")] && !strings.HasPrefix(one, "JOBWATCHER_TEST") {
				t.Errorf("%s speaks of %s, which does not exist", path, one)
			}
		}
	}
}

// exported are the names of all our metrics, with what histograms add.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics.New(registry, metrics.Options{})
	described := make(chan *prometheus.Desc, 1000)
	registry.Describe(described)
	close(described)
	fqName := regexp.MustCompile(`fqName: "([^"]+)"`)
	names := map[string]bool{}
	for d := range described {
		one := fqName.FindStringSubmatch(d.String())[1]
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			names[one+suffix] = true
		}
	}
	return names
}

func TestEveryMetricInDocumentsRulesAndDashboardExists(t *testing.T) {
	t.Parallel()
	names := exported(t)
	texts := documents(t)
	for _, path := range []string{"deploy/prometheus/rules.yaml", "deploy/prometheus/rules_test.yaml", "deploy/grafana/jobwatcher.json"} {
		text, err := os.ReadFile(root + path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(text)
	}
	for path, text := range texts {
		found := metric.FindAllStringIndex(text, -1)
		for _, at := range found {
			one := text[at[0]:at[1]]
			if before := text[:at[0]]; strings.HasSuffix(before, ":") || strings.HasPrefix(text[at[1]:], "*") {
				continue // a recorded series, or a family of names
			}
			if !names[one] {
				t.Errorf("%s speaks of %s, which is not exported", path, one)
			}
		}
		if strings.HasPrefix(path, "deploy/prometheus/") && len(found) < 20 {
			t.Errorf("%s: only %d metrics found", path, len(found))
		}
	}
}

// Each command line in a document must be one that the program understands: the
// command exists, and so does each flag.
func TestEveryCommandInTheDocumentsExists(t *testing.T) {
	t.Parallel()
	checked := 0
	for path, text := range documents(t) {
		var lines []string
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			lines = append(lines, block[1])
		}
		for _, code := range regexp.MustCompile("`(jobwatcher [^`]+)`").FindAllStringSubmatch(text, -1) {
			lines = append(lines, code[1])
		}
		for _, m := range aCommand.FindAllStringSubmatch(strings.Join(lines, "\n"), -1) {
			words := strings.Fields(strings.TrimSuffix(m[1], "\\"))
			if len(words) > 1 && (words[0] == "deploy/helm/jobwatcher" || strings.HasPrefix(words[0], "deploy/")) {
				continue
			}
			command, rest, err := (&app{}).rootCommand().Find(words)
			if err != nil || !command.HasParent() {
				t.Errorf("%s: jobwatcher %s: no such command", path, m[1])
				continue
			}
			checked++
			for _, word := range rest {
				flag, _, _ := strings.Cut(word, "=")
				if long, ok := strings.CutPrefix(flag, "--"); ok && command.Flag(long) == nil {
					t.Errorf("%s: jobwatcher %s: no flag --%s", path, m[1], long)
				}
			}
		}
	}
	if checked < 15 {
		t.Errorf("only %d command lines found", checked)
	}
}

// The README's first five minutes, as they stand there, with other ports.
func TestFiveMinutesOfTheREADME(t *testing.T) {
	t.Parallel()
	text := documents(t)["README.md"]
	_, text, found := strings.Cut(text, "## Five minutes with the simulator")
	text, _, also := strings.Cut(text, "\n## ")
	blocks := fence.FindAllStringSubmatch(text, -1)
	if !found || !also || len(blocks) != 4 {
		t.Fatalf("%d blocks, want the simulator's, the daemon's, the client's and curl's", len(blocks))
	}
	for _, needed := range []string{"curl", "bash"} {
		tool(t, needed)
	}
	dir := t.TempDir()
	program := fmt.Sprintf("#!/bin/sh\nexport %s=1\nexec %s \"$@\"\n", asMain, os.Args[0])
	if err := os.WriteFile(dir+"/jobwatcher", []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	simulator, daemon := freePort(t), freePort(t)
	shell := func(block string) *exec.Cmd {
		block = regexp.MustCompile(`(?m)^go build .*$`).ReplaceAllString(block, "")
		block = strings.ReplaceAll(block, "jobwatcher simulate", "jobwatcher simulate --addr "+simulator)
		block = strings.ReplaceAll(strings.ReplaceAll(block, "127.0.0.1:8090", simulator), "127.0.0.1:8080", daemon)
		block = strings.ReplaceAll(block, `"run_time":"10s"`, `"run_time":"2s"`)
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", block)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "JOBWATCHER_LISTEN=" + daemon, "JOBWATCHER_SERVER=http://" + daemon, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR")}
		return cmd
	}
	background := func(block string) {
		var said bytes.Buffer
		// exec, so that what is ended is the program and not the shell.
		lines := strings.Split(strings.TrimSpace(block), "\n")
		lines[len(lines)-1] = "exec " + lines[len(lines)-1]
		cmd := shell(strings.Join(lines, "\n"))
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("%s\nsaid: %s", block, said.String())
			}
		})
	}
	background(blocks[0][1])
	eventually(t, "the simulator's variables", func() bool {
		env, err := os.ReadFile(dir + "/zuora.env")
		return err == nil && bytes.Contains(env, []byte("ZUORA_CLIENT_SECRET"))
	})
	background(blocks[1][1])
	eventually(t, "the daemon is ready", func() bool { return ready(t.Context(), daemon, []string{"http"}) == nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := shell(blocks[2][1] + blocks[3][1])
	out, err := cmd.CombinedOutput()
	if err != nil || ctx.Err() != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"tracked", "completed", "finance", `jobwatcher_jobs_finished_total{outcome="completed"`, `"state":"finished"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in what the reader sees:\n%s", want, out)
		}
	}
}

func TestREADMENamesBothCommandsOfTheSetUp(t *testing.T) {
	t.Parallel()
	lines := strings.Split(documents(t)["README.md"], "\n")
	for _, want := range []string{"go run ./cmd/jobwatcher demo", "go test ./..."} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line that says %s", want)
		}
	}
}
