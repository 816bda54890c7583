package main

import (
	"context"
	"encoding/json"
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

// apiPage is how many rows are asked for at a time.
const apiPage = 500

func (a *app) listCommand() *cobra.Command {
	var states, statuses, outcomes, labels []string
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		GroupID: groupClient,
		Short:   "List jobs, newest first",
		Args:    cobra.NoArgs,
		Example: `  jobwatcher list --state watching
  jobwatcher list --outcome failed --label team=finance -o json`,
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "watching, finished")
	cmd.Flags().StringSliceVar(&statuses, "status", nil, "what Zuora last said: submitted, accepted, in_progress, completed, failed, cancelled")
	cmd.Flags().StringSliceVar(&outcomes, "outcome", nil, "completed, failed, cancelled, lost, abandoned")
	cmd.Flags().StringArrayVarP(&labels, "label", "l", nil, "label as key=value; may be repeated")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many jobs; 0 for all")
	watch := cmd.Flags().BoolP("watch", "w", false, "go on with a line for each change of any job, until interrupted")
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := labelFlags(labels); err != nil {
			return err
		}
		filter := url.Values{}
		for key, values := range map[string][]string{"state": states, "status": statuses, "outcome": outcomes} {
			if len(values) > 0 {
				filter.Set(key, strings.Join(values, ","))
			}
		}
		if len(labels) > 0 {
			filter["label"] = labels
		}
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			jobs, more, err := pages(limit, func(n int, cursor string) ([]job.View, string, error) {
				return c.Jobs(ctx, filter, n, cursor)
			})
			if err != nil {
				return err
			}
			if more {
				a.notef("there are more: --limit 0 shows all")
			}
			if err := a.printJobs(jobs, *out); err != nil || !*watch {
				return err
			}
			return c.Events(ctx, func(e apiclient.Event) error { return a.printEvent(e, *out) })
		})
	}
	return cmd
}

// printEvent is a line about one change.
func (a *app) printEvent(e apiclient.Event, out output) error {
	if out == outputJSON {
		return json.NewEncoder(a.stdout).Encode(e)
	}
	if e.Kind == apiclient.Reset {
		a.notef("some changes were missed: list again")
		return nil
	}
	words := []string{clock(e.At), e.ID.String(), e.Kind}
	if v := e.Job; v != nil {
		words = append(words, console.Clean(string(v.Status)))
		if v.Outcome != job.Undecided && string(v.Outcome) != string(v.Status) {
			words = append(words, string(v.Outcome))
		}
		if v.Error != "" {
			words = append(words, console.Clean(v.Error))
		}
	}
	_, err := fmt.Fprintln(a.stdout, strings.Join(words, "  "))
	return err
}

// pages reads pages until limit rows are there (0: all); more says that some
// were left.
func pages[T any](limit int, page func(n int, cursor string) ([]T, string, error)) (all []T, more bool, err error) {
	all = []T{}
	for cursor := ""; ; {
		n := apiPage
		if limit > 0 {
			n = min(n, limit-len(all))
		}
		rows, next, err := page(n, cursor)
		if err != nil {
			return nil, false, err
		}
		all = append(all, rows...)
		if next == "" || limit > 0 && len(all) >= limit {
			return all, next != "", nil
		}
		cursor = next
	}
}

// printJobs is the table of jobs; `list`, `wait` and `watch` end with it.
func (a *app) printJobs(jobs []job.View, out output) error {
	if out == outputJSON {
		return a.printJSON(jobs)
	}
	now := time.Now()
	t := console.NewTable("ID", "STATUS", "ELAPSED", "ROWS", "ZUORA'S TIME", "NEXT LOOK", "POLLS", "NOTES")
	for i := range jobs {
		v := &jobs[i]
		t.Row(v.ID.String(), word(v), ago(elapsed(v, now)), rowsText(v.OutputRows), secondsText(v.ProcessingSeconds), nextLook(v.NextPollAt, now), strconv.FormatInt(v.Polls, 10), notes(v))
	}
	return t.Write(a.stdout)
}

// elapsed is how long a job has been watched, until its end if that has come.
func elapsed(v *job.View, now time.Time) time.Duration {
	if !v.FinishedAt.IsZero() {
		return max(v.FinishedAt.Sub(v.TrackedAt), 0)
	}
	return now.Sub(v.TrackedAt.Time())
}

func nextLook(at job.Instant, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	if wait := at.Time().Sub(now); wait > 0 {
		return "in " + ago(wait)
	}
	return "now"
}

// notes is what is worth a second glance about a job.
func notes(v *job.View) string {
	var parts []string
	if v.Overdue {
		parts = append(parts, "overdue")
	}
	if v.ExpectedOverdue {
		parts = append(parts, "will likely be overdue")
	}
	for _, what := range v.Anomaly {
		parts = append(parts, strings.ReplaceAll(what, "_", " "))
	}
	if v.Error != "" {
		parts = append(parts, v.Error)
	}
	if v.Deliveries.Exhausted > 0 {
		parts = append(parts, fmt.Sprintf("%d deliveries exhausted", v.Deliveries.Exhausted))
	}
	if v.Deliveries.Held > 0 {
		parts = append(parts, fmt.Sprintf("%d deliveries held", v.Deliveries.Held))
	}
	if text := labelText(v.Labels); text != "" {
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show ID",
		GroupID: groupClient,
		Short:   "Show one job: who was told, when, what they said, and its whole timeline",
		Args:    oneID,
	}
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			v, err := c.Job(ctx, job.MustParseID(args[0]))
			if err != nil {
				return err
			}
			if *out == outputJSON {
				return a.printJSON(v)
			}
			return a.printJob(&v)
		})
	}
	return cmd
}

