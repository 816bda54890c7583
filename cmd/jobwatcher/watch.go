package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// sightEvery is how often the display is brought up to date.
	sightEvery = 200 * time.Millisecond
	// refusedFor and unreachableFor are how long Zuora may refuse our
	// credentials, or give no answer at all, before `watch` gives up, when no
	// look has ever succeeded: the person at the terminal can mend it.
	refusedFor     = 5 * time.Second
	unreachableFor = 20 * time.Second
)

func (a *app) watchCommand() *cobra.Command {
	var timeout time.Duration
	var file string
	cmd := &cobra.Command{
		Use:     "watch ID... | - | --file F",
		GroupID: groupHere,
		Short:   "Watch jobs until all have ended; no daemon needed",
		Long: `Watches these jobs until all have ended, then prints a table. It asks Zuora
itself, with the same care as the daemon, and keeps everything in memory; nothing
is announced. Progress goes to stderr: a line for each job on a terminal, a line
for each change elsewhere.

Exit codes: 0 all completed, 1 usage, configuration or connection fault, 2 at
least one failed, was cancelled, lost or abandoned, 3 time over, 130 interrupted.`,
		Example: `  export ZUORA_CLIENT_ID=… ZUORA_CLIENT_SECRET_FILE=…
  jobwatcher watch 3a3e85c4-96e7-486b-ae02-827120104301
  submit-exports | jobwatcher watch - --timeout 2h -o json | jq .`,
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this; 0 waits for ever")
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with one job ID per line")
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ids, err := a.ids(args, file)
		if err != nil {
			return err
		}
		a.warnUnknown()
		c, err := loadConfig(forWatch)
		if err != nil {
			return err
		}
		return a.watch(cmd.Context(), c, ids, timeout, *out)
	}
	return cmd
}

// watch runs the heart of the daemon over a store in memory.
func (a *app) watch(parent context.Context, c *Config, ids []job.ID, timeout time.Duration, out output) error {
	display := newProgress(a.stderr)
	level := c.Daemon.LogLevel
	if level == "info" {
		level = "warn" // the display tells already what is logged at info
	}
	log, err := newLogger(display, level, c.Daemon.LogFormat, true, a.stderr.Colour)
	if err != nil {
		return err
	}
	log = log.WithOptions(zap.AddStacktrace(zapcore.FatalLevel)) // a person reads it
	kept, err := store.Open(parent, "sqlite::memory:", store.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = kept.Close() }()
	var w *watcher.Watcher // made before anything is asked
	up, err := upstream(c, nil, log, func(told []job.BudgetWindow) { w.Windows(told) })
	if err != nil {
		return err
	}
	defer up.Close()
	options := watcherOptions(c, log)
	options.Upstream, options.Store, options.Ownership, options.Alone = up, kept, kept, true
	options.IDs, options.IDsFile, options.Discover, options.Retention = nil, "", false, 0
	if w, err = watcher.New(options); err != nil {
		return err
	}

	ctx, cancel := parent, context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(parent, timeout, errTimeOver)
	}
	defer cancel()
	running, stop := context.WithCancel(context.WithoutCancel(parent))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()

	one := oneShot{watcher: w, store: kept, tenant: c.Daemon.Tenant, ids: ids, jobs: map[job.ID]job.Job{}}
	over := one.watch(ctx, display)
	stop()
	err = <-ended
	display.clear()
	if fault := one.fault; fault != nil {
		return fault
	}
	if err := a.printJobs(one.views(context.WithoutCancel(parent)), out); err != nil {
		return err
	}
	return errors.Join(err, verdict(one.views(context.WithoutCancel(parent)), over))
}

// oneShot is one run of `watch`.
type oneShot struct {
	watcher *watcher.Watcher
	store   *store.Store
	tenant  string
	ids     []job.ID
	jobs    map[job.ID]job.Job // those that have ended
	fault   error              // why it was given up: nothing to do with the jobs
}

