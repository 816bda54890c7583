package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/spf13/cobra"
)

func (a *app) budgetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "budget",
		GroupID: groupClient,
		Short:   "The tenant's rate limits, and what of them is left",
		Long: `Shows each rate-limit window of the tenant: its limit, what has been used of it by
everybody as far as the tenant tells, and what of it the daemon may spend and
has spent (ZUORA_BUDGET).`,
		Args: cobra.NoArgs,
	}
	server, out := serverFlag(cmd), outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.withClient(cmd.Context(), *server, func(ctx context.Context, c *apiclient.Client) error {
			v, err := c.Budget(ctx)
			if err != nil {
				return err
			}
			if *out == outputJSON {
				return a.printJSON(v)
			}
			return a.printBudget(&v)
		})
	}
	return cmd
}

func (a *app) printBudget(v *job.BudgetView) error {
	t := console.NewTable("WINDOW", "LIMIT", "USED", "LEFT", "RESETS", "OURS", "SPENT", "NOTES")
	for i := range v.Windows {
		w := &v.Windows[i]
		notes := ""
		if !w.SpentAt.IsZero() {
			notes = "ours is spent at " + clock(w.SpentAt) + " at this pace"
		}
		n := func(n int64) string { return strconv.FormatInt(n, 10) }
		t.Row(w.Window, n(w.Limit), n(w.Used), n(w.Left), clock(w.ResetsAt), n(w.Ours), n(w.Spent), notes)
	}
	if err := t.Write(a.stdout); err != nil {
		return err
	}
	if len(v.Windows) == 0 {
		fmt.Fprintln(a.stderr, "No answer has told the tenant's limits yet, and ZUORA_BUDGET names none.")
	}
	if late := time.Duration(v.LateSeconds * float64(time.Second)).Round(time.Second); late > 0 {
		fmt.Fprintf(a.stderr, "The oldest look that is due is %s late.\n", late)
	}
	return nil
}
