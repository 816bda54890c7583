package main

import (
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher"
)

var update = flag.Bool("update", false, "rewrite golden files")

// environment sets exactly these variables of ours, and unsets all others.
func environment(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "ZUORA_") && !strings.HasPrefix(name, "JOBWATCHER_") {
			continue
		}
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Setenv(name, value) }) //nolint:usetesting // it puts back what Unsetenv took
	}
	for name, value := range vars {
		t.Setenv(name, value)
	}
}

// with adds to the least environment that a daemon needs.
func with(more map[string]string) map[string]string {
	vars := map[string]string{"ZUORA_BEARER_TOKEN": "token"}
	maps.Copy(vars, more)
	return vars
}

func TestDefaultsAreValidAndAsTheContractHasThem(t *testing.T) {
	environment(t, with(nil))
	c, err := loadConfig(forDaemon)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Daemon.Tenant, "rest.zuora.com"; got != want {
		t.Errorf("tenant = %q, want %q", got, want)
	}
	if got, want := c.Daemon.Store.url, defaultStore; got != want {
		t.Errorf("store = %q, want %q", got, want)
	}
	if got, want := c.Daemon.AbandonAfter, 168*time.Hour; got != want {
		t.Errorf("abandon after = %v, want %v", got, want)
	}
	defaults := defaultConfig()
	if got, want := defaults.Daemon.Listen, ":8080"; got != want {
		t.Errorf("default listen = %q, want %q", got, want)
	}
	if got, want := defaults.Upstream.Timeout, 30*time.Second; got != want {
		t.Errorf("default timeout = %v, want %v", got, want)
	}
}

func TestSetButEmptyListenTurnsHTTPOff(t *testing.T) {
	environment(t, with(map[string]string{"JOBWATCHER_LISTEN": ""}))
	c, err := loadConfig(forDaemon)
	if err != nil {
		t.Fatal(err)
	}
	if c.Daemon.Listen != "" {
		t.Errorf("listen = %q, want it off", c.Daemon.Listen)
	}
}

