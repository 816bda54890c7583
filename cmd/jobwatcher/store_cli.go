package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/spf13/cobra"
)

func (a *app) storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "store",
		GroupID: groupDaemon,
		Short:   "Move everything to another database",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.storeCopyCommand())
	return cmd
}

func (a *app) storeCopyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy one database into another that is empty, and compare them row for row",
		Long: `Copies jobs, events, deliveries with their attempts, destinations, groups and what
was spent of the budget. FROM and TO are as in JOBWATCHER_STORE. TO must be empty;
it has everything afterwards, or nothing. No daemon may be alive on either. Both
are brought to this program's schema first.

A password may come from PGPASSWORD or PGPASSFILE instead of the URL.`,
		Example: `  jobwatcher store copy sqlite:jobwatcher.db postgres://jobwatcher@db.internal/jobwatcher`,
		Args:    cobra.ExactArgs(2),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if args[0] == args[1] {
			return errors.New("FROM and TO are the same database")
		}
		from, err := store.Open(ctx, args[0], store.Options{})
		if err != nil {
			return fmt.Errorf("FROM: %w", err)
		}
		defer func() { _ = from.Close() }()
		to, err := store.Open(ctx, args[1], store.Options{})
		if err != nil {
			return fmt.Errorf("TO: %w", err)
		}
		defer func() { _ = to.Close() }()
		all, err := store.Copy(ctx, from, to)
		if err != nil {
			return err
		}
		if *out == outputJSON {
			rows := map[string]int64{}
			for _, c := range all {
				rows[c.Table] = c.Rows
			}
			return a.printJSON(rows)
		}
		t := console.NewTable("TABLE", "ROWS")
		for _, c := range all {
			t.Row(c.Table, strconv.FormatInt(c.Rows, 10))
		}
		if err := t.Write(a.stdout); err != nil {
			return err
		}
		a.notef("copied, and compared row for row; set JOBWATCHER_STORE to the copy")
		return nil
	}
	return cmd
}
