package main

import (
	"context"
	"net/http"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/httpapi"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/webui"
	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// parts are what the HTTP surface looks at.
type parts struct {
	config     *Config
	log        *zap.Logger
	store      *store.Store
	watcher    *watcher.Watcher
	dispatcher *notify.Dispatcher
	metrics    *metrics.Metrics
	registry   *prometheus.Registry
	draining   <-chan struct{}
}

// addresses are where it listens, with the real ports; "" where it does not.
type addresses struct{ api, metrics string }

// serveHTTP opens the addresses of the configuration.
func serveHTTP(ctx context.Context, l *lifecycle, p parts) (addresses, error) {
	d := &p.config.Daemon
	o := httpapi.Options{
		Tenant:     d.Tenant,
		Jobs:       p.store,
		Ledger:     p.store,
		Watcher:    p.watcher,
		Pulse:      p.watcher,
		Dispatcher: p.dispatcher,
		Check:      p.watcher.Check,
		Metrics:    promhttp.InstrumentMetricHandler(p.registry, scrape(p.registry, p.log)),
		WriteToken: source(d.ApiToken, d.ApiTokenFile),
		ReadToken:  source(d.ApiReadToken, d.ApiReadTokenFile),
		Draining:   p.draining,
		Observe:    p.metrics.APIRequest,
		Panicked:   p.metrics.Panicked,
		Log:        p.log,
	}
	var at addresses
	for _, one := range []struct {
		name, address string
		make          func(httpapi.Options) (http.Handler, error)
		real          *string
	}{
		{"api", d.Listen, withPage, &at.api},
		{"metrics", d.MetricsListen, httpapi.MetricsOnly, &at.metrics},
	} {
		if one.address == "" {
			continue
		}
		handler, err := one.make(o)
		if err != nil {
			return at, err
		}
		if *one.real, err = listen(ctx, l, one.name, one.address, d.WebConfigFile, handler, p.log.Named(one.name)); err != nil {
			return at, err
		}
		p.log.Info("listening", zap.String("name", one.name), zap.String("addr", *one.real))
	}
	return at, nil
}

// withPage is the API with the page before it.
func withPage(o httpapi.Options) (http.Handler, error) {
	api, err := httpapi.New(o)
	if err != nil {
		return nil, err
	}
	return webui.New(api)
}

// scrape answers /metrics. What one collector cannot read is left out and
// logged, rather than refusing everything else.
func scrape(registry *prometheus.Registry, log *zap.Logger) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:      scrapeLog{log},
		ErrorHandling: promhttp.ContinueOnError,
		// More scrapers at a time than this are somebody's mistake.
		MaxRequestsInFlight: 8,
	})
}

type scrapeLog struct{ log *zap.Logger }

// Println implements promhttp.Logger.
func (s scrapeLog) Println(v ...any) {
	for _, one := range v {
		if err, isError := one.(error); isError {
			s.log.Warn("scrape: a metric could not be read", zap.Error(err))
		}
	}
}