func TestEachBadVariableIsNamedWithValueAndWhatIsAllowed(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		vars     map[string]string
		variable string
		text     []string
	}{
		{"duration", map[string]string{"ZUORA_TIMEOUT": "fast"}, "ZUORA_TIMEOUT", []string{`"fast"`, "duration"}},
		{"empty duration", map[string]string{"ZUORA_TIMEOUT": ""}, "ZUORA_TIMEOUT", []string{`""`, "duration"}},
		{"short timeout", map[string]string{"ZUORA_TIMEOUT": "1ms"}, "ZUORA_TIMEOUT", []string{`"1ms"`, "between 10ms and 10m"}},
		{"plain http", map[string]string{"ZUORA_BASE_URL": "http://rest.zuora.com"}, "ZUORA_BASE_URL", []string{"https", "loopback"}},
		{"not a URL", map[string]string{"ZUORA_BASE_URL": "rest.zuora.com"}, "ZUORA_BASE_URL", []string{`"rest.zuora.com"`, "https URL"}},
		{"path", map[string]string{"ZUORA_BASE_URL": "https://rest.zuora.com/v1"}, "ZUORA_BASE_URL", []string{"origin"}},
		{"empty base URL", map[string]string{"ZUORA_BASE_URL": ""}, "ZUORA_BASE_URL", []string{`""`, "https URL"}},
		{"in flight", map[string]string{"ZUORA_MAX_IN_FLIGHT": "0"}, "ZUORA_MAX_IN_FLIGHT", []string{`"0"`, "between 1 and 1000"}},
		{"budget share", map[string]string{"ZUORA_BUDGET": "1.5"}, "ZUORA_BUDGET", []string{`"1.5"`, "share"}},
		{"budget NaN", map[string]string{"ZUORA_BUDGET": "NaN"}, "ZUORA_BUDGET", []string{`"NaN"`}},
		{"budget window", map[string]string{"ZUORA_BUDGET": "300/5m"}, "ZUORA_BUDGET", []string{`"300/5m"`, "1m, 1h or 24h"}},
		{"budget twice", map[string]string{"ZUORA_BUDGET": "300/1m,5/1m"}, "ZUORA_BUDGET", []string{"twice"}},
		{"track id", map[string]string{"ZUORA_TRACK_ID": "a:b"}, "ZUORA_TRACK_ID", []string{`"a:b"`}},
		{"entities", map[string]string{"ZUORA_ENTITY_IDS": "a,b"}, "ZUORA_ENTITY_IDS", []string{"one entity"}},
		{"tenant", map[string]string{"JOBWATCHER_TENANT": "a b"}, "JOBWATCHER_TENANT", []string{`"a b"`}},
		{"job ids", map[string]string{"JOBWATCHER_JOB_IDS": "3a3e85c4-96e7-486b-ae02-827120104301,nonsense"}, "JOBWATCHER_JOB_IDS", []string{`"nonsense"`, "UUID"}},
		{"job ids file", map[string]string{"JOBWATCHER_JOB_IDS_FILE": dir + "/none"}, "JOBWATCHER_JOB_IDS_FILE", []string{"no such file"}},
		{"bool", map[string]string{"JOBWATCHER_DISCOVER": "perhaps"}, "JOBWATCHER_DISCOVER", []string{`"perhaps"`, "true or false"}},
		{"discover beyond retention", map[string]string{"JOBWATCHER_DISCOVER": "true", "JOBWATCHER_DISCOVER_SINCE": "721h"}, "JOBWATCHER_DISCOVER_SINCE", []string{"JOBWATCHER_RETENTION"}},
		{"store", map[string]string{"JOBWATCHER_STORE": "mysql://u:hunter2@h/d"}, "JOBWATCHER_STORE", []string{"sqlite:PATH"}},
		{"sqlite without path", map[string]string{"JOBWATCHER_STORE": "sqlite:"}, "JOBWATCHER_STORE", []string{"sqlite:PATH"}},
		{"listen", map[string]string{"JOBWATCHER_LISTEN": "8080"}, "JOBWATCHER_LISTEN", []string{`"8080"`, "host:port"}},
		{"listen port", map[string]string{"JOBWATCHER_LISTEN": ":99999"}, "JOBWATCHER_LISTEN", []string{`":99999"`}},
		{"same address", map[string]string{"JOBWATCHER_METRICS_LISTEN": ":8080"}, "JOBWATCHER_METRICS_LISTEN", []string{"JOBWATCHER_LISTEN"}},
		{"web config", map[string]string{"JOBWATCHER_WEB_CONFIG_FILE": dir}, "JOBWATCHER_WEB_CONFIG_FILE", []string{"directory"}},
		{"interval order", map[string]string{"JOBWATCHER_POLL_INITIAL_INTERVAL": "1m"}, "JOBWATCHER_POLL_MAX_INTERVAL", []string{"JOBWATCHER_POLL_INITIAL_INTERVAL"}},
		{"multiplier", map[string]string{"JOBWATCHER_POLL_MULTIPLIER": "0.5"}, "JOBWATCHER_POLL_MULTIPLIER", []string{"between 1 and 100"}},
		{"randomization NaN", map[string]string{"JOBWATCHER_POLL_RANDOMIZATION": "NaN"}, "JOBWATCHER_POLL_RANDOMIZATION", []string{"between 0 and 1"}},
		{"mode", map[string]string{"JOBWATCHER_POLL_MODE": "push"}, "JOBWATCHER_POLL_MODE", []string{"auto, get, list"}},
		{"negative lost", map[string]string{"JOBWATCHER_LOST_AFTER": "-1s"}, "JOBWATCHER_LOST_AFTER", []string{"between 1ms and 24h"}},
		{"series", map[string]string{"JOBWATCHER_JOB_METRICS_LIMIT": "-1"}, "JOBWATCHER_JOB_METRICS_LIMIT", []string{"between 0 and 100000"}},
		{"log level", map[string]string{"JOBWATCHER_LOG_LEVEL": "verbose"}, "JOBWATCHER_LOG_LEVEL", []string{"debug, info, warn, error"}},
		{"log format", map[string]string{"JOBWATCHER_LOG_FORMAT": "xml"}, "JOBWATCHER_LOG_FORMAT", []string{"auto, json, console"}},
		{"grace", map[string]string{"JOBWATCHER_SHUTDOWN_GRACE": "0"}, "JOBWATCHER_SHUTDOWN_GRACE", []string{"between"}},
		{"delay", map[string]string{"JOBWATCHER_SHUTDOWN_DELAY": "20s"}, "JOBWATCHER_SHUTDOWN_DELAY", []string{"below JOBWATCHER_SHUTDOWN_GRACE"}},
		{"both secrets", map[string]string{"JOBWATCHER_API_TOKEN": "hunter2", "JOBWATCHER_API_TOKEN_FILE": empty}, "JOBWATCHER_API_TOKEN", []string{"JOBWATCHER_API_TOKEN_FILE"}},
		{"secret file missing", map[string]string{"JOBWATCHER_API_TOKEN_FILE": dir + "/none"}, "JOBWATCHER_API_TOKEN_FILE", []string{"no such file"}},
		{"secret file empty", map[string]string{"JOBWATCHER_API_READ_TOKEN_FILE": empty}, "JOBWATCHER_API_READ_TOKEN_FILE", []string{"empty"}},
		{"webhook secret alone", map[string]string{"JOBWATCHER_WEBHOOK_SECRET": "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="}, "JOBWATCHER_WEBHOOK_SECRET", []string{"JOBWATCHER_WEBHOOK_URL"}},
		{"webhook secret", map[string]string{"JOBWATCHER_WEBHOOK_URL": "https://a/b", "JOBWATCHER_WEBHOOK_SECRET": "hunter2"}, "JOBWATCHER_WEBHOOK_SECRET", []string{"whsec_"}},
		{"slack URL", map[string]string{"JOBWATCHER_SLACK_URL": "hunter2"}, "JOBWATCHER_SLACK_URL", []string{"absolute URL"}},
		{"allowed destinations", map[string]string{"JOBWATCHER_ALLOWED_DESTINATIONS": "10.0.0.0/8, loader.internal, 10.1.2"}, "JOBWATCHER_ALLOWED_DESTINATIONS", []string{`"10.1.2"`, "range"}},
		{"allowed URL", map[string]string{"JOBWATCHER_ALLOWED_DESTINATIONS": "https://loader.internal"}, "JOBWATCHER_ALLOWED_DESTINATIONS", []string{"host such as"}},
		{"page", map[string]string{"JOBWATCHER_PAGE_URL": "me:hunter2@jobs.internal"}, "JOBWATCHER_PAGE_URL", []string{"absolute URL"}},
		{"both credentials", map[string]string{"ZUORA_CLIENT_ID": "me"}, "ZUORA_BEARER_TOKEN", []string{"not both"}},
		{"half credentials", map[string]string{"ZUORA_BEARER_TOKEN": "", "ZUORA_CLIENT_ID": "me"}, "ZUORA_CLIENT_SECRET", []string{"both"}},
		{"no credentials", map[string]string{"ZUORA_BEARER_TOKEN": ""}, "ZUORA_CLIENT_ID", []string{"no credentials"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t, with(tt.vars))
			_, err := loadConfig(forDaemon)
			var bad faults
			if !errors.As(err, &bad) {
				t.Fatalf("error = %v, want faults", err)
			}
			if len(bad) != 1 || bad[0].variable != tt.variable {
				t.Fatalf("faults = %v, want exactly one about %s", bad, tt.variable)
			}
			for _, text := range tt.text {
				if !strings.Contains(bad[0].Error(), text) {
					t.Errorf("fault %q does not say %q", bad[0], text)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("fault %q shows a secret", err)
			}
		})
	}
}

