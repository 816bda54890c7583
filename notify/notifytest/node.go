package notifytest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// NodeModules is the folder of npm packages that checks written in JavaScript
// use, with those that are named in it. Without it the test is skipped, but on
// CI, where it must be there.
func NodeModules(t testing.TB, packages ...string) string {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing("no Node.js here: %v", err)
	}
	const variable = "JOBWATCHER_TEST_NODE_MODULES"
	dir := os.Getenv(variable)
	if dir == "" {
		missing("%s does not name a node_modules folder", variable)
	}
	for _, p := range packages {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(p), "package.json")); err != nil {
			missing("the npm package %s is not in %s: %v", p, variable, err)
		}
	}
	return dir
}

// Node runs a script with node, its packages being those of modules, and
// returns what it printed, error output included.
func Node(t testing.TB, modules, stdin string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	cmd.Stdin = bytes.NewBufferString(stdin)
	b, err := cmd.CombinedOutput()
	return string(b), err
}
