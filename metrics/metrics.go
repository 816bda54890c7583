package metrics

import (
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options fixes what never changes while the process runs.
type Options struct {
	Tenant       string
	Destinations []string // names known at start: every combination starts at zero
	Version      string
	Revision     string
	GoVersion    string           // "": the one that built us
	JobLimit     int              // how many finished jobs have series of their own; 0: none
	JobTTL       time.Duration    // how long such a series lives; 0: a day
	Now          func() time.Time // nil: time.Now
}

// Metrics counts what happens. A nil *Metrics counts nothing.
type Metrics struct {
	now        func() time.Time
	jobs       jobMetrics
	upstream   upstreamMetrics
	deliveries deliveryMetrics
	daemon     daemonMetrics
	scrape     *collector
}

// New registers everything with reg, all known label combinations at zero. It
// panics when reg has some of it already, which is a mistake in the program;
// only the Go and process collectors may be there before. A nil reg counts
// without being scraped.
func New(reg prometheus.Registerer, o Options) *Metrics {
	if reg == nil {
		reg = prometheus.NewRegistry()
	}
	if o.GoVersion == "" {
		o.GoVersion = runtime.Version()
	}
	if o.JobTTL <= 0 {
		o.JobTTL = defaultJobTTL
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		_ = reg.Register(c) // the default registry has them
	}
	ofTenant := prometheus.WrapRegistererWith(prometheus.Labels{"tenant": o.Tenant}, reg)
	build := promauto.With(reg).NewGaugeVec(gauge("build_info",
		"The running program; always 1."), []string{"version", "revision", "goversion"})
	build.WithLabelValues(o.Version, o.Revision, o.GoVersion).Set(1)
	m := &Metrics{
		now:        o.Now,
		jobs:       newJobMetrics(promauto.With(ofTenant)),
		upstream:   newUpstreamMetrics(promauto.With(ofTenant)),
		deliveries: newDeliveryMetrics(promauto.With(reg), o.Destinations),
		daemon:     newDaemonMetrics(promauto.With(reg)),
	}
	m.jobs.series = newSeries(o.JobLimit, o.JobTTL, o.Now)
	m.upstream.windows = newWindows(o.Now)
	m.scrape = &collector{m: m}
	ofTenant.MustRegister(m.jobs.series, m.upstream.windows, watched{m.scrape})
	reg.MustRegister(m.scrape)
	return m
}

const (
	// maxScrapes is how many scrapes may be served at once: /metrics is open to
	// everybody, and a scrape asks the store.
	maxScrapes = 8
	// scrapeTimeout is Prometheus' own default (scrape_timeout).
	scrapeTimeout = 10 * time.Second
)

// Handler serves what reg gathers: the text format, or protobuf with native
// histograms for a scraper that asks for it. What cannot be collected is left
// out and counted (promhttp_metric_handler_errors_total). It may be called once
// for each registry.
func Handler(reg *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		Registry:            reg,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		CoalesceGather:      true,
		Timeout:             scrapeTimeout,
		EnableOpenMetrics:   false, // see the package's text
	})
}

const namespace = "jobwatcher"

func counter(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}
}

func gauge(name, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}
}

// histogram is native and classic. Native buckets grow by at most a tenth, the
// value that client_golang's documentation recommends; 160 of them span more
// than our ranges, and when a range is left nevertheless, they are reset at
// most once an hour.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// observe takes a span that two clocks may have made negative: a histogram's
// sum must not go down.
func observe(o prometheus.Observer, d time.Duration) { o.Observe(max(0, d.Seconds())) }

// seconds is a time as Prometheus has it; 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// other stands for every value beyond those that a label may have.
const other = "other"

func oneOf(value string, known []string) string {
	if slices.Contains(known, value) {
		return value
	}
	return other
}

// reasonLabel is r if it is one of the closed set, or "other".
func reasonLabel(r job.Reason, known []job.Reason) string {
	if slices.Contains(known, r) {
		return string(r)
	}
	return other
}

// names bounds a label whose values are not ours alone to choose: the known
// ones have series of their own, and so have the first few others; all that
// come later count as "other".
type names struct {
	mu    sync.Mutex
	known map[string]bool
	room  int
}

func newNames(room int, known ...string) *names {
	n := &names{known: make(map[string]bool, len(known)), room: room}
	n.learn(known...)
	return n
}

// label is the label's value for name.
func (n *names) label(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.known[name]:
		return name
	case n.room <= 0 || name == "":
		return other
	}
	n.room--
	n.known[name] = true
	return name
}

// learn makes names known, whatever the room: somebody configured them.
func (n *names) learn(all ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range all {
		n.known[name] = true
	}
}

// list is every name known.
func (n *names) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]string, 0, len(n.known))
	for name := range n.known {
		all = append(all, name)
	}
	return all
}
