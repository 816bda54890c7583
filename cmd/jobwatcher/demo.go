package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// demoFlags are the flags of `demo`.
type demoFlags struct {
	jobs    int
	seed    uint64
	keep    bool
	verbose bool
}

const (
	demoLimit = 90 * time.Second       // after this something is wrong
	demoEvery = 150 * time.Millisecond // how often the story looks at the daemon
	demoPause = 600 * time.Millisecond // between two submits
)

func (a *app) demoCommand() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:     "demo",
		GroupID: groupHere,
		Short:   "Simulator, receivers and daemon in one process: the first thing to run",
		Long: `Runs a simulated Zuora tenant, two receivers (one verifies Standard Webhooks
signatures, one answers as Slack does) and the real daemon in one process, submits
a few jobs, and tells what happens as it happens. It needs nothing but this
binary, and leaves nothing behind.

On a terminal it stays until Ctrl-C, so that API and metrics can be looked at.
The exit code is not 0 when something was not announced.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().IntVar(&f.jobs, "jobs", 8, "how many jobs")
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "decides everything that is drawn")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "stay until Ctrl-C at the end (default: on a terminal)")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "show the daemon's log as well")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.jobs < 1 || f.jobs > 1000 {
			return fmt.Errorf("--jobs: %d is not between 1 and 1000", f.jobs)
		}
		if !cmd.Flags().Changed("keep") {
			f.keep = a.stdout.TTY
		}
		return a.demo(cmd.Context(), f)
	}
	return cmd
}

// demo builds the stage, plays the story and takes everything down again.
func (a *app) demo(ctx context.Context, f demoFlags) (err error) {
	dir, err := os.MkdirTemp("", "jobwatcher-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := a.newStory(ctx, dir, f)
	if err != nil {
		return err
	}
	stage, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	ends := make(chan error, 2)
	go func() { ends <- s.around.Run(stage) }()
	daemon, stopDaemon := context.WithCancelCause(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- serve(daemon, &s.config, s.log, hooks{listening: s.listening}) }()

	played := make(chan error, 1)
	acting, stopActing := context.WithCancelCause(ctx)
	go func() { played <- s.play(acting) }()
	select {
	case err = <-played:
	case err = <-served:
		stopActing(fmt.Errorf("the daemon ended: %w", errors.Join(err, errEnded)))
		err = <-played
		served <- nil
	}
	stopActing(nil)
	stopDaemon(errDraining)
	err = errors.Join(err, <-served)
	stop(errDraining)
	return errors.Join(err, <-ends)
}

// story is the demo as it is told.
type story struct {
	app    *app
	flags  demoFlags
	began  time.Time
	tenant *zuorasim.Tenant
	ears   *receivers
	around *lifecycle // simulator and receivers
	config Config
	log    *zap.Logger
	ready  chan string       // the API's address
	lines  chan announcement // what the receivers got, in order
	seen   map[job.ID]string // the last status told
}

func (a *app) newStory(ctx context.Context, dir string, f demoFlags) (*story, error) {
	level := "error"
	if f.verbose {
		level = "info"
	}
	log, err := newLogger(a.stderr, level, "console", a.stderr.TTY, a.stderr.Colour)
	if err != nil {
		return nil, err
	}
	s := &story{
		app: a, flags: f, began: time.Now(), log: log, ready: make(chan string, 1),
		lines: make(chan announcement, 100*f.jobs), seen: map[job.ID]string{},
		around: &lifecycle{log: zap.NewNop(), grace: cleanupLimit},
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	signing := "whsec_" + base64.StdEncoding.EncodeToString(key)
	if s.ears, err = newReceivers(signing, func(got announcement) { s.lines <- got }); err != nil {
		return nil, err
	}
	tenant, url, err := simulator(ctx, s.around, zuorasim.Options{
		Seed: f.seed, Control: true, AcceptAfter: 600 * time.Millisecond, StartAfter: 600 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	s.tenant = tenant
	ears, err := listen(ctx, s.around, "receivers", "127.0.0.1:0", "", s.ears, zap.NewNop())
	if err != nil {
		return nil, errors.Join(err, s.around.unwind(ctx, time.Now()))
	}
	s.config = demoConfig(url, "http://"+ears, signing, filepath.Join(dir, "demo.db"))
	if err := s.config.validate(forDaemon).orNil(); err != nil {
		return nil, errors.Join(err, s.around.unwind(ctx, time.Now()))
	}
	s.tellf("simulator", console.Dim, "a Zuora tenant at %s", url)
	return s, nil
}

// demoConfig is what a user would set by environment variables, with backoff
// that suits a story of seconds.
func demoConfig(zuora, ears, signing, file string) Config {
	c := defaultConfig()
	c.Upstream.BaseUrl = zuora
	c.Upstream.ClientId = zuorasim.DefaultClientID
	c.Upstream.ClientSecret = secret.New(zuorasim.DefaultClientSecret)
	d := &c.Daemon
	d.Store = storeURL{"sqlite:" + file}
	d.Listen = "127.0.0.1:0"
	d.PollInitialInterval = 500 * time.Millisecond
	d.PollMaxInterval = 2 * time.Second
	d.WebhookUrl = secret.New(ears + "/webhook")
	d.WebhookSecret = secret.New(signing)
	d.SlackUrl = secret.New(ears + "/slack")
	d.AllowPrivateDestinations = true
	d.ShutdownGrace = 5 * time.Second
	return c
}

func (s *story) listening(api, _ string) { s.ready <- api }

// tellf prints one line of the story.
func (s *story) tellf(what, colour, format string, args ...any) {
	at := fmt.Sprintf("%5.1fs", time.Since(s.began).Seconds())
	out := s.app.stdout
	fmt.Fprintf(out, "%s  %s  %s\n", out.Paint(console.Dim, at), out.Paint(colour, fmt.Sprintf("%-10s", what)), console.Clean(fmt.Sprintf(format, args...)))
}

// play is the story from the first submit to the summary.
func (s *story) play(ctx context.Context) error {
	var address string
	select {
	case address = <-s.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	url := "http://" + address
	s.tellf("daemon", console.Dim, "API and metrics at %s", url)
	client, err := apiclient.New(url, secret.Source{})
	if err != nil {
		return err
	}
	defer client.Close()
	limited, cancel := context.WithTimeoutCause(ctx, demoLimit+time.Duration(s.flags.jobs)*demoPause, errTimeOver)
	defer cancel()
	roles, err := s.perform(limited, client)
	missing := s.summary(ctx, client, roles)
	switch {
	case err != nil && !errors.Is(err, errTimeOver):
		return err
	case missing > 0:
		return &exitError{exitFault, fmt.Errorf("%d of %d jobs were not announced to every destination", missing, len(roles))}
	}
	if !s.flags.keep {
		s.app.notef("\njobwatcher demo --keep stays, so that API and metrics can be looked at.")
		return nil
	}
	fmt.Fprintf(s.app.stdout, "\nLook around while the daemon runs:\n\n  curl -s %[1]s/metrics | grep jobwatcher_\n  curl -s %[1]s/v1/jobs\n  jobwatcher list --server %[1]s\n  jobwatcher show %[2]s --server %[1]s\n  jobwatcher deliveries --server %[1]s\n", url, roles[0].id)
	fmt.Fprintln(s.app.stdout, "\nCtrl-C ends it.")
	<-ctx.Done()
	if _, signalled := errors.AsType[interrupted](context.Cause(ctx)); signalled {
		return nil
	}
	return context.Cause(ctx)
}
