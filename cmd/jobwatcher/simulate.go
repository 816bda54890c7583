package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// simulateFlags are the flags of `simulate`.
type simulateFlags struct {
	addr, plan, runTime          string
	seed                         uint64
	failRatio, cancelRatio, rate float64
	jobs                         int
	token                        string
	control                      bool
}

func (a *app) simulateCommand() *cobra.Command {
	var f simulateFlags
	cmd := &cobra.Command{
		Use:     "simulate",
		GroupID: groupHere,
		Short:   "A faithful stand-in for the Zuora API on loopback, with faults on demand",
		Long: `Serves a simulated Zuora tenant: OAuth, Data Query jobs with their queue, rate
limits with their headers, and faults on demand under /_sim/. It prints the
variables that point a daemon at it to stdout, everything else to stderr.`,
		Example: `  jobwatcher simulate --plan api-sandbox --run-time lognormal:20s:1.2
  curl -d '{"count":5,"run_time":"20s"}' -H 'content-type: application/json' http://127.0.0.1:8090/_sim/jobs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.simulate(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.addr, "addr", "127.0.0.1:8090", "loopback address; port 0 picks a free one")
	flags.StringVar(&f.plan, "plan", "production", "rate limits: production, central-sandbox, developer-sandbox, api-sandbox, unlimited, or 300/1m,5000/1h,…")
	flags.StringVar(&f.runTime, "run-time", "lognormal:20s:1.2", "run times: fixed:20s, lognormal:20s:1.2, bimodal:5s:20m:0.3 or heavy:10s:1.1")
	flags.Uint64Var(&f.seed, "seed", 1, "decides everything that is drawn")
	flags.Float64Var(&f.failRatio, "fail-ratio", 0.1, "share of jobs that fail")
	flags.Float64Var(&f.cancelRatio, "cancel-ratio", 0.05, "share of jobs that are cancelled")
	flags.IntVar(&f.jobs, "jobs", 0, "jobs that are there from the start")
	flags.Float64Var(&f.rate, "arrivals", 0, "jobs a minute that other people submit")
	flags.StringVar(&f.token, "bearer-token", "", "also accept this bearer token")
	flags.BoolVar(&f.control, "control", true, "serve /_sim/, which scripts jobs and faults")
	return cmd
}

// options reads the flags; every fault of the tenant's options is reported.
func (f *simulateFlags) options() (zuorasim.Options, error) {
	plan, err := zuorasim.ParsePlan(f.plan)
	if err != nil {
		return zuorasim.Options{}, fmt.Errorf("--plan: %w", err)
	}
	runTime, err := zuorasim.ParseRunTime(f.runTime)
	if err != nil {
		return zuorasim.Options{}, fmt.Errorf("--run-time: %w", err)
	}
	o := zuorasim.Options{
		Seed: f.seed, Plan: plan, RunTime: runTime, FailRatio: f.failRatio, CancelRatio: f.cancelRatio,
		Jobs: f.jobs, Arrivals: f.rate, BearerToken: f.token, Control: f.control,
		AcceptAfter: 500 * time.Millisecond, StartAfter: 500 * time.Millisecond,
	}
	return o, o.Validate()
}

func (a *app) simulate(ctx context.Context, f simulateFlags) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	// Whoever reaches it can script it, and the daemon talks plain HTTP to
	// loopback only.
	host, _, err := net.SplitHostPort(f.addr)
	if err != nil || !loopbackHost(host) {
		return fmt.Errorf("--addr: %q is not a loopback address such as 127.0.0.1:8090", f.addr)
	}
	tenant := zuorasim.New(o)
	l := &lifecycle{log: zap.NewNop(), grace: cleanupLimit}
	address, err := listen(ctx, l, "simulator", f.addr, "", tenant, zap.NewNop())
	if err != nil {
		return errors.Join(err, l.unwind(ctx, time.Now()))
	}
	a.printSimulator("http://"+address, tenant, f.control)
	return l.Run(ctx)
}

// printSimulator tells how to use it: what a shell evaluates goes to stdout.
func (a *app) printSimulator(url string, tenant *zuorasim.Tenant, control bool) {
	fmt.Fprintf(a.stdout, "export ZUORA_BASE_URL=%s\nexport ZUORA_CLIENT_ID=%s\nexport ZUORA_CLIENT_SECRET='%s'\n",
		url, zuorasim.DefaultClientID, zuorasim.DefaultClientSecret)
	fmt.Fprintf(a.stderr, `
A simulated Zuora tenant listens at %s with %d jobs. Give the lines
above to a shell and start "jobwatcher". Submit a job as a program would:

  TOKEN=$(curl -s %s/oauth/token -d grant_type=client_credentials \
    --data-urlencode "client_id=$ZUORA_CLIENT_ID" --data-urlencode "client_secret=$ZUORA_CLIENT_SECRET" \
    | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
  curl -s %s/query/jobs -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
    -d '{"query":"SELECT id FROM account","outputFormat":"JSON","compression":"NONE","output":{"target":"S3"}}'
`, url, len(tenant.Jobs()), url, url)
	if control {
		fmt.Fprintf(a.stderr, `
Script it:

  curl -s %[1]s/_sim/jobs   -H 'Content-Type: application/json' -d '{"count":5,"run_time":"20s","outcome":"failed"}'
  curl -s %[1]s/_sim/faults -H 'Content-Type: application/json' -d '{"kind":"status","status":503,"for":"30s"}'
  curl -s %[1]s/_sim/stats
`, url)
	}
	fmt.Fprintf(a.stderr, "\nCtrl-C ends it.\n")
}

// simulator is a tenant for demo and tests, on a port of its own.
func simulator(ctx context.Context, l *lifecycle, o zuorasim.Options) (*zuorasim.Tenant, string, error) {
	tenant := zuorasim.New(o)
	address, err := listen(ctx, l, "simulator", "127.0.0.1:0", "", http.Handler(tenant), zap.NewNop())
	return tenant, "http://" + address, err
}