// watch shows progress until every job has ended or ctx has; it returns why ctx did.
func (o *oneShot) watch(ctx context.Context, display *progress) error {
	specs := make([]job.Spec, len(o.ids))
	for i, id := range o.ids {
		specs[i] = job.Spec{ID: id}
	}
	if _, err := o.watcher.Track(ctx, specs, job.SourceEnv); err != nil {
		if ctx.Err() == nil {
			o.fault = err
		}
		return context.Cause(ctx)
	}
	tick := time.NewTicker(sightEvery)
	defer tick.Stop()
	for {
		sights, err := o.sights(ctx)
		if err != nil && ctx.Err() == nil {
			o.fault = err
			return nil
		}
		display.show(sights, time.Now())
		if len(o.jobs) == len(o.ids) {
			return nil
		}
		if o.fault = o.hopeless(time.Now()); o.fault != nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hopeless says why no look will ever succeed, as far as one can tell.
func (o *oneShot) hopeless(now time.Time) error {
	health := o.watcher.Health()
	if health.Reachable || health.Since.IsZero() {
		return nil
	}
	for _, id := range o.ids {
		if w, watched := o.watcher.Live(id); !watched || w.Status != job.Unseen {
			return nil // it worked before, so it may work again
		}
	}
	down := now.Sub(health.Since.Time())
	switch {
	case health.Reason == job.ReasonAuth && down > refusedFor:
		return errors.New("Zuora refuses the credentials (ZUORA_CLIENT_ID and ZUORA_CLIENT_SECRET, or ZUORA_BEARER_TOKEN)") //nolint:staticcheck // Zuora is a name
	case health.Reason != job.ReasonAuth && down > unreachableFor:
		return fmt.Errorf("no usable answer from Zuora at ZUORA_BASE_URL for %s: %s", ago(down), health.Reason)
	}
	return nil
}

// sights looks at every job once: those watched in memory, the ended ones in
// the store, which is read once for each.
func (o *oneShot) sights(ctx context.Context) ([]sight, error) {
	all := make([]sight, 0, len(o.ids))
	for _, id := range o.ids {
		if w, watched := o.watcher.Live(id); watched {
			all = append(all, liveSight(&w))
			continue
		}
		j, known := o.jobs[id]
		if !known {
			var err error
			if j, err = o.store.Job(ctx, o.tenant, id); err != nil {
				return nil, err
			}
			if j.State == job.Finished {
				o.jobs[id] = j
			}
		}
		all = append(all, storedSight(&j))
	}
	return all, nil
}

func liveSight(w *job.Watch) sight {
	s := sight{id: w.ID, word: string(w.Status), started: w.TrackedAt, next: w.NextPollAt}
	switch {
	case w.Failures > 0 && int(w.Reason) <= len(job.PollReasons()) && w.Reason > 0:
		s.note = "looks fail: " + string(job.PollReasons()[w.Reason-1])
	case w.Overdue:
		s.note = "overdue"
	case w.Late:
		s.note = "will likely be overdue"
	case !w.ETA.IsZero():
		s.note = "ends about " + clock(w.ETA)
	}
	return s
}

func storedSight(j *job.Job) sight {
	v := j.View()
	s := sight{id: j.ID, word: word(&v), started: j.TrackedAt, ended: j.FinishedAt, next: j.NextPollAt, rows: j.OutputRows, took: j.ProcessingTime, note: j.Error}
	if j.State == job.Finished && s.ended.IsZero() {
		s.ended = j.DetectedAt
	}
	return s
}

// views are the jobs as they stand, for the table at the end.
func (o *oneShot) views(ctx context.Context) []job.View {
	all := make([]job.View, 0, len(o.ids))
	for _, id := range o.ids {
		j, known := o.jobs[id]
		if !known {
			var err error
			if j, err = o.store.Job(ctx, o.tenant, id); err != nil {
				j = job.Job{Tenant: o.tenant, ID: id, State: job.Watching}
			}
			if w, watched := o.watcher.Live(id); watched {
				j.Status, j.NextPollAt, j.Polls, j.Overdue = w.Status, w.NextPollAt, int64(w.Polls), w.Overdue
			}
		}
		all = append(all, j.View())
	}
	return all
}

// watcherOptions copies what the configuration says about watching.
func watcherOptions(c *Config, log *zap.Logger) watcher.Options {
	d := &c.Daemon
	spending, _ := parseBudget(c.Upstream.Budget) // checked with the rest
	return watcher.Options{
		Tenant: d.Tenant,
		Log:    log,
		Policy: watcher.Policy{
			InitialInterval: d.PollInitialInterval,
			MaxInterval:     d.PollMaxInterval,
			Multiplier:      d.PollMultiplier,
			Randomization:   d.PollRandomization,
			Deadline:        d.Deadline,
			AbandonAfter:    d.AbandonAfter,
			LostAfter:       d.LostAfter,
			WarnEarly:       d.WarnOverdue,
		},
		Mode:          watcher.Mode(d.PollMode),
		Budget:        spending,
		MaxInFlight:   c.Upstream.MaxInFlight,
		IDs:           c.jobIDs(),
		IDsFile:       d.JobIdsFile,
		Discover:      d.Discover,
		DiscoverSince: d.DiscoverSince,
		DiscoverOnly:  watcher.DiscoverFilter{CreatedBy: d.DiscoverCreatedBy, Sources: d.DiscoverSource, Query: d.DiscoverQuery},
		Retention:     d.Retention,
		Grace:         d.ShutdownGrace / 2,
	}
}