func (a *app) printJob(v *job.View) error {
	now := time.Now()
	a.fields(
		"job", v.ID.String(),
		"tenant", v.Tenant,
		"state", string(v.State),
		"status", string(v.Status),
		"outcome", string(v.Outcome),
		"overdue", yes(v.Overdue),
		"unusual", strings.ReplaceAll(strings.Join(v.Anomaly, ", "), "_", " "),
		"error", v.Error,
		"rows", rowsText(v.OutputRows),
		"zuora's time", secondsText(v.ProcessingSeconds),
		"elapsed", ago(elapsed(v, now)),
		"expected end", clock(v.ETA),
		"next look", nextLook(v.NextPollAt, now),
		"polls", strconv.FormatInt(v.Polls, 10),
		"labels", labelText(v.Labels),
		"group", v.Group,
		"tracked", clock(v.TrackedAt),
		"deadline", clock(v.DeadlineAt),
		"finished", clock(v.FinishedAt),
		"deliveries", fmt.Sprintf("%d delivered, %d pending, %d held, %d exhausted", v.Deliveries.Delivered, v.Deliveries.Pending, v.Deliveries.Held, v.Deliveries.Exhausted),
	)
	if len(v.Timeline) == 0 {
		return nil
	}
	if err := a.printTold(v.Timeline); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	t := console.NewTable("AT", "WHAT", "DETAIL")
	for i := range v.Timeline {
		e := &v.Timeline[i]
		t.Row(clock(e.At), e.Kind, timelineDetail(e))
	}
	return t.Write(a.stdout)
}

// printTold says who was told what, when, and what they said last.
func (a *app) printTold(timeline []job.TimelineEntry) error {
	last, tries := map[string]*job.TimelineEntry{}, map[string]int{}
	owed := 0
	for i := range timeline {
		switch e := &timeline[i]; e.Kind {
		case "attempt":
			last[e.DeliveryID] = e
			tries[e.DeliveryID]++
		case "delivery":
			owed++
		}
	}
	if owed == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	t := console.NewTable("DESTINATION", "EVENT", "STATE", "TRIES", "LAST TRY", "NEXT", "ANSWER", "DELIVERY")
	now := time.Now()
	for i := range timeline {
		e := &timeline[i]
		if e.Kind != "delivery" {
			continue
		}
		at, said := "", ""
		if l := last[e.DeliveryID]; l != nil {
			at, said = clock(l.At), answerText(l)
		}
		t.Row(e.Destination, e.Event, string(e.State), strconv.Itoa(tries[e.DeliveryID]), at, nextLook(e.NextAt, now), said, e.DeliveryID)
	}
	return t.Write(a.stdout)
}

// answerText is what a receiver said.
func answerText(e *job.TimelineEntry) string {
	return (&job.Attempt{Code: e.Code, Reason: e.Reason, Answer: e.Answer}).Text()
}

func timelineDetail(e *job.TimelineEntry) string {
	var parts []string
	if e.Outcome != job.Undecided {
		parts = append(parts, string(e.Outcome))
	} else if e.Status != job.Unseen {
		parts = append(parts, string(e.Status))
	}
	if e.Polls > 0 {
		parts = append(parts, fmt.Sprintf("after %d polls", e.Polls))
	}
	if e.Event != "" {
		parts = append(parts, "of "+e.Event)
	}
	if e.Destination != "" {
		parts = append(parts, "to "+e.Destination)
	}
	if e.State != "" {
		parts = append(parts, string(e.State))
	}
	if text := answerText(e); text != "" {
		parts = append(parts, text)
	}
	if e.Took != nil {
		parts = append(parts, "in "+secondsText(e.Took))
	}
	if e.NextAt != 0 {
		parts = append(parts, "next "+clock(e.NextAt))
	}
	return strings.Join(parts, " ")
}

// fields prints names and values under each other, leaving out what is empty.
func (a *app) fields(pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			value := console.Clean(pairs[i+1])
			fmt.Fprintf(a.stdout, "%s %s\n", a.stdout.Paint(console.Dim, fmt.Sprintf("%-13s", pairs[i])), a.stdout.Paint(console.WordColour(value), value))
		}
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

func (a *app) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "explain ID",
		GroupID: groupClient,
		Short:   "Say why the next look at a job is when it is, and who will be told",
		Args:    oneID,
	}
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			e, err := c.Explain(ctx, job.MustParseID(args[0]))
			if err != nil {
				return err
			}
			if *out == outputJSON {
				return a.printJSON(e)
			}
			return a.printExplanation(&e)
		})
	}
	return cmd
}

func (a *app) printExplanation(e *job.Explanation) error {
	failures := ""
	if e.Failures > 0 {
		failures = fmt.Sprintf("%d in a row, the last one: %s", e.Failures, e.LastReason)
	}
	a.fields(
		"job", e.ID.String(),
		"state", string(e.State),
		"status", string(e.Status),
		"next look", nextLook(e.NextPollAt, time.Now()),
		"why", e.Why,
		"polls", strconv.FormatInt(e.Polls, 10),
		"failed looks", failures,
		"tenant waits", clock(e.TenantWait),
		"deadline", clock(e.DeadlineAt),
		"abandoned", clock(e.AbandonAt),
	)
	if len(e.Destinations) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	t := console.NewTable("DESTINATION", "TOLD", "WHY")
	for _, d := range e.Destinations {
		told := "no"
		if d.Matches {
			told = strings.Join(d.On, ",")
		}
		t.Row(d.Destination, told, d.Why)
	}
	return t.Write(a.stdout)
}
