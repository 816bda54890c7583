package metrics

import (
	"math"
	"sync/atomic"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
)

// WatchSource is what this replica watches now, asked at scrape time.
type WatchSource interface {
	// Watched counts owned jobs by status (Unseen included) and says how late they are.
	Watched() (byStatus map[job.Status]int, late job.Lateness)
	// Budget tells how late looks are, and when our share is spent.
	Budget() job.BudgetView
}

// StoreSource is what the store tells at scrape time.
type StoreSource interface {
	// DeliveryStats counts deliveries by destination and state, with the creation
	// time of the oldest not yet delivered or exhausted for each destination.
	DeliveryStats() (counts map[string]map[job.DeliveryState]int64, oldest map[string]job.Instant, err error)
	// ReplicaCount counts replicas believed alive.
	ReplicaCount() (int, error)
}

// Collect makes the gauges of contract section 7 that are read at scrape time come from these sources.
// Either may be nil; a second call replaces what the first one gave.
func (m *Metrics) Collect(w WatchSource, s StoreSource) {
	if m == nil {
		return
	}
	m.scrape.sources.Store(&sources{w, s})
}

type sources struct {
	watcher WatchSource
	store   StoreSource
}

// Labels for jobs whose status cannot be one: an empty label value would be no
// label at all, and a word that Zuora does not document could be any.
const (
	statusUnseen = "unseen"
	statusOther  = other
)

// collector asks the store when it is scraped, and holds the sources for
// [watched], whose families carry the tenant.
type collector struct {
	m       *Metrics
	sources atomic.Pointer[sources]
}

var (
	jobsDesc = desc("jobs",
		"Jobs that this replica watches, by Zuora's last word on them (unseen: not looked at yet; other: a word that Zuora does not document).", "status")
	overdueDesc = desc("jobs_overdue",
		"Jobs that this replica watches and that run longer than their deadline.")
	overdueExpectedDesc = desc("jobs_overdue_expected",
		"Jobs that this replica watches and that will likely become overdue, by past runs of queries like them.")
	expectedEndDesc = desc("jobs_expected_end_timestamp_seconds",
		"When the last of the watched jobs whose end can be foretold by past runs will likely have ended; 0 when none can.")
	pollsLateDesc = desc("polls_late_seconds",
		"How much later than planned the look is that has been due longest, because of the budget or of whatever else; 0 when none is due.")
	budgetSpentDesc = desc("budget_spent_timestamp_seconds",
		"When our share of the window is used up at the present pace; NaN when it lasts, or is not known.", "window")
	deliveriesDesc = desc("deliveries",
		"Deliveries by destination and state, all replicas together, as far as they are still kept.", "destination", "state")
	oldestDesc = desc("outbox_oldest_pending_timestamp_seconds",
		"When the oldest delivery that is still owed to the destination was created; 0 when none is.", "destination")
	replicasDesc = desc("replicas",
		"Replicas believed alive, this one included.")
)

// watched collects what the watcher tells.
type watched struct{ *collector }

// Describe implements [prometheus.Collector].
func (watched) Describe(ch chan<- *prometheus.Desc) {
	ch <- jobsDesc
	ch <- overdueDesc
	ch <- overdueExpectedDesc
	ch <- expectedEndDesc
	ch <- pollsLateDesc
	ch <- budgetSpentDesc
}

// Collect implements [prometheus.Collector].
func (c watched) Collect(ch chan<- prometheus.Metric) {
	var byStatus map[job.Status]int
	var late job.Lateness
	var budget job.BudgetView
	if s := c.sources.Load(); s != nil && s.watcher != nil {
		byStatus, late = s.watcher.Watched()
		budget = s.watcher.Budget()
	}
	counts := map[string]int{statusUnseen: 0, statusOther: 0}
	for _, s := range job.Statuses() {
		counts[string(s)] = 0
	}
	for s, n := range byStatus {
		switch {
		case s.Known():
			counts[string(s)] += n
		case s == job.Unseen:
			counts[statusUnseen] += n
		default:
			counts[statusOther] += n
		}
	}
	for label, n := range counts {
		ch <- prometheus.MustNewConstMetric(jobsDesc, prometheus.GaugeValue, float64(n), label)
	}
	ch <- prometheus.MustNewConstMetric(overdueDesc, prometheus.GaugeValue, float64(late.Overdue))
	ch <- prometheus.MustNewConstMetric(overdueExpectedDesc, prometheus.GaugeValue, float64(late.Expected))
	end := 0.0
	if !late.LastEnd.IsZero() {
		end = float64(late.LastEnd) / 1000
	}
	ch <- prometheus.MustNewConstMetric(expectedEndDesc, prometheus.GaugeValue, end)
	ch <- prometheus.MustNewConstMetric(pollsLateDesc, prometheus.GaugeValue, budget.LateSeconds)
	spent := map[string]float64{}
	for _, w := range budget.Windows {
		if !w.SpentAt.IsZero() {
			spent[w.Window] = float64(w.SpentAt) / 1000
		}
	}
	for _, name := range windowNames {
		at, known := spent[name]
		if !known {
			at = math.NaN()
		}
		ch <- prometheus.MustNewConstMetric(budgetSpentDesc, prometheus.GaugeValue, at, name)
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- deliveriesDesc
	ch <- oldestDesc
	ch <- replicasDesc
}

// Collect implements [prometheus.Collector]. What a store in trouble cannot
// tell is left out of the scrape: an old number or a zero would be a lie.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.sources.Load()
	if s == nil || s.store == nil {
		c.deliveries(ch, nil, nil)
		ch <- prometheus.MustNewConstMetric(replicasDesc, prometheus.GaugeValue, 0)
		return
	}
	began := c.m.now()
	counts, oldest, err := s.store.DeliveryStats()
	c.m.StoreOperation("delivery_stats", c.m.now().Sub(began), err)
	if err == nil {
		c.deliveries(ch, counts, oldest)
	}
	began = c.m.now()
	n, err := s.store.ReplicaCount()
	c.m.StoreOperation("replica_count", c.m.now().Sub(began), err)
	if err == nil {
		ch <- prometheus.MustNewConstMetric(replicasDesc, prometheus.GaugeValue, float64(n))
	}
}

// deliveries shows every destination that is known or owns rows, each state of
// each; those beyond the bound are added up.
func (c *collector) deliveries(ch chan<- prometheus.Metric, counts map[string]map[job.DeliveryState]int64, oldest map[string]job.Instant) {
	names := c.m.deliveries.names
	states, first := map[string]map[job.DeliveryState]int64{}, map[string]job.Instant{}
	entry := func(destination string) string {
		label := names.label(destination)
		if states[label] == nil {
			states[label] = map[job.DeliveryState]int64{}
		}
		return label
	}
	for _, name := range names.list() {
		entry(name)
	}
	for name, byState := range counts {
		label := entry(name)
		for state, n := range byState {
			states[label][state] += n
		}
	}
	for name, at := range oldest {
		label := entry(name)
		if was := first[label]; was == 0 || at < was {
			first[label] = at
		}
	}
	for label, byState := range states {
		for _, state := range job.DeliveryStates() {
			ch <- prometheus.MustNewConstMetric(deliveriesDesc, prometheus.GaugeValue, float64(byState[state]), label, string(state))
		}
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, seconds(first[label].Time()), label)
	}
}
