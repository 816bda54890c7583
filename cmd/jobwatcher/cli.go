package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/spf13/cobra"
)

const (
	serverVariable = "JOBWATCHER_SERVER"
	defaultServer  = "http://127.0.0.1:8080"
)

// output is the flag -o.
type output string

const (
	outputTable output = "table"
	outputJSON  output = "json"
)

// String, Set and Type make it a flag that refuses other words at once.
func (o *output) String() string { return string(*o) }

// Set takes table or json.
func (o *output) Set(s string) error {
	if s != string(outputTable) && s != string(outputJSON) {
		return errors.New("must be table or json")
	}
	*o = output(s)
	return nil
}

// Type is the flag's word in help texts.
func (o *output) Type() string { return "table|json" }

func outputFlag(cmd *cobra.Command) *output {
	o := outputTable
	cmd.Flags().VarP(&o, "output", "o", "print a table, or JSON")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return &o
}

// printJSON writes v as one indented document.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// serverFlag adds --server to a command that talks to a daemon.
func serverFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("server", "", "URL of the daemon (default "+serverVariable+", or "+defaultServer+")")
}

// client is the API client for a command; the token comes from the environment.
func (a *app) client(server string) (*apiclient.Client, error) {
	if server == "" {
		server = os.Getenv(serverVariable)
	}
	if server == "" {
		server = defaultServer
	}
	c, _ := readConfig() // faults of the daemon's own variables do not matter here
	d := &c.Daemon
	if !d.ApiToken.Empty() && d.ApiTokenFile != "" {
		return nil, fault{"JOBWATCHER_API_TOKEN", "set together with JOBWATCHER_API_TOKEN_FILE; one of the two is allowed"}
	}
	return apiclient.New(server, source(d.ApiToken, d.ApiTokenFile))
}

// withClient runs f with a client of the daemon.
func (a *app) withClient(ctx context.Context, server string, f func(context.Context, *apiclient.Client) error) error {
	c, err := a.client(server)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(ctx, c)
}

// oneID is the argument check of verbs about one job.
func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes exactly one job ID (see %s --help)", cmd.Name(), cmd.CommandPath())
	}
	_, err := job.ParseID(args[0])
	return err
}

// words are the entries of arguments, of stdin where an argument is "-", and of
// a file: one a line, with # comments, as in JOBWATCHER_JOB_IDS_FILE.
func (a *app) words(args []string, file string) (iter.Seq[string], func() error) {
	var failed error
	seq := func(yield func(string) bool) {
		for _, arg := range args {
			if arg != "-" {
				if !yield(arg) {
					return
				}
				continue
			}
			if more, err := lines(a.stdin, yield); err != nil || !more {
				failed = err
				return
			}
		}
		if file == "" {
			return
		}
		f, err := os.Open(file)
		if err != nil {
			failed = err
			return
		}
		defer func() { _ = f.Close() }()
		_, failed = lines(f, yield)
	}
	return seq, func() error { return failed }
}

// lines yields each line's first word; more is false when yield wants no more.
func lines(r io.Reader, yield func(string) bool) (more bool, err error) {
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		line, _, _ := strings.Cut(scanner.Text(), "#")
		for word := range strings.FieldsSeq(line) {
			if !yield(word) {
				return false, nil
			}
		}
	}
	if err := scanner.Err(); err != nil {
		return false, fmt.Errorf("read the list of IDs: %w", err)
	}
	return true, nil
}

// ids reads job IDs for verbs that need them all at once. Every bad one is
// reported.
func (a *app) ids(args []string, file string) ([]job.ID, error) {
	var ids []job.ID
	var bad faults
	seen := map[job.ID]bool{}
	words, failed := a.words(args, file)
	for word := range words {
		id, err := job.ParseID(word)
		if err != nil {
			bad = append(bad, fault{"id", fmt.Sprintf("%q is not a 36-character UUID such as 3a3e85c4-96e7-486b-ae02-827120104301", job.Cut(word, 80))})
		} else if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if err := failed(); err != nil {
		return nil, err
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, errors.New("no job IDs given")
	}
	return ids, nil
}

// labelFlags reads --label k=v.
func labelFlags(pairs []string) (job.Labels, error) {
	labels := job.Labels{}
	for _, pair := range pairs {
		k, v, found := strings.Cut(pair, "=")
		if !found {
			return nil, fmt.Errorf("--label %q is not key=value", job.Cut(pair, 80))
		}
		labels[k] = v
	}
	return labels, labels.Validate()
}

// labelText is a job's labels in one cell.
func labelText(labels job.Labels) string {
	pairs := make([]string, 0, len(labels))
	for _, k := range labels.Keys() {
		pairs = append(pairs, k+"="+labels[k])
	}
	return strings.Join(pairs, ",")
}

// ago is a span in at most two units: 45s, 12m30s, 3h5m, 8d4h.
func ago(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return shortDuration(d.Round(time.Second))
	case d < 48*time.Hour:
		return shortDuration(d.Round(time.Minute))
	}
	hours := int(d.Round(time.Hour).Hours())
	return fmt.Sprintf("%dd%dh", hours/24, hours%24)
}

// rowsText is a number of rows, with thousands apart; "" when absent.
func rowsText(n *int64) string {
	if n == nil {
		return ""
	}
	digits := []byte(strconv.FormatInt(*n, 10))
	var out []byte
	for i, c := range slices.Backward(digits) {
		out = append(out, c)
		if behind := len(digits) - i; behind%3 == 0 && i > 0 && digits[i-1] != '-' {
			out = append(out, ',')
		}
	}
	slices.Reverse(out)
	return string(out)
}

// countRows says "1 row", "24,516 rows".
func countRows(n *int64) string {
	if n != nil && *n == 1 {
		return "1 row"
	}
	return rowsText(n) + " rows"
}

// secondsText is a span that came as seconds; "" when absent.
func secondsText(s *float64) string {
	if s == nil {
		return ""
	}
	return ago(time.Duration(*s * float64(time.Second)))
}

// word is a job's outcome, or its status while it is watched.
func word(v *job.View) string {
	switch {
	case v.Outcome != job.Undecided:
		return string(v.Outcome)
	case v.Status != job.Unseen:
		return string(v.Status)
	}
	return "not seen yet"
}

// clock prints an instant in the local zone, for people.
func clock(i job.Instant) string {
	if i.IsZero() {
		return ""
	}
	return i.Time().Local().Format("2006-01-02 15:04:05")
}

// notef writes a line for people to stderr.
func (a *app) notef(format string, args ...any) {
	fmt.Fprintln(a.stderr, console.Clean(fmt.Sprintf(format, args...)))
}
