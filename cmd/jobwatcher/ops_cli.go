package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/spf13/cobra"
)

func (a *app) deliveriesCommand() *cobra.Command {
	var state, destination, about string
	var limit int
	cmd := &cobra.Command{
		Use:     "deliveries [DELIVERY_ID]",
		GroupID: groupClient,
		Short:   "The ledger: who was told what, when, and what they said",
		Long:    "Lists deliveries, newest first; with an ID, that delivery with all its attempts.",
		Example: `  jobwatcher deliveries --state exhausted
  jobwatcher deliveries --job 3a3e85c4-96e7-486b-ae02-827120104301`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&state, "state", "", "pending, sending, delivered, held, exhausted")
	cmd.Flags().StringVarP(&destination, "destination", "d", "", "name of a destination")
	cmd.Flags().StringVar(&about, "job", "", "job ID")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many deliveries; 0 for all")
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		filter := url.Values{}
		for key, value := range map[string]string{"state": state, "destination": destination, "job": about} {
			if value != "" {
				filter.Set(key, value)
			}
		}
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			if len(args) == 1 {
				return a.showDelivery(ctx, c, args[0], *out)
			}
			rows, more, err := pages(limit, func(n int, cursor string) ([]job.DeliveryView, string, error) {
				return c.Deliveries(ctx, filter, n, cursor)
			})
			if err != nil {
				return err
			}
			if more {
				a.notef("there are more: --limit 0 shows all")
			}
			return a.printDeliveries(rows, *out)
		})
	}
	return cmd
}

func (a *app) printDeliveries(rows []job.DeliveryView, out output) error {
	if out == outputJSON {
		return a.printJSON(rows)
	}
	now := time.Now()
	t := console.NewTable("DELIVERY", "JOB", "EVENT", "DESTINATION", "STATE", "CREATED", "TRIES", "NEXT", "LAST ANSWER")
	for i := range rows {
		d := &rows[i]
		last := ""
		if n := len(d.Attempts); n > 0 {
			last = attemptText(&d.Attempts[n-1])
		}
		t.Row(d.ID, d.JobID, d.EventType.Short(), d.Destination, string(d.State), clock(d.CreatedAt), strconv.Itoa(len(d.Attempts)), nextLook(d.NextAttemptAt, now), last)
	}
	return t.Write(a.stdout)
}

func (a *app) showDelivery(ctx context.Context, c *apiclient.Client, id string, out output) error {
	d, err := c.Delivery(ctx, id)
	if err != nil {
		return err
	}
	if out == outputJSON {
		return a.printJSON(d)
	}
	a.fields("delivery", d.ID, "event", d.EventID, "type", string(d.EventType), "job", d.JobID, "destination", d.Destination,
		"state", string(d.State), "created", clock(d.CreatedAt), "next try", clock(d.NextAttemptAt))
	if len(d.Attempts) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	t := console.NewTable("AT", "TOOK", "SIGNED BY", "NEXT TRY", "ANSWER")
	for i := range d.Attempts {
		at := &d.Attempts[i]
		t.Row(clock(at.At), secondsText(&at.TookSeconds), at.Key, clock(at.NextAt), attemptText(at))
	}
	return t.Write(a.stdout)
}

func attemptText(at *job.AttemptView) string {
	return (&job.Attempt{Code: at.Code, Reason: at.Reason, Answer: at.Answer}).Text()
}

func (a *app) replayCommand() *cobra.Command {
	var filter apiclient.ReplayFilter
	var since string
	cmd := &cobra.Command{
		Use:     "replay DELIVERY_ID... | --state S | --since 24h [--destination D]",
		GroupID: groupClient,
		Short:   "Send deliveries again, with the same webhook-id",
		Long: `Sends deliveries again, delivered ones too, under the same ids: receivers that
remember webhook-id see nothing twice. With --since alone, everything from then
on. However many: they are taken at once and go out at no more than a hundred a
second for each destination, the oldest first.`,
		Example: `  jobwatcher replay dlv_5y2k…
  jobwatcher replay --state exhausted --since 24h --destination loader
  jobwatcher replay --since 2026-03-14T09:00:00Z`,
	}
	cmd.Flags().StringVar(&filter.State, "state", "", "pending, delivered, held, exhausted")
	cmd.Flags().StringVarP(&filter.Destination, "destination", "d", "", "name of a destination")
	cmd.Flags().StringVar(&since, "since", "", "created at or after: a span such as 24h, or an RFC 3339 time")
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		filtered := filter.State != "" || filter.Destination != "" || since != ""
		if filtered == (len(args) > 0) {
			return fmt.Errorf("give either delivery IDs or a filter (see %s --help)", cmd.CommandPath())
		}
		var err error
		if filter.Since, err = sinceFlag(since, time.Now()); err != nil {
			return err
		}
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			return a.replay(ctx, c, args, filter, *out)
		})
	}
	return cmd
}

