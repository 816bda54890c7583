package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		mainForTests()
	}
	goleak.VerifyTestMain(m)
}

// runCLI runs the command line as main does and returns what it printed.
func runCLI(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = runWith(t.Context(), args, strings.NewReader(stdin), &out, &errs, hooks{})
	return code, out.String(), errs.String()
}

func TestEveryCommandExplainsItself(t *testing.T) {
	environment(t, nil)
	a := &app{}
	for _, cmd := range a.rootCommand().Commands() {
		for _, path := range append([][]string{{cmd.Name()}}, subcommands(cmd)...) {
			code, out, errs := runCLI(t, "", append(path, "--help")...)
			if code != 0 || errs != "" {
				t.Errorf("%v --help: exit %d, stderr %q", path, code, errs)
			}
			golden(t, filepath.Join("testdata", "help", strings.Join(path, "-")+".txt"), out)
		}
	}
	_, out, _ := runCLI(t, "", "--help")
	golden(t, filepath.Join("testdata", "help", "jobwatcher.txt"), out)
}

func TestWrongUseIsOneLineOnStderrAndExitCode1(t *testing.T) {
	environment(t, map[string]string{"JOBWATCHER_SERVER": "http://127.0.0.1:1"})
	const id = "3a3e85c4-96e7-486b-ae02-827120104301"
	for _, tt := range []struct {
		args []string
		text string
	}{
		{[]string{"trak"}, "did you mean track?"},
		{[]string{"destinations", "pase", "x"}, "did you mean pause?"},
		{[]string{"config", "chek"}, "did you mean check?"},
		{[]string{"list", "--nonsense"}, "unknown flag: --nonsense"},
		{[]string{"list", "-o", "xml"}, "must be table or json"},
		{[]string{"list", "--label", "x"}, "key=value"},
		{[]string{"show"}, "exactly one job ID"},
		{[]string{"show", "nonsense"}, "36-character UUID"},
		{[]string{"explain", "nonsense"}, "36-character UUID"},
		{[]string{"track"}, "no job IDs given"},
		{[]string{"track", id, "--label", "-=x"}, "label key"},
		{[]string{"track", id, "--destination", "NOT A NAME"}, "lower-case"},
		{[]string{"track", id, "--deadline", "1ms"}, "between 100ms"},
		{[]string{"track", "--file", "/nowhere"}, "no such file"},
		{[]string{"untrack"}, "no job IDs given"},
		{[]string{"wait", "nonsense"}, "36-character UUID"},
		{[]string{"replay"}, "either delivery IDs or a filter"},
		{[]string{"replay", "dlv_x", "--state", "held"}, "either delivery IDs or a filter"},
		{[]string{"replay", "--since", "soon"}, "RFC 3339"},
		{[]string{"destinations", "test"}, "exactly one destination"},
		{[]string{"list"}, "no answer from the daemon at http://127.0.0.1:1"},
		{[]string{"list", "--server", "nonsense"}, "is not a URL"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			code, out, errs := runCLI(t, "", tt.args...)
			if code != exitFault {
				t.Errorf("exit code = %d, want %d", code, exitFault)
			}
			if out != "" {
				t.Errorf("stdout = %q, want nothing", out)
			}
			if !strings.HasPrefix(errs, "jobwatcher: ") || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, tt.text) {
				t.Errorf("stderr = %q, want one line with %q", errs, tt.text)
			}
		})
	}
}

func TestEscapeSequencesOfOthersDoNotReachTheTerminal(t *testing.T) {
	environment(t, nil)
	code, _, errs := runCLI(t, "", "x\x1b]0;owned\x07y")
	if code != exitFault || strings.ContainsAny(errs, "\x1b\x07") {
		t.Errorf("exit %d, stderr %q", code, errs)
	}
}

func TestVersionSaysWhatThisIs(t *testing.T) {
	environment(t, nil)
	code, out, _ := runCLI(t, "", "version")
	if code != 0 || !strings.Contains(out, "jobwatcher ") || !strings.Contains(out, "revision") || !strings.Contains(out, "go1.") {
		t.Errorf("exit %d, stdout %q", code, out)
	}
}

func TestInterruptedCommandExitsWith130(t *testing.T) {
	environment(t, with(nil))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted{2})
	var out, errs bytes.Buffer
	code := runWith(ctx, []string{"list", "--server", "http://127.0.0.1:1"}, strings.NewReader(""), &out, &errs, hooks{})
	if code != 130 {
		t.Errorf("exit code = %d, want 130; stderr %q", code, errs.String())
	}
}

func subcommands(cmd *cobra.Command) [][]string {
	var paths [][]string
	for _, sub := range cmd.Commands() {
		paths = append(paths, []string{cmd.Name(), sub.Name()})
	}
	return paths
}
