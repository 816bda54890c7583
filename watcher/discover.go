package watcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// The page's size: what Zuora gives by default, and the most that it gives
	// (zuora-facts.md section 3). The first pass wants to see a day.
	leastPage = 20
	firstPage = 100
	mostPage  = 1000
	// pageGrowth is how much larger the next page is when one did not reach far enough.
	pageGrowth = 5
	// maxMarks is how many of the newest jobs are remembered, so that the next
	// pass knows where to stop even if some have been erased.
	maxMarks = 20
	// slowest is how many times longer the pause becomes while the list fails.
	slowest = 10
)

// discovery adopts jobs that nobody told us about: what the list shows, down to
// what an earlier pass has seen or what is too old.
type discovery struct {
	w        *Watcher
	size     int
	marks    []job.ID // the newest of the last pass that was complete
	failures int
}

// discover lists now and then. A failure is counted, and never harmful: jobs
// that are watched stay watched.
func (w *Watcher) discover(ctx context.Context) {
	d := discovery{w: w, size: firstPage}
	for ctx.Err() == nil {
		pause(ctx, d.pass(ctx))
	}
}

// page is what one list call showed.
type page struct {
	shown   int
	newest  []job.ID
	found   []job.ID
	reached bool // as far back as we want to see
}

// pass lists until it has reached far enough back, adopts what it found and
// says how long to wait for the next.
func (d *discovery) pass(ctx context.Context) (wait time.Duration) {
	for {
		var p page
		var err error
		var shut bool
		if d.w.crew.errand(ctx, func(hard context.Context) { p, shut, err = d.list(hard) }) != nil {
			return 0 // ctx ended
		}
		switch {
		case shut:
			return tick
		case err != nil:
			return d.failed(ctx, err)
		}
		if d.failures > 0 {
			d.w.o.Log.Warn(fmt.Sprintf("discovery: recovered after %d failures", d.failures))
			d.failures = 0
		}
		if !d.w.insist(ctx, p.found, job.SourceDiscover) {
			return 0
		}
		if !p.reached && p.shown >= d.size && d.size < mostPage {
			d.size = min(d.size*pageGrowth, mostPage)
			continue
		}
		d.marks = append(p.newest, d.marks...)
		d.marks = d.marks[:min(len(d.marks), maxMarks)]
		// Only as large as needed: twice what was new this time.
		d.size = min(max(2*len(p.found), leastPage), mostPage)
		return d.w.o.DiscoverEvery
	}
}

// list reads one page of the list.
func (d *discovery) list(ctx context.Context) (p page, shut bool, err error) {
	now := d.w.o.Now()
	shut, err = d.w.list(ctx, d.size, func(o job.Observation) bool {
		p.shown++
		clock := o.ServerTime
		if clock.IsZero() {
			clock = now
		}
		since := clock.Add(-d.w.o.DiscoverSince)
		// The list is in reverse order of creation, so that everything behind a
		// job that we have seen, or that is too old, is known or too old as well.
		if slices.Contains(d.marks, o.ID) || !o.CreatedAt.IsZero() && o.CreatedAt.Before(since) {
			p.reached = true
			return false
		}
		if len(p.newest) < maxMarks {
			p.newest = append(p.newest, o.ID)
		}
		if _, watched := d.w.Live(o.ID); !watched && adopts(&o, since) && d.w.o.DiscoverOnly.takes(&o) {
			p.found = append(p.found, o.ID)
		}
		return p.shown < d.size
	})
	return p, shut, err
}

// list makes one list call. shut: the gate did not let it pass.
func (w *Watcher) list(ctx context.Context, size int, yield func(job.Observation) bool) (shut bool, err error) {
	leave, ok := w.gate.admit(w.o.Now())
	if !ok {
		return true, nil
	}
	func() {
		defer func() {
			if r := recover(); r != nil {
				err = w.recovered("list", r)
			}
		}()
		err = w.o.Upstream.List(ctx, "", size, yield)
	}()
	at := w.o.Now()
	if err != nil && ctx.Err() != nil {
		w.gate.abandon(leave, at)
		return true, err
	}
	f := Failing{}
	if err != nil {
		f = classify(err)
	}
	w.o.Metrics.Poll("list", f.Reason, at)
	w.judge(leave, f, err, at)
	return false, err
}

// greet makes one request while there is nothing to look at, so that wrong
// credentials, or a wrong address, show at the start and not with the first job.
func (w *Watcher) greet(ctx context.Context) {
	for !w.gate.heard() && ctx.Err() == nil {
		pause(ctx, tick)
		if w.queue.size() > 0 || w.gate.heard() {
			continue // looks tell as well
		}
		if w.crew.errand(ctx, func(hard context.Context) {
			// What comes of it is the gate's to tell.
			_, _ = w.list(hard, 1, func(job.Observation) bool { return false })
		}) != nil {
			return // ctx ended
		}
	}
}

// DiscoverFilter says which of the jobs that the list shows are adopted. An
// empty part asks for nothing.
type DiscoverFilter struct {
	CreatedBy []string // one of these
	Sources   []string // one of these, in any case
	Query     string   // is in the query's text, in any case
}

func (f *DiscoverFilter) takes(o *job.Observation) bool {
	if len(f.CreatedBy) > 0 && !slices.Contains(f.CreatedBy, o.CreatedBy) {
		return false
	}
	if len(f.Sources) > 0 && !slices.ContainsFunc(f.Sources, func(s string) bool { return strings.EqualFold(s, o.SourceData) }) {
		return false
	}
	return f.Query == "" || strings.Contains(strings.ToLower(o.Query), strings.ToLower(f.Query))
}

// adopts reports whether a job is new enough. One of which Zuora does not say
// when it was made or changed is adopted while it runs: history is not flooded.
func adopts(o *job.Observation, since time.Time) bool {
	if o.ID == (job.ID{}) {
		return false
	}
	born := o.CreatedAt
	if born.IsZero() {
		born = o.UpdatedAt
	}
	if born.IsZero() {
		return o.Status.Outcome() == job.Undecided
	}
	return !born.Before(since)
}

// failed says so once, and how long to wait.
func (d *discovery) failed(ctx context.Context, err error) time.Duration {
	if d.failures == 0 && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		d.w.o.Log.Warn("discovery: the list cannot be read; tried again, slower and slower",
			zap.String("reason", string(classify(err).Reason)), zap.Error(err))
	}
	d.failures++
	every := d.w.o.DiscoverEvery
	return max(min(every<<min(d.failures-1, 10), slowest*every), classify(err).Hint)
}
