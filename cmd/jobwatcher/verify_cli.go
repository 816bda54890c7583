package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/verify"
	"github.com/spf13/cobra"
)

// verifyFlags are the flags of `verify`.
type verifyFlags struct {
	seed  uint64
	quick bool
	soak  time.Duration
	jobs  int
	store string
	plan  bool
}

// How long faults go on. Quick has to be over within a minute, settling
// included; two minutes see every kind of fault several times.
const (
	verifyQuick   = 24 * time.Second
	verifyLength  = 2 * time.Minute
	verifyPatient = 30 * time.Second
	// Of several replicas the one that was killed is believed alive for its
	// lease of 30 s.
	verifyLease = 90 * time.Second
	// verifyEvery is the time between two jobs, where --jobs does not say.
	verifyEvery = 250 * time.Millisecond
)

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:     "verify",
		GroupID: groupHere,
		Short:   "Breaks the daemon on purpose and checks that nothing was lost",
		Long: `Runs this very binary as a daemon between a simulated Zuora tenant and scripted
receivers, and puts faults in its way, drawn from a seed: a tenant that throttles,
fails, answers nonsense or not at all, revokes tokens and jumps in time; receivers
that hang, lie, refuse and recover; kills at random and at every commit point,
freezes, stops, and a full disk where one can be mounted. Then all faults end, and
it checks from outside what the daemon promises: no job forgotten, no announcement
missing or wrong, repeats only where a crash explains them and always with the same
webhook-id, no job asked for twice at a time, no secret shown anywhere.

Equal seeds make equal plans. The exit code is 0 when everything held, 2 when
something did not, 1 when it could not be tried.`,
		Example: `  jobwatcher verify --quick
  jobwatcher verify --soak 1h --seed 7 -o json > report.json`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.Uint64Var(&f.seed, "seed", 1, "decides the plan")
	flags.BoolVar(&f.quick, "quick", false, "in under a minute")
	flags.DurationVar(&f.soak, "soak", 0, "how long faults go on (default 2m)")
	flags.IntVar(&f.jobs, "jobs", 0, "how many jobs (default four a second)")
	flags.StringVar(&f.store, "store", "", "postgres:// URL of an empty database (default: SQLite)")
	flags.BoolVar(&f.plan, "plan", false, "print the plan and do nothing")
	cmd.MarkFlagsMutuallyExclusive("quick", "soak")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.verify(cmd.Context(), f, *out) }
	cmd.AddCommand(a.verifiedDaemon())
	return cmd
}

func (f *verifyFlags) options() (verify.Options, error) {
	o := verify.Options{Seed: f.seed, Length: verifyLength, Jobs: f.jobs, Patience: verifyPatient, Store: f.store, Command: thisBinary}
	if f.store != "" {
		o.Patience += verifyLease
	}
	switch {
	case f.quick:
		o.Length = verifyQuick
	case f.soak != 0:
		o.Length = f.soak
	}
	if o.Length < time.Second || o.Length > 30*24*time.Hour {
		return o, fmt.Errorf("--soak: %s is not between 1s and 720h", o.Length)
	}
	if o.Jobs == 0 {
		o.Jobs = int(o.Length / verifyEvery)
	}
	if o.Jobs < 1 || o.Jobs > 1_000_000 {
		return o, fmt.Errorf("--jobs: %d is not between 1 and 1000000", o.Jobs)
	}
	return o, nil
}

func (a *app) verify(ctx context.Context, f verifyFlags, out output) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	if f.plan {
		p := verify.MakePlan(o.Seed, o.Length, o.Jobs, verify.Abilities{FullDisk: f.store == "", CutStore: f.store != ""})
		if out == outputJSON {
			return a.printJSON(p)
		}
		_, err := fmt.Fprint(a.stdout, p.String())
		return err
	}
	if a.stderr.TTY {
		o.Tell = func(text string) { fmt.Fprintln(a.stderr, a.stderr.Paint(console.Dim, console.Clean(text))) }
	}
	r, err := verify.Run(ctx, o)
	if err != nil {
		return err
	}
	if out == outputJSON {
		err = r.WriteJSON(a.stdout)
	} else {
		r.WriteText(a.stdout)
	}
	if err == nil && !r.Passed {
		err = &exitError{exitFailed, fmt.Errorf("%d breaches; --seed %d makes the same plan", len(r.Breaches), r.Seed)}
	}
	return err
}

// thisBinary is the daemon as it is installed, with a crash built in on demand.
func thisBinary(crash string) *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		path = os.Args[0]
	}
	if crash == "" {
		return exec.Command(path, "run") //nolint:noctx,gosec // verify ends it itself, gently first; it is ourselves
	}
	return exec.Command(path, "verify", "daemon", "--crash", crash) //nolint:noctx,gosec // as above
}

// verifiedDaemon is `run` with a crash at a commit point.
func (a *app) verifiedDaemon() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:    "daemon",
		Short:  "The daemon, killing itself at a commit point",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := verify.ParseCrash(at)
			if err != nil {
				return errors.Join(errors.New("--crash"), err)
			}
			a.hooks.watcher = both(a.hooks.watcher, c.Watcher)
			a.hooks.notify = both(a.hooks.notify, c.Dispatcher)
			return a.runDaemon(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&at, "crash", "", "operation:before|after:n")
	return cmd
}

// both does one after the other; the first may be nil.
func both[T any](first, then func(T)) func(T) {
	return func(t T) {
		if first != nil {
			first(t)
		}
		then(t)
	}
}
