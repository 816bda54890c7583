package metrics

import (
	"container/list"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/prometheus/client_golang/prometheus"
)

// defaultJobTTL is long enough for every scraper to have seen a series, and for
// a person to find yesterday's.
const defaultJobTTL = 24 * time.Hour

// jobSeries is what is shown of one finished job; nil where Zuora did not say.
type jobSeries struct {
	id         job.ID
	processing *float64
	rows       *float64
	finished   time.Time
	expires    time.Time
}

// series keeps series of single jobs for those who ask for them
// (JOBWATCHER_JOB_METRICS_LIMIT): the last limit jobs to finish, each for ttl.
// The oldest makes room for the newest.
type series struct {
	limit int
	ttl   time.Duration
	now   func() time.Time

	processing, rows, finished *prometheus.Desc

	mu    sync.Mutex
	order *list.List // of *jobSeries, oldest first
	byID  map[job.ID]*list.Element
}

func newSeries(limit int, ttl time.Duration, now func() time.Time) *series {
	return &series{
		limit: limit, ttl: ttl, now: now,
		processing: desc("job_last_processing_seconds",
			"Processing time of one finished job as Zuora gives it; opt-in, capped and expiring.", "job_id"),
		rows: desc("job_last_output_rows",
			"Rows put out by one finished job as Zuora gives them; opt-in, capped and expiring.", "job_id"),
		finished: desc("job_finished_timestamp_seconds",
			"When one finished job ended, by Zuora's clock where it tells; opt-in, capped and expiring.", "job_id"),
		order: list.New(), byID: map[job.ID]*list.Element{},
	}
}

// add gives a finished job series of its own.
func (s *series) add(one jobSeries) {
	if s.limit <= 0 {
		return
	}
	now := s.now()
	one.expires = now.Add(s.ttl)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byID[one.id]; e != nil {
		s.drop(e)
	}
	s.expire(now)
	for s.order.Len() >= s.limit {
		s.drop(s.order.Front())
	}
	s.byID[one.id] = s.order.PushBack(&one)
}

// expire drops what is older than the ttl; the oldest stand first.
func (s *series) expire(now time.Time) {
	for e := s.order.Front(); e != nil && !entry(e).expires.After(now); e = s.order.Front() {
		s.drop(e)
	}
}

func (s *series) drop(e *list.Element) {
	delete(s.byID, entry(e).id)
	s.order.Remove(e)
}

func entry(e *list.Element) *jobSeries {
	one, ok := e.Value.(*jobSeries)
	if !ok {
		return &jobSeries{} // nothing else is ever put in
	}
	return one
}

// Describe implements [prometheus.Collector].
func (s *series) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.processing
	ch <- s.rows
	ch <- s.finished
}

// Collect implements [prometheus.Collector].
func (s *series) Collect(ch chan<- prometheus.Metric) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	for e := s.order.Front(); e != nil; e = e.Next() {
		one := entry(e)
		id := one.id.String()
		if one.processing != nil {
			ch <- prometheus.MustNewConstMetric(s.processing, prometheus.GaugeValue, *one.processing, id)
		}
		if one.rows != nil {
			ch <- prometheus.MustNewConstMetric(s.rows, prometheus.GaugeValue, *one.rows, id)
		}
		if !one.finished.IsZero() {
			ch <- prometheus.MustNewConstMetric(s.finished, prometheus.GaugeValue, seconds(one.finished), id)
		}
	}
}
