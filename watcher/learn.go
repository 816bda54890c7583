package watcher

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/forecast"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// mostShapes bounds what is kept in memory: about 30 KB for each.
	mostShapes = 256
	// freshFor is how long a history is used before it is read again: other
	// replicas add to it too. It is read earlier when it has grown by a tenth.
	freshFor    = 10 * time.Minute
	freshGrowth = 10
	// spared protects a history that has just been used from being replaced.
	spared = time.Minute
	// learnTimeout bounds one read, learnPause the next try after a failed one.
	learnTimeout = 10 * time.Second
	learnPause   = time.Minute
)

// histories keeps what past runs teach, for the shapes that are being watched.
// Whoever asks gets what is there; what is missing or old is read by one
// goroutine, so that no look waits for the store.
type histories struct {
	mu     sync.Mutex
	known  map[job.Shape]*learned
	wanted []job.Shape
	more   chan struct{}
}

// learned is one history, and when it is to be read again.
type learned struct {
	history *forecast.History
	used    time.Time
	until   time.Time
	asked   bool
	ended   int // runs that have ended since
}

func newHistories() *histories {
	return &histories{known: map[job.Shape]*learned{}, more: make(chan struct{}, 1)}
}

// of is what is known of a shape; it never waits.
func (h *histories) of(s job.Shape, now time.Time) *forecast.History {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.known[s]
	if l == nil {
		if l = h.place(s, now); l == nil {
			return nil
		}
	}
	l.used = now
	if !l.asked && !now.Before(l.until) {
		l.asked = true
		h.wanted = append(h.wanted, s)
		select {
		case h.more <- struct{}{}:
		default:
		}
	}
	return l.history
}

// place makes room for a shape: that of the one that has not been used for
// longest, unless all of them are in use.
func (h *histories) place(s job.Shape, now time.Time) *learned {
	if len(h.known) >= mostShapes {
		var oldest job.Shape
		var l *learned
		for shape, k := range h.known {
			if l == nil || k.used.Before(l.used) {
				oldest, l = shape, k
			}
		}
		if now.Sub(l.used) < spared {
			return nil
		}
		delete(h.known, oldest)
	}
	h.known[s] = &learned{}
	return h.known[s]
}

// ended notes that a run has ended here, so that the history has grown.
func (h *histories) ended(s job.Shape) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.known[s]; l != nil {
		if l.ended++; l.history == nil || l.ended*freshGrowth >= l.history.Runs() {
			l.until = time.Time{}
		}
	}
}

func (h *histories) next() (job.Shape, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.wanted) == 0 {
		return 0, false
	}
	s := h.wanted[0]
	h.wanted = h.wanted[1:]
	return s, true
}

func (h *histories) put(s job.Shape, history *forecast.History, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.known[s]
	if l == nil {
		return // replaced meanwhile
	}
	l.asked, l.until = false, until
	if history != nil {
		l.history, l.ended = history, 0
	}
}

// missing are those of the shapes that have not been read yet.
func (h *histories) missing(shapes []job.Shape) (missing []job.Shape) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range shapes {
		if l := h.known[s]; s != 0 && (l == nil || l.history == nil) {
			missing = append(missing, s)
		}
	}
	return missing
}

// learn reads histories that are asked for, until ctx ends.
func (w *Watcher) learn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.histories.more:
		}
		for ctx.Err() == nil {
			s, ok := w.histories.next()
			if !ok {
				break
			}
			w.study(ctx, s)
		}
	}
}

// study reads one history and learns from it. A failure leaves what is known as
// it is: looks go on by that, or by the backoff.
func (w *Watcher) study(ctx context.Context, s job.Shape) {
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	runs, err := w.o.Store.Runs(ctx, w.o.Tenant, s, forecast.Most)
	if err != nil {
		w.o.Log.Debug("past runs could not be read", zap.Error(err))
		w.histories.put(s, nil, w.o.Now().Add(learnPause))
		return
	}
	p := &w.o.Policy
	history := forecast.Learn(runs, forecast.Backoff{Initial: p.InitialInterval, Max: p.MaxInterval, Multiplier: p.Multiplier})
	w.histories.put(s, history, w.o.Now().Add(freshFor))
}

// unusual says what is unusual about each job that has completed, and reads the
// histories that takes; without one only an empty result is.
func (w *Watcher) unusual(ctx context.Context, changes []*change) {
	var shapes []job.Shape
	for _, c := range changes {
		if c.completed() {
			shapes = append(shapes, c.update.Shape)
		}
	}
	for _, s := range w.histories.missing(distinct(shapes)) {
		w.histories.of(s, w.o.Now()) // makes its place
		w.study(ctx, s)
	}
	for _, c := range changes {
		if c.completed() {
			seen := c.update.Seen
			run := job.Run{Took: c.update.Took, Processing: seen.ProcessingTime, Rows: seen.OutputRows, Completed: true}
			c.update.Anomaly = w.o.Policy.history(c.update.Shape).Anomaly(run)
		}
	}
}

func (c *change) completed() bool {
	return c.update.Outcome == job.OutcomeCompleted && c.update.Seen != nil && !c.built
}