func (a *app) replay(ctx context.Context, c *apiclient.Client, ids []string, filter apiclient.ReplayFilter, out output) error {
	n := len(ids)
	for _, id := range ids {
		if err := c.Replay(ctx, id); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	if n == 0 {
		var err error
		if n, err = c.ReplayWhere(ctx, filter); err != nil {
			return err
		}
	}
	if out == outputJSON {
		return a.printJSON(map[string]int{"replayed": n})
	}
	fmt.Fprintf(a.stdout, "%d to be sent again\n", n)
	return nil
}

func sinceFlag(text string, now time.Time) (job.Instant, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return job.At(now.Add(-d)), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return job.At(t), nil
	}
	return 0, fmt.Errorf("--since %q is not a span such as 24h, nor an RFC 3339 time", job.Cut(text, 80))
}

func (a *app) destinationsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "destinations",
		GroupID: groupClient,
		Short:   "Where events go, and how that is doing",
		Args:    noSuchCommand,
	}
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			rows, err := c.Destinations(ctx)
			if err != nil {
				return err
			}
			if *out == outputJSON {
				return a.printJSON(rows)
			}
			return a.printDestinations(rows)
		})
	}
	cmd.AddCommand(
		a.destinationVerb("test", "Send a test event now and show the answer", func(ctx context.Context, c *apiclient.Client, name string) error {
			at, err := c.Test(ctx, name)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s  %s  %s\n", name, secondsText(&at.TookSeconds), console.Clean(attemptText(&at)))
			if at.Reason != job.NoReason {
				return &exitError{exitFault, fmt.Errorf("the destination did not take the test event: %s", at.Reason)}
			}
			return nil
		}),
		a.destinationVerb("pause", "Hold a destination's deliveries until it is resumed", func(ctx context.Context, c *apiclient.Client, name string) error {
			if err := c.Pause(ctx, name); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s  paused\n", name)
			return nil
		}),
		a.destinationVerb("resume", "Send what was held", func(ctx context.Context, c *apiclient.Client, name string) error {
			if err := c.Resume(ctx, name); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s  resumed\n", name)
			return nil
		}),
	)
	return cmd
}

func (a *app) destinationVerb(verb, short string, do func(context.Context, *apiclient.Client, string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s takes exactly one destination (see %s --help)", cmd.Name(), cmd.CommandPath())
			}
			return job.ValidateName("destination", args[0])
		},
	}
	server := serverFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			return do(ctx, c, args[0])
		})
	}
	return cmd
}

func (a *app) printDestinations(rows []job.DestinationView) error {
	t := console.NewTable("NAME", "KIND", "STATE", "DELIVERED", "PENDING", "HELD", "EXHAUSTED", "FAILURES", "ON")
	for i := range rows {
		d := &rows[i]
		state := "ready"
		switch {
		case d.Removed:
			state = "not configured any more"
		case d.Paused && d.PausedBy != "":
			state = "paused (" + d.PausedBy + ")"
		case d.Paused:
			state = "paused"
		case d.NotBefore > job.At(time.Now()):
			state = "waits until " + clock(d.NotBefore)
		}
		count := func(states ...job.DeliveryState) string {
			var n int64
			for _, s := range states {
				n += d.Deliveries[s]
			}
			return strconv.FormatInt(n, 10)
		}
		t.Row(d.Name, d.Kind, state, count(job.DeliveryDelivered), count(job.DeliveryPending, job.DeliverySending), count(job.DeliveryHeld), count(job.DeliveryExhausted), strconv.Itoa(d.Failures), strings.Join(d.On, ","))
	}
	return t.Write(a.stdout)
}
