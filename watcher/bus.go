package watcher

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Bus carries notes between the replicas that share a store. It only makes
// things quicker: whatever a note says is found without it, some seconds later.
type Bus interface {
	// Tell tells all others; Listen calls heard for each note, ready as soon as
	// none is missed, until ctx ends or the connection breaks.
	Tell(ctx context.Context, n job.Note) error
	Listen(ctx context.Context, ready func(), heard func(job.Note)) error
}

const (
	// tellEvery gathers what happens in a moment into one note; tellTimeout
	// bounds sending it.
	tellEvery   = 50 * time.Millisecond
	tellTimeout = 5 * time.Second
	// mostUntold is how much may wait to be told. Beyond, it is not told at all.
	mostUntold = 10_000
	// listenAgain is how long after a broken connection we listen anew.
	listenAgain = 2 * time.Second
)

// outbox gathers what the others are to be told.
type outbox struct {
	mu   sync.Mutex
	kept []job.Note
	ids  int
	more chan struct{}
}

func newOutbox() *outbox { return &outbox{more: make(chan struct{}, 1)} }

// add never waits. Notes of one kind that follow each other become one.
func (o *outbox) add(n job.Note) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids+len(n.IDs) > mostUntold {
		return
	}
	o.ids += len(n.IDs)
	if last := len(o.kept) - 1; last >= 0 && o.kept[last].Kind == n.Kind {
		o.kept[last].IDs = append(o.kept[last].IDs, n.IDs...)
	} else {
		o.kept = append(o.kept, n)
	}
	select {
	case o.more <- struct{}{}:
	default:
	}
}

func (o *outbox) take() []job.Note {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.kept
	o.kept, o.ids = nil, 0
	return all
}

// happened tells those who look on, here and at the other replicas.
func (w *Watcher) happened(at job.Instant, kind string, ids ...job.ID) {
	w.feed.tell(at, kind, ids...)
	w.say(job.Note{Kind: kind, At: at, IDs: ids})
}

func (w *Watcher) say(n job.Note) {
	if w.o.Bus != nil {
		w.outbox.add(n)
	}
}

// talk tells the others what is to be told, until ctx ends.
func (w *Watcher) talk(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-w.outbox.more:
		case <-ctx.Done():
			return
		}
		pause(ctx, tellEvery)
		for _, n := range w.outbox.take() {
			n.From = w.Replica()
			inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
			if err := w.o.Bus.Tell(inner, n); err != nil {
				w.o.Log.Debug("the other replicas were not told", zap.Error(err))
			}
			cancel()
		}
	}
}

// listen heeds the others' notes, until ctx ends. What was missed while the
// connection was broken shows those who look on as a gap.
func (w *Watcher) listen(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		err := w.o.Bus.Listen(ctx, func() {
			if n > 0 {
				w.feed.skip()
				w.claim.ask()
			}
		}, w.heed)
		if ctx.Err() == nil {
			w.o.Log.Debug("the other replicas cannot be heard", zap.Error(err))
			pause(ctx, listenAgain)
		}
	}
}

// heed does what another replica's note asks for.
func (w *Watcher) heed(n job.Note) {
	if n.From != "" && n.From == w.Replica() {
		return
	}
	switch n.Kind {
	case job.NoteFree:
		w.claim.ask()
	case job.NotePoll:
		for _, id := range n.IDs {
			w.queue.hurry(id, job.At(w.o.Now()))
		}
	case job.KindUntracked:
		for _, id := range n.IDs {
			w.queue.remove(id)
			w.ends.close(id)
		}
		w.feed.tell(n.At, n.Kind, n.IDs...)
	case job.KindFinished:
		for _, id := range n.IDs {
			w.ends.close(id)
		}
		w.feed.tell(n.At, n.Kind, n.IDs...)
	case job.KindTracked, job.KindStatus, job.KindOverdue, job.KindWarned:
		w.feed.tell(n.At, n.Kind, n.IDs...)
	}
}
