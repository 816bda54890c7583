package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := withSignals(context.Background(), os.Exit)
	code := runWith(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, hooks{})
	stop()
	os.Exit(code)
}

// The exit codes of contract section 2.
const (
	exitFault   = 1 // usage, configuration or connection
	exitFailed  = 2 // at least one job did not complete
	exitTimeout = 3 // time over, jobs still running
)

// exitError ends the program with a code of its own; err may be nil when
// everything has been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// runWith picks the command, runs it, and turns its error into one line (one
// for each fault) and an exit code.
func runWith(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, h hooks) int {
	a := &app{
		hooks:  h,
		stdin:  stdin,
		stdout: console.Detect(stdout, os.Getenv),
		stderr: console.Detect(stderr, os.Getenv),
	}
	root := a.rootCommand() //nolint:contextcheck // cobra hands the context to each command
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitFault
	var exit *exitError
	var signalled interrupted
	switch {
	case errors.As(err, &exit):
		if code = exit.code; exit.err == nil {
			return code
		}
	case errors.As(err, &signalled):
		return signalled.exitCode()
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line != "" {
			fmt.Fprintln(stderr, a.stderr.Paint(console.Red, "jobwatcher:"), console.Clean(line))
		}
	}
	return code
}

// app is what every command shares: the three streams, and what demo and tests
// hook into the daemon.
type app struct {
	hooks          hooks
	stdin          io.Reader
	stdout, stderr console.Terminal
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "jobwatcher",
		Short: "Watches Zuora Data Query jobs and announces how they end",
		Long: `jobwatcher watches Zuora Data Query jobs: it asks Zuora how they are doing, as
seldom as it can and as promptly as it must, counts what it sees for Prometheus,
and announces each end once to Slack and to webhooks.

Without a command it runs the daemon. Everything is configured by environment
variables; "jobwatcher config" lists them.`,
		Example: `  jobwatcher demo                     # see it work, with nothing but this binary
  jobwatcher watch 3a3e85c4-96e7-486b-ae02-827120104301
  jobwatcher track 3a3e85c4-96e7-486b-ae02-827120104301 --label team=finance`,
		Args:              noSuchCommand,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.runDaemon(cmd.Context()) },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: groupHere, Title: "Without a daemon:"},
		&cobra.Group{ID: groupDaemon, Title: "The daemon:"},
		&cobra.Group{ID: groupClient, Title: "Talking to a running daemon:"},
	)
	root.AddCommand(
		a.watchCommand(), a.demoCommand(), a.simulateCommand(), a.verifyCommand(), a.storeCommand(),
		a.runCommand(), a.configCommand(), a.healthcheckCommand(), a.versionCommand(),
		a.trackCommand(), a.untrackCommand(), a.listCommand(), a.showCommand(), a.explainCommand(),
		a.waitCommand(), a.deliveriesCommand(), a.replayCommand(), a.destinationsCommand(), a.budgetCommand(),
	)
	a.complete(root)
	return root
}

// The groups of commands in the help.
const (
	groupHere   = "here"
	groupDaemon = "daemon"
	groupClient = "client"
)

// noSuchCommand refuses words that are no command, in one line, with the
// nearest one that is.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q for %q", console.Cut(args[0], 80), cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		text += "; did you mean " + strings.Join(like, " or ") + "?"
	}
	return fmt.Errorf("%s (see %s --help)", text, cmd.CommandPath())
}
