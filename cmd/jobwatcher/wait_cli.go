package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

const (
	// longPoll is the time of one question; the daemon answers 204 after it.
	longPoll = time.Minute
	// waiters bounds the questions that hang at the daemon at the same time.
	waiters = 16
	// patience is how long a daemon that has answered before may be away: a
	// restart must not end a wait of hours.
	patience = time.Minute
)

func (a *app) waitCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "wait ID... | -",
		GroupID: groupClient,
		Short:   "Block until a running daemon has seen all these jobs end",
		Long: `Blocks until all these jobs have ended, then prints a table. The daemon must
know them ("jobwatcher track").

Exit codes: 0 all completed, 1 fault, 2 at least one failed, was cancelled, lost
or abandoned, 3 time over, 130 interrupted.`,
		Example: `  jobwatcher track $ID && jobwatcher wait $ID --timeout 2h && load-result`,
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Minute, "give up after this; 0 waits for ever")
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ids, err := a.ids(args, "")
		if err != nil {
			return err
		}
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			return a.wait(ctx, c, ids, timeout, *out)
		})
	}
	return cmd
}

var errTimeOver = errors.New("time over")

func (a *app) wait(parent context.Context, c *apiclient.Client, ids []job.ID, timeout time.Duration, out output) error {
	ctx, cancel := parent, context.CancelFunc(func() {})
	if timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(parent, timeout, errTimeOver)
	}
	defer cancel()
	views := make([]job.View, len(ids))
	var printing sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(waiters)
	for i, id := range ids {
		group.Go(func() error {
			v, err := waitOne(groupCtx, c, id)
			if err != nil {
				return err
			}
			views[i] = v
			printing.Lock()
			defer printing.Unlock()
			a.notef("%s  %s", id, word(&v))
			return nil
		})
	}
	err := group.Wait()
	over := context.Cause(ctx)
	if err != nil && over == nil {
		return err
	}
	if over != nil {
		// What is still running belongs into the table, too.
		last, done := context.WithTimeout(context.WithoutCancel(parent), 5*time.Second)
		defer done()
		for i, id := range ids {
			if views[i].ID != id {
				if v, err := c.Job(last, id); err == nil {
					v.Timeline = nil
					views[i] = v
				} else {
					views[i] = job.View{ID: id, State: job.Watching}
				}
			}
		}
	}
	if err := a.printJobs(views, out); err != nil {
		return err
	}
	return verdict(views, over)
}

// waitOne asks until the job has ended.
func waitOne(ctx context.Context, c *apiclient.Client, id job.ID) (job.View, error) {
	answered := time.Time{}
	for {
		v, ended, err := c.Wait(ctx, id, longPoll)
		var refused *apiclient.Error
		switch {
		case err == nil && ended:
			return v, nil
		case err == nil:
			answered = time.Now()
			continue
		case ctx.Err() != nil:
			return job.View{}, context.Cause(ctx)
		case errors.As(err, &refused) && refused.Status < 500, time.Since(answered) > patience:
			return job.View{}, fmt.Errorf("%s: %w", id, err)
		}
		pause := time.NewTimer(time.Second)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return job.View{}, context.Cause(ctx)
		}
	}
}

// verdict is the exit code of `wait` and `watch`; over is why it ended early.
func verdict(views []job.View, over error) error {
	running, failed := 0, 0
	for i := range views {
		switch {
		case views[i].Outcome == job.Undecided:
			running++
		case views[i].Outcome != job.OutcomeCompleted:
			failed++
		}
	}
	var signalled interrupted
	switch {
	case errors.As(over, &signalled):
		return &exitError{code: signalled.exitCode()}
	case running > 0 && errors.Is(over, errTimeOver):
		return &exitError{exitTimeout, fmt.Errorf("time over, %d of %d still running", running, len(views))}
	case running > 0 && over != nil:
		return over
	case failed > 0:
		return &exitError{code: exitFailed}
	}
	return nil
}
