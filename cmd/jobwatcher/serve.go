package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/channel"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/notify/slack"
	"github.com/jobwatcher/jobwatcher/notify/webhook"
	"github.com/jobwatcher/jobwatcher/watcher"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/zuora"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// hooks let demo, verify and tests look into the daemon. All may be nil.
type hooks struct {
	// listening hears the real addresses once everything is served.
	listening func(api, metrics string)
	// watcher and notify change the loops' parts before these are made.
	watcher func(*watcher.Options)
	notify  func(*notify.Options)
}

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "run",
		GroupID: groupDaemon,
		Short:   "The daemon (what jobwatcher does without a command)",
		Long: `Runs the daemon until SIGTERM or SIGINT, then drains: nothing new is taken, what
is in the air is finished and stored. A second signal exits at once, with 128 and
the signal's number as exit code.

It is configured by environment variables; "jobwatcher config" lists them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runDaemon(cmd.Context()) },
	}
}

func (a *app) runDaemon(ctx context.Context) error {
	c, err := loadConfig(forDaemon)
	if err != nil {
		a.warnUnknown()
		return err
	}
	log, err := newLogger(a.stderr, c.Daemon.LogLevel, c.Daemon.LogFormat, a.stderr.TTY, a.stderr.Colour)
	if err != nil {
		return err
	}
	for _, text := range unknownVariables(os.Environ()) {
		log.Warn(text)
	}
	// The library behind channels sends through the default transport, and nobody
	// else here does: with this, it dials no address that we would not.
	http.DefaultTransport = strangers(c).Guarded()
	return serve(ctx, c, log, a.hooks)
}

// serve builds the parts in order of dependency, runs the loops until ctx ends,
// and takes everything down in reverse.
func serve(ctx context.Context, c *Config, log *zap.Logger, h hooks) error {
	l := &lifecycle{log: log, grace: c.Daemon.ShutdownGrace}
	addresses, err := assemble(ctx, l, c, log, h)
	if err != nil {
		return errors.Join(err, l.unwind(context.WithoutCancel(ctx), time.Now()))
	}
	if h.listening != nil {
		h.listening(addresses.api, addresses.metrics)
	}
	return l.Run(ctx)
}

func assemble(ctx context.Context, l *lifecycle, c *Config, log *zap.Logger, h hooks) (addresses, error) {
	this := thisBuild()
	log.Info("starting", zap.String("version", this.Version), zap.String("tenant", c.Daemon.Tenant))
	again := newReloader(c, log)
	destinations, err := again.start()
	if err != nil {
		return addresses{}, fmt.Errorf("JOBWATCHER_DESTINATIONS_FILE: %w", err)
	}
	if len(destinations) == 0 {
		log.Warn("no destination is configured: jobs are watched and counted, and nobody is told (JOBWATCHER_SLACK_URL, JOBWATCHER_WEBHOOK_URL, JOBWATCHER_DESTINATIONS_FILE)")
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	names := make([]string, 0, len(destinations))
	for i := range destinations {
		names = append(names, destinations[i].Name)
	}
	m := metrics.New(registry, metrics.Options{
		Tenant: c.Daemon.Tenant, Destinations: names, JobLimit: c.Daemon.JobMetricsLimit,
		Version: this.Version, Revision: this.Revision, GoVersion: this.Go,
	})

	kept, err := store.Open(ctx, c.Daemon.Store.url, store.Options{Metrics: m})
	if err != nil {
		return addresses{}, fmt.Errorf("JOBWATCHER_STORE: %w", err)
	}
	l.CleanUp("store", func(context.Context) error { return kept.Close() })

	var windows atomic.Pointer[watcher.Watcher] // who hears of the tenant's limits, once it is there
	up, err := upstream(c, m, log, func(told []job.BudgetWindow) {
		if w := windows.Load(); w != nil {
			w.Windows(told)
		}
	})
	if err != nil {
		return addresses{}, err
	}
	l.CleanUp("upstream", func(context.Context) error { up.Close(); return nil })

	//nolint:contextcheck // DeliveryStats bounds itself; its signature is the scraper's
	w, d, err := loops(l, c, m, log, kept, up, destinations, h)
	if err != nil {
		return addresses{}, err
	}
	windows.Store(w)
	m.Collect(w, kept)
	m.DestinationsRead()
	if c.Daemon.DestinationsFile != "" {
		again.metrics, again.apply = m, d.Reload
		l.Loop("destinations", func(soft, _ context.Context) error { return asked(soft, again.run(soft)) })
	}

	draining := make(chan struct{})
	l.draining = func(ctx context.Context) {
		close(draining)
		pause := time.NewTimer(c.Daemon.ShutdownDelay)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
	return serveHTTP(ctx, l, parts{config: c, log: log, store: kept, watcher: w, dispatcher: d, metrics: m, registry: registry, draining: draining})
}

// loops makes watcher and dispatcher. They meet in rows, and in three functions.
func loops(l *lifecycle, c *Config, m *metrics.Metrics, log *zap.Logger, kept *store.Store, up *zuora.Client, destinations []notify.Destination, h hooks) (*watcher.Watcher, *notify.Dispatcher, error) {
	var w *watcher.Watcher  // the dispatcher asks it for the replica's name
	pacer := &slack.Pacer{} // one rate for each URL, however many destinations share it
	grace := (c.Daemon.ShutdownGrace - c.Daemon.ShutdownDelay) * 6 / 10
	sending := notify.Options{
		Outbox:       kept,
		Replica:      func() job.ReplicaID { return w.Replica() },
		Tenant:       c.Daemon.Tenant,
		Destinations: destinations,
		NewSender:    senders(c, pacer),
		Metrics:      m,
		Log:          log,
		Grace:        grace,
		Counts: func() (map[string]map[job.DeliveryState]int64, error) {
			counts, _, err := kept.DeliveryStats()
			return counts, err
		},
	}
	if h.notify != nil {
		h.notify(&sending)
	}
	d, err := notify.NewDispatcher(sending)
	if err != nil {
		return nil, nil, err
	}
	dispatched, registered := make(chan struct{}), make(chan struct{})

	o := watcherOptions(c, log)
	o.BudgetStore = kept
	o.Upstream, o.Store, o.Metrics, o.Alone, o.Grace = up, kept, m, kept.Alone(), grace
	o.Ownership = ownership{kept, d.Wake, sync.OnceFunc(func() { close(registered) }), dispatched}
	o.Route, o.Wake, o.KeepDataFile, o.KnownDestinations = d.Route, d.Wake, d.KeepsDataFile, d.Names
	host, _ := os.Hostname()
	o.Greet = true
	if !kept.Alone() {
		o.Bus, o.Replicas = kept, pacer.Share
	}
	o.Replica = job.Replica{Host: host, Version: thisBuild().Version}
	if h.watcher != nil {
		h.watcher(&o)
	}
	if w, err = watcher.New(o); err != nil {
		return nil, nil, err
	}
	l.Loop("watcher", func(soft, _ context.Context) error { return asked(soft, w.Run(soft)) })
	l.Loop("dispatcher", func(soft, _ context.Context) error {
		defer close(dispatched)
		select {
		case <-registered: // before that it may claim nothing
		case <-soft.Done():
			return nil
		}
		return asked(soft, d.Run(soft))
	})
	return w, d, nil
}

// asked makes a loop that returned without having been asked to an error.
func asked(soft context.Context, err error) error {
	if err == nil && soft.Err() == nil {
		return errEnded
	}
	return err
}

// ownership is where the two loops meet in the replica's row.
//
// It keeps the row until the last delivery is settled: a settlement after the
// release would be refused, and the delivery repeated. And it wakes the
// dispatcher when there may be a dead replica's deliveries among ours, which no
// commit of ours has announced to it.
type ownership struct {
	watcher.Ownership
	wake       func(...string)
	registered func()          // called at each registration
	dispatched <-chan struct{} // closed when nothing is being sent any more
}

// Register enters the replica.
func (o ownership) Register(ctx context.Context, r job.Replica, lease time.Duration, alone bool) error {
	if err := o.Ownership.Register(ctx, r, lease, alone); err != nil {
		return err
	}
	o.registered()
	o.wake()
	return nil
}

// Heartbeat renews the row.
func (o ownership) Heartbeat(ctx context.Context, id job.ReplicaID, lease time.Duration, jobs int) (job.Pulse, error) {
	p, err := o.Ownership.Heartbeat(ctx, id, lease, jobs)
	if p.Inherited > 0 {
		o.wake()
	}
	return p, err
}

// Release waits for the dispatcher, whose own grace bounds the wait.
func (o ownership) Release(ctx context.Context, id job.ReplicaID) error {
	<-o.dispatched
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	return o.Ownership.Release(ctx, id)
}

// strangers makes the one client for everybody who is told.
func strangers(c *Config) *outbound.Client {
	hosts, ranges, _ := c.Daemon.allowedDestinations() // checked with the rest
	return outbound.New(outbound.Options{
		AllowPrivate: c.Daemon.AllowPrivateDestinations,
		AllowHosts:   hosts,
		AllowCIDRs:   ranges,
		Proxy:        c.Daemon.DestinationsProxy,
		Timeout:      notify.SendTimeout,
		UserAgent:    "jobwatcher/" + thisBuild().Version,
	})
}

// senders makes the sender of a destination; all share one HTTP client.
func senders(c *Config, pacer *slack.Pacer) func(notify.Destination) (notify.Sender, error) {
	client := strangers(c)
	return func(d notify.Destination) (notify.Sender, error) {
		if d.Channel != nil {
			return channel.New(d, client)
		}
		if d.Slack != nil {
			return slack.New(d, slack.Options{Client: client, Pacer: pacer, PageURL: c.Daemon.PageUrl})
		}
		return webhook.New(d, client)
	}
}

// upstream makes the client of the tenant.
func upstream(c *Config, m *metrics.Metrics, log *zap.Logger, windows func([]job.BudgetWindow)) (*zuora.Client, error) {
	id, err := c.clientID()
	if err != nil {
		return nil, err
	}
	u := &c.Upstream
	return zuora.New(zuora.Options{
		BaseURL:      u.BaseUrl,
		ClientID:     id,
		ClientSecret: c.clientSecret(),
		BearerToken:  c.bearerToken(),
		EntityIDs:    u.EntityIds,
		OrgIDs:       u.OrgIds,
		TrackPrefix:  u.TrackId,
		Timeout:      u.Timeout,
		MaxInFlight:  u.MaxInFlight,
		Metrics:      m,
		Log:          log.Named("zuora"),
		UserAgent:    "jobwatcher/" + thisBuild().Version,
		OnWindows: func(all []zuora.Window) {
			told := make([]job.BudgetWindow, len(all))
			for i, w := range all {
				told[i] = job.BudgetWindow{Span: w.Span, Limit: w.Limit, Remaining: w.Remaining, Reset: w.Reset}
			}
			windows(told)
		},
	})
}
