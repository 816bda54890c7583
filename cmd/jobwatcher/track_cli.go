package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/spf13/cobra"
)

func (a *app) trackCommand() *cobra.Command {
	var labels, destinations []string
	var deadline time.Duration
	var group, file string
	cmd := &cobra.Command{
		Use:     "track ID... | - | --file F",
		GroupID: groupClient,
		Short:   "Ask a running daemon to watch jobs",
		Long: `Asks a running daemon to watch jobs. A job is tracked once, however often it is
asked for; when the command returns, the daemon has it on disk.

IDs are arguments, lines of stdin ("-") or lines of a file; # begins a comment.
Long lists are streamed. The labels and the rest apply to every job given.`,
		Example: `  jobwatcher track 3a3e85c4-96e7-486b-ae02-827120104301 --label team=finance --deadline 2h
  psql -Atc 'select job_id from exports' | jobwatcher track - --destination loader`,
	}
	cmd.Flags().StringArrayVarP(&labels, "label", "l", nil, "label as key=value; may be repeated")
	cmd.Flags().StringArrayVarP(&destinations, "destination", "d", nil, "tell only this destination; may be repeated")
	cmd.Flags().DurationVar(&deadline, "deadline", 0, "the job is overdue after this (default: the daemon's JOBWATCHER_DEADLINE)")
	cmd.Flags().StringVar(&group, "group", "", "joins jobs into a set, announced together to destinations with on: [group_finished]")
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with one job ID per line")
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pairs, err := labelFlags(labels)
		if err != nil {
			return err
		}
		spec := job.Spec{Labels: pairs, Destinations: destinations, Deadline: deadline, Group: group}
		if err := spec.Validate(); err != nil {
			return err
		}
		if len(args) == 0 && file == "" {
			return fmt.Errorf("no job IDs given (see %s --help)", cmd.CommandPath())
		}
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			return a.track(ctx, c, spec, args, file, *out)
		})
	}
	return cmd
}

// track sends one job by itself, so that a fault is an error of the command,
// and any other number as a stream.
func (a *app) track(ctx context.Context, c *apiclient.Client, spec job.Spec, args []string, file string, out output) error {
	item := apiclient.Item{Labels: spec.Labels, Destinations: spec.Destinations, Group: spec.Group}
	if spec.Deadline > 0 {
		item.Deadline = spec.Deadline.String()
	}
	tally := trackTally{app: a, json: out == outputJSON}
	if len(args) == 1 && args[0] != "-" && file == "" {
		id, err := job.ParseID(args[0])
		if err != nil {
			return err
		}
		isNew, err := c.Track(ctx, id, item)
		if err != nil {
			return err
		}
		result := apiclient.Result{ID: id.String(), Result: "already_tracked"}
		if isNew {
			result.Result = "tracked"
		}
		_ = tally.take(result)
		return tally.close()
	}
	if file != "" {
		if err := readable(file); err != nil {
			return err
		}
	}
	words, failed := a.words(args, file)
	if err := c.TrackAll(ctx, items(words, item), tally.take); err != nil {
		return err
	}
	if err := failed(); err != nil {
		return err
	}
	return tally.close()
}

func items(words iter.Seq[string], like apiclient.Item) iter.Seq[apiclient.Item] {
	return func(yield func(apiclient.Item) bool) {
		for word := range words {
			like.ID = word
			if !yield(like) {
				return
			}
		}
	}
}

// trackTally prints results as they come in and counts them.
type trackTally struct {
	app     *app
	json    bool
	results []apiclient.Result // kept for JSON only
	counts  map[string]int
}

func (t *trackTally) take(r apiclient.Result) error {
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[r.Result]++
	if t.json {
		t.results = append(t.results, r)
		return nil
	}
	text := t.app.stdout.Paint(console.WordColour(r.Result), r.Result)
	if r.Error != "" {
		text += "  " + console.Clean(r.Error)
	}
	_, err := fmt.Fprintf(t.app.stdout, "%s  %s\n", console.Clean(r.ID), text)
	return err
}

func (t *trackTally) close() error {
	if t.json {
		if t.results == nil {
			t.results = []apiclient.Result{}
		}
		if err := t.app.printJSON(t.results); err != nil {
			return err
		}
	}
	total := 0
	for _, n := range t.counts {
		total += n
	}
	if total > 1 {
		t.app.notef("%d tracked, %d already tracked, %d invalid", t.counts["tracked"], t.counts["already_tracked"], t.counts["invalid"])
	}
	if t.counts["invalid"] > 0 {
		return &exitError{code: exitFault}
	}
	return nil
}

func (a *app) untrackCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "untrack ID...",
		GroupID: groupClient,
		Short:   "Stop watching jobs; nothing is announced",
		Long:    "Asks a running daemon to forget jobs that it watches. Nothing is announced about them.",
	}
	server := serverFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ids, err := a.ids(args, "")
		if err != nil {
			return err
		}
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			for _, id := range ids {
				if err := c.Untrack(ctx, id); err != nil {
					return fmt.Errorf("%s: %w", id, err)
				}
				fmt.Fprintf(a.stdout, "%s  untracked\n", id)
			}
			return nil
		})
	}
	return cmd
}
