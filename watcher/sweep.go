package watcher

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// sweeps makes one list call answer for many jobs. There is at most one in the
// air; meanwhile jobs that it does not answer for are looked at as ever.
type sweeps struct {
	mu    sync.Mutex
	list  lister
	busy  bool
	drawn map[job.ID]ticket // kept from one to the next
}

// along is how much earlier than due a job may be taken along: a look that comes
// early costs nothing in a sweep, and detects no later.
func (p *Policy) along() time.Duration { return p.MaxInterval / 2 }

// sweep makes one if it is worth its call; false: it is not.
func (w *Watcher) sweep(ctx context.Context, now time.Time) bool {
	s := &w.sweeps
	s.mu.Lock()
	least, class := s.list.least(now), s.list.class
	if s.busy || least == 0 {
		s.mu.Unlock()
		return false
	}
	pass, ok := w.queue.gather(now, w.gate, w.o.Policy.along(), class, least, s.drawn)
	s.busy = ok
	s.mu.Unlock()
	if !ok {
		return false
	}
	result, left := w.page(ctx, pass, class, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.drawn)
	s.busy = false
	if !left {
		s.list.learn(result, w.o.Now())
	}
	return true
}

// page makes the list call and looks at each watched job on it. left: we broke
// it off ourselves, so that it taught nothing.
func (w *Watcher) page(ctx context.Context, p pass, class int, sent time.Time) (r swept, left bool) {
	drawn := w.sweeps.drawn
	for _, t := range drawn {
		w.o.Metrics.PollLag(max(sent.Sub(t.watch.NextPollAt.Time()), 0))
	}
	r.class = class
	err := w.listed(ctx, pageSizes[class], func(o job.Observation) bool {
		r.shown++
		r.bytes += perElement + len(o.Query)
		t, due := drawn[o.ID]
		if due {
			delete(drawn, o.ID)
			r.found, r.deepest = r.found+1, r.shown
		} else if t, due = w.queue.draw(o.ID); !due {
			return true
		} else {
			t.watch.IntervalMS = w.o.Policy.before(t.watch.IntervalMS)
		}
		w.saw(ctx, t, &o)
		return len(drawn) > 0
	})
	at := w.o.Now()
	if err != nil && ctx.Err() != nil {
		w.gate.abandon(p, at)
		return r, true
	}
	if err != nil {
		r.fault = classify(err)
	}
	if r.fault.Reason == job.ReasonForbidden || r.fault.Reason == job.ReasonNotFound {
		r.fault.TenantWide = false // the list may be forbidden to those who may see single jobs
	}
	w.o.Metrics.Poll("list", r.fault.Reason, at)
	w.judge(p, r.fault, err, at)
	r.missed = len(drawn)
	for _, t := range drawn {
		mark := t.hidden
		if err == nil {
			mark = r.hidden()
		}
		// Absence proves nothing: it is asked for by itself.
		w.queue.giveBack(t, mark)
	}
	if ce := w.o.Log.Check(zap.DebugLevel, "sweep"); ce != nil {
		ce.Write(zap.Int("count", r.shown), zap.Duration("took", at.Sub(sent)), zap.String("reason", string(r.fault.Reason)), zap.Error(err))
	}
	return r, false
}

// listed is the list call; a panic in it is the sweep's fault and nobody else's.
func (w *Watcher) listed(ctx context.Context, size int, yield func(job.Observation) bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = w.recovered("sweep", r)
		}
	}()
	return w.o.Upstream.List(ctx, job.Unseen, size, yield)
}

// why is how a job is looked at, for explain.
func (s *sweeps) why(hidden uint8, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list.why(hidden, now)
}

// saw is what look does with an answer, for a job on a page.
func (w *Watcher) saw(ctx context.Context, t ticket, o *job.Observation) {
	defer func() {
		if r := recover(); r != nil {
			w.queue.giveBack(t, t.hidden) // the job is watched on, whatever is wrong with us
			panic(r)
		}
	}()
	at := w.o.Now()
	d := Decide(t.watch, *o, nil, at, w.o.Policy)
	if d.Unknown {
		w.unknown(t.watch.ID, d.Watch.Status)
	}
	t.hidden = 0
	if !d.Save() {
		w.queue.requeue(t, &d.Watch)
		return
	}
	kept := *o
	w.settle(ctx, t, &d, &kept, true, at)
}

// before is the interval that grows to this one: a job that is seen before it
// was due must not be looked at less often for it.
func (p *Policy) before(interval int32) int32 {
	if interval <= int32(p.InitialInterval.Milliseconds()) {
		return 0
	}
	return int32(float64(interval) / p.Multiplier)
}
