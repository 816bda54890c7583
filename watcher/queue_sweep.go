package watcher

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// ticket is for a job that is taken out of the heap.
func (q *queue) ticket(i int32) ticket {
	s := q.slots.at(i)
	return ticket{slot: i, gen: s.gen, hidden: s.hidden, watch: s.watch(&q.words)}
}

// maxSearched bounds how many jobs are asked whether they could be swept before
// there are enough of them: among a million that no page shows, the answer is no.
const maxSearched = 256

// gather takes out the jobs that a page of that class may show and that are due,
// or nearly, if there are at least so many and one of them is due now. A job
// that is being denied is left to be asked for by itself: only that can tell.
func (q *queue) gather(now time.Time, g *gate, along time.Duration, class, least int, into map[job.ID]ticket) (pass, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at, soon := job.At(now), job.At(now.Add(along))
	if due, found := q.heap.min(); !found || due > at {
		return pass{}, false
	}
	var found []int32
	due, searched := false, 0
	q.heap.each(soon, func(i int32, when job.Instant) bool {
		searched++
		if s := q.slots.at(i); visible(s.hidden, class) && s.denied == 0 {
			found = append(found, i)
			due = due || when <= at
		}
		return len(found) < pageSizes[class] && (searched < maxSearched || len(found) >= least)
	})
	if len(found) < least || !due {
		return pass{}, false
	}
	p, ok := g.admit(now)
	if !ok {
		return pass{}, false
	}
	for _, i := range found {
		q.heap.remove(i)
		q.slots.at(i).phase = looking
		t := q.ticket(i)
		into[t.watch.ID] = t
	}
	return p, true
}

// yield lets go of up to n jobs that wait, those that are due last, and names
// them.
func (q *queue) yield(n int) []job.ID {
	q.mu.Lock()
	defer q.mu.Unlock()
	// The second half of a heap holds no job that is due before all others.
	n = min(n, len(q.heap.slot))
	ids := make([]job.ID, 0, n)
	for range n {
		i := q.heap.slot[len(q.heap.slot)-1]
		s := q.slots.at(i)
		ids = append(ids, s.id)
		q.forget(s, i)
	}
	return ids
}

// draw takes out one job if it waits.
func (q *queue) draw(id job.ID) (ticket, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i, ok := q.index[id]
	if !ok {
		return ticket{}, false
	}
	s := q.slots.at(i)
	if s.phase != waiting {
		return ticket{}, false
	}
	q.heap.remove(i)
	s.phase = looking
	return q.ticket(i), true
}

// giveBack puts a job back as it was, hidden from pages with that mark.
func (q *queue) giveBack(t ticket, mark uint8) {
	t.hidden = mark
	q.requeue(t, &t.watch)
}

// each visits what is due until the instant, earlier ones before the later ones
// that they stand above, as long as yield says so.
func (h *heap) each(until job.Instant, yield func(slot int32, due job.Instant) bool) {
	for todo := []int{0}; len(todo) > 0; {
		i := todo[0]
		todo = todo[1:]
		if i >= len(h.due) || h.due[i] > until {
			continue
		}
		if !yield(h.slot[i], h.due[i]) {
			return
		}
		for c := range arity {
			todo = append(todo, i*arity+1+c)
		}
	}
}
