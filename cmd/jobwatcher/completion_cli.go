package main

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/spf13/cobra"
)

const (
	// completionTimeout is how long a person waits for the tab key, and
	// mostCompletions what can be looked through.
	completionTimeout = 2 * time.Second
	mostCompletions   = 200
)

// offer is what may stand at a place of the command line, each with a tab and
// a few words about it.
type offer func(ctx context.Context, c *apiclient.Client) ([]string, error)

// complete lets the shell complete ids, names and words, by asking the daemon.
// Where none answers there is nothing to offer.
func (a *app) complete(root *cobra.Command) {
	watching := jobsOffer(url.Values{"state": {string(job.Watching)}})
	for path, of := range map[string]offer{
		"show": jobsOffer(nil), "explain": watching, "untrack": watching, "wait": watching,
		"deliveries": deliveriesOffer, "replay": deliveriesOffer,
		"destinations test": destinationsOffer, "destinations pause": destinationsOffer, "destinations resume": destinationsOffer,
	} {
		if cmd, _, err := root.Find(strings.Fields(path)); err == nil {
			cmd.ValidArgsFunction = a.completion(of)
		}
	}
	states := make([]string, 0, len(job.DeliveryStates()))
	for _, s := range job.DeliveryStates() {
		states = append(states, string(s))
	}
	for _, path := range []string{"deliveries", "replay", "track"} {
		cmd, _, err := root.Find([]string{path})
		if err != nil {
			continue
		}
		for flag, f := range map[string]cobra.CompletionFunc{
			"destination": a.completion(destinationsOffer), "job": a.completion(jobsOffer(nil)),
			"state": cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp),
		} {
			if cmd.Flags().Lookup(flag) != nil {
				_ = cmd.RegisterFlagCompletionFunc(flag, f) // fails only when it is there already
			}
		}
	}
}

func (a *app) completion(of offer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) (all []cobra.Completion, _ cobra.ShellCompDirective) {
		server := ""
		if f := cmd.Flags().Lookup("server"); f != nil {
			server = f.Value.String()
		}
		given := map[string]bool{}
		for _, one := range args {
			given[one] = true
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		_ = a.withClient(ctx, server, func(ctx context.Context, c *apiclient.Client) error {
			words, err := of(ctx, c)
			for _, w := range words {
				if id, _, _ := strings.Cut(w, "\t"); !given[id] && strings.HasPrefix(id, begun) {
					all = append(all, w)
				}
			}
			return err
		})
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

func jobsOffer(filter url.Values) offer {
	return func(ctx context.Context, c *apiclient.Client) ([]string, error) {
		jobs, _, err := c.Jobs(ctx, filter, mostCompletions, "")
		words := make([]string, len(jobs))
		for i := range jobs {
			about := word(&jobs[i])
			if text := labelText(jobs[i].Labels); text != "" {
				about += ", " + text
			}
			words[i] = cobra.CompletionWithDesc(jobs[i].ID.String(), about)
		}
		return words, err
	}
}

func deliveriesOffer(ctx context.Context, c *apiclient.Client) ([]string, error) {
	deliveries, _, err := c.Deliveries(ctx, nil, mostCompletions, "")
	words := make([]string, len(deliveries))
	for i := range deliveries {
		d := &deliveries[i]
		words[i] = cobra.CompletionWithDesc(d.ID, d.EventType.Short()+" to "+d.Destination+", "+string(d.State))
	}
	return words, err
}

func destinationsOffer(ctx context.Context, c *apiclient.Client) ([]string, error) {
	all, err := c.Destinations(ctx)
	words := make([]string, len(all))
	for i := range all {
		words[i] = cobra.CompletionWithDesc(all[i].Name, all[i].Kind)
	}
	return words, err
}
