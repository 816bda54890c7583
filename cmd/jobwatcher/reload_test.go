package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/notify"
)

// reloading is a reloader on a file of its own, with what it has applied.
type reloading struct {
	*reloader
	t       *testing.T
	dir     string
	clock   time.Time
	applied [][]string
	refuses error
	logs    *observer.ObservedLogs
	reg     *prometheus.Registry
}

func newReloading(t *testing.T, text string) *reloading {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	r := &reloading{t: t, dir: t.TempDir(), clock: time.Now(), logs: logs, reg: prometheus.NewRegistry()}
	c := &Config{}
	c.Daemon.DestinationsFile = filepath.Join(r.dir, "destinations.yaml")
	r.reloader = newReloader(c, zap.New(core))
	r.now = func() time.Time { return r.clock }
	r.metrics = metrics.New(r.reg, metrics.Options{})
	r.apply = func(all []notify.Destination) error {
		var names []string
		for i := range all {
			names = append(names, all[i].Name)
		}
		r.applied = append(r.applied, names)
		return r.refuses
	}
	r.write(text)
	if _, err := r.start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reloading) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.config.Daemon.DestinationsFile, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// looks lets a minute of looks pass.
func (r *reloading) looks() {
	for range 30 {
		r.clock = r.clock.Add(reloadEvery)
		r.look()
	}
}

func (r *reloading) counted(want string) {
	r.t.Helper()
	text := "# HELP jobwatcher_destinations_reloads_total Changes of the destinations file, by whether they took effect; after a failure the old destinations stay in force.\n" +
		"# TYPE jobwatcher_destinations_reloads_total counter\n"
	var failed, succeeded int
	if _, err := fmt.Sscanf(want, "%d %d", &failed, &succeeded); err != nil {
		r.t.Fatal(err)
	}
	text += fmt.Sprintf("jobwatcher_destinations_reloads_total{result=\"failure\"} %d\njobwatcher_destinations_reloads_total{result=\"success\"} %d\n", failed, succeeded)
	if err := testutil.GatherAndCompare(r.reg, strings.NewReader(text), "jobwatcher_destinations_reloads_total"); err != nil {
		r.t.Error(err)
	}
}

func fileOf(names ...string) string {
	var b strings.Builder
	b.WriteString("destinations:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  - name: %s\n    webhook: {url: https://%s.example.com/}\n", name, name)
	}
	return b.String()
}

func TestChangedDestinationsFileIsTakenOverWhole(t *testing.T) {
	t.Parallel()
	r := newReloading(t, fileOf("a"))
	r.looks()
	if len(r.applied) != 0 {
		t.Errorf("applied %v, and nothing has changed", r.applied)
	}
	r.write(fileOf("a", "b"))
	r.looks()
	r.write(fileOf("a", "b")) // touched, not changed
	r.looks()
	if diff := cmp.Diff([][]string{{"a", "b"}}, r.applied); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	r.counted("0 1")
}

func TestFaultyDestinationsFileChangesNothingAndIsReportedOnce(t *testing.T) {
	t.Parallel()
	r := newReloading(t, fileOf("a"))
	r.write("destinations:\n  - name: A b\n    webhook: {url: ftp://x}\n")
	r.looks()
	r.looks()
	r.counted("1 0")
	if len(r.applied) != 0 {
		t.Errorf("applied %v of a bad file", r.applied)
	}
	if got := r.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); got != 2 {
		t.Errorf("%d lines of log, want one for each of two faults", got)
	}
	r.write(fileOf("a"))
	r.looks()
	r.counted("1 1")
	if err := os.Remove(r.config.Daemon.DestinationsFile); err != nil {
		t.Fatal(err)
	}
	r.looks()
	r.counted("2 1")
	r.write(fileOf("c"))
	r.refuses = errors.New("no sender")
	r.looks()
	r.counted("3 1")
	r.refuses = nil
	r.looks() // the file is as it was, and is tried again
	r.counted("3 2")
}

func TestSwappedSymlinkCountsAsAChange(t *testing.T) {
	t.Parallel()
	r := newReloading(t, fileOf("a"))
	// As the kubelet does it: destinations.yaml -> ..data/destinations.yaml, ..data -> ..1.
	stamp := time.Now().Add(-time.Hour)
	for i, name := range []string{"a", "b"} {
		dir := filepath.Join(r.dir, fmt.Sprintf("..%d", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "destinations.yaml")
		if err := errors.Join(os.WriteFile(file, []byte(fileOf(name)), 0o600), os.Chtimes(file, stamp, stamp)); err != nil {
			t.Fatal(err)
		}
	}
	path := r.config.Daemon.DestinationsFile
	if err := errors.Join(os.Remove(path), os.Symlink("..0", filepath.Join(r.dir, "..data")), os.Symlink(filepath.Join("..data", "destinations.yaml"), path)); err != nil {
		t.Fatal(err)
	}
	r.looks()
	next := filepath.Join(r.dir, "..data_tmp")
	if err := errors.Join(os.Symlink("..1", next), os.Rename(next, filepath.Join(r.dir, "..data"))); err != nil {
		t.Fatal(err)
	}
	r.looks()
	if diff := cmp.Diff([][]string{{"b"}}, r.applied); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
}

func TestSecretThatComesLaterMendsAFaultyFile(t *testing.T) {
	t.Parallel()
	r := newReloading(t, fileOf("a"))
	secret := filepath.Join(r.dir, "url")
	r.write("destinations:\n  - name: b\n    slack: {url_file: " + secret + "}\n")
	r.looks()
	r.counted("1 0")
	if err := os.WriteFile(secret, []byte("https://hooks.example.com/T0"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.looks()
	r.counted("1 1")
}