func TestAllFaultsAreReportedAtOnceAndNoSecretIsPrinted(t *testing.T) {
	environment(t, map[string]string{
		"ZUORA_BASE_URL":                 "https://user:canary-1@rest.zuora.com",
		"ZUORA_CLIENT_SECRET":            "canary-2",
		"ZUORA_BEARER_TOKEN":             "canary-3",
		"ZUORA_TIMEOUT":                  "never",
		"JOBWATCHER_POLL_MULTIPLIER":     "x",
		"JOBWATCHER_DISCOVER":            "x",
		"JOBWATCHER_JOB_METRICS_LIMIT":   "x",
		"JOBWATCHER_STORE":               "postgres:/canary-4@h",
		"JOBWATCHER_SLACK_URL":           "nonsense canary-5",
		"JOBWATCHER_WEBHOOK_URL":         "nonsense canary-6",
		"JOBWATCHER_WEBHOOK_SECRET":      "nonsense canary-7",
		"JOBWATCHER_API_TOKEN":           "canary-8",
		"JOBWATCHER_API_TOKEN_FILE":      "/nowhere",
		"JOBWATCHER_API_READ_TOKEN_FILE": "/nowhere",
		"JOBWATCHER_LOG_LEVEL":           "loud",
	})
	_, err := loadConfig(forDaemon)
	if err == nil {
		t.Fatal("no fault")
	}
	for _, variable := range []string{
		"ZUORA_BASE_URL", "ZUORA_BEARER_TOKEN", "ZUORA_TIMEOUT", "JOBWATCHER_POLL_MULTIPLIER", "JOBWATCHER_DISCOVER",
		"JOBWATCHER_JOB_METRICS_LIMIT", "JOBWATCHER_STORE", "JOBWATCHER_SLACK_URL", "JOBWATCHER_WEBHOOK_URL",
		"JOBWATCHER_API_TOKEN", "JOBWATCHER_API_READ_TOKEN_FILE", "JOBWATCHER_LOG_LEVEL",
	} {
		if !strings.Contains(err.Error(), variable+": ") {
			t.Errorf("no line about %s in:\n%v", variable, err)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("a secret is printed:\n%v", err)
	}
}

func TestUnknownVariablesAreNamedWithTheNearestOne(t *testing.T) {
	t.Parallel()
	got := unknownVariables([]string{
		"JOBWATCHER_LISTN=:1", "ZUORA_CLIENTSECRET=x", "JOBWATCHER_METRICS_PORT=9", "PATH=/bin", "ZUORA=1",
		"JOBWATCHER_SERVER=http://x", "JOBWATCHER_TEST_POSTGRES=x", "JOBWATCHER_LISTEN=:1", "JOBWATCHER_STORE_FILE=x",
		"JOBWATCHER_SERVICE_HOST=10.0.0.1", "JOBWATCHER_SERVICE_PORT=80", "JOBWATCHER_SERVICE_PORT_HTTP=80",
		"JOBWATCHER_PORT=tcp://10.0.0.1:80", "JOBWATCHER_PORT_80_TCP=tcp://10.0.0.1:80", "JOBWATCHER_PORT_80_TCP_ADDR=10.0.0.1",
		"JOBWATCHER_METRICS_SERVICE_HOST=10.0.0.1", "JOBWATCHER_METRICS_PORT=tcp://10.0.0.1:9090",
	})
	want := []string{
		"JOBWATCHER_LISTN is not a variable of jobwatcher and is ignored; the nearest one is JOBWATCHER_LISTEN",
		"JOBWATCHER_METRICS_PORT is not a variable of jobwatcher and is ignored; the nearest one is JOBWATCHER_METRICS_LISTEN",
		"ZUORA_CLIENTSECRET is not a variable of jobwatcher and is ignored; the nearest one is ZUORA_CLIENT_SECRET",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestSecretsAndPasswordsAreMaskedInTheTable(t *testing.T) {
	environment(t, with(map[string]string{
		"ZUORA_BEARER_TOKEN":   "canary-1",
		"JOBWATCHER_STORE":     "postgres://user:canary-2@h/d?sslpassword=canary-3",
		"JOBWATCHER_SLACK_URL": "canary-4",
	}))
	for _, args := range [][]string{{"config"}, {"config", "-o", "json"}} {
		code, out, errs := runCLI(t, "", args...)
		if code != 0 {
			t.Errorf("%v: exit %d, %s", args, code, errs)
		}
		if strings.Contains(out+errs, "canary") {
			t.Errorf("%v prints a secret:\n%s%s", args, out, errs)
		}
		if !strings.Contains(out, "[redacted]") || !strings.Contains(out, "postgres://user:xxxxx@h/d") {
			t.Errorf("%v does not show that secrets are set:\n%s", args, out)
		}
	}
}

func TestBudgetTakesAShareOrLimits(t *testing.T) {
	t.Parallel()
	got, err := parseBudget("300/1m, 5000/1h,50000/24h")
	if err != nil {
		t.Fatal(err)
	}
	want := watcher.BudgetPolicy{Limits: map[time.Duration]int64{time.Minute: 300, time.Hour: 5000, 24 * time.Hour: 50000}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("budget (-want +got):\n%s", diff)
	}
	if got, err := parseBudget("0.25"); err != nil || got.Share != 0.25 {
		t.Errorf("share = %v, %v; want 0.25", got, err)
	}
}

func FuzzBudget(f *testing.F) {
	for _, seed := range []string{"0.5", "300/1m,5000/1h", "/", "1/1m,", "-1/1m", "NaN", "1e400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBudget(text)
		if err == nil && !(b.Share > 0 && b.Share <= 1) && len(b.Limits) == 0 {
			t.Errorf("parseBudget(%q) = %v without a fault", text, b)
		}
		for span, limit := range b.Limits {
			if limit < 1 || span < time.Minute {
				t.Errorf("parseBudget(%q) has the window %d/%s", text, limit, span)
			}
		}
	})
}

// The reference in deploy/config.md is what users read; -update rewrites it.
func TestReferenceIsWhatTheTagsSay(t *testing.T) {
	golden(t, filepath.Join("..", "..", "deploy", "config.md"), reference())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is stale, run the test with -update (-want +got):\n%s", path, diff)
	}
}
