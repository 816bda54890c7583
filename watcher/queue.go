package watcher

import (
	"math"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// queue keeps the jobs that this replica owns, ordered by due time.
//
// A job costs one slot in a page, one entry in a heap and one in a map, none of
// them with a pointer in it, so that the garbage collector has nothing to scan
// however many jobs wait. The lock is held for single steps only, never across
// a wait.
type queue struct {
	mu    sync.Mutex
	slots slots
	index map[job.ID]int32
	heap  heap
	words words
	// counts are the watched jobs by status word, kept along so that a scrape
	// need not walk the queue.
	counts            []int
	overdue, expected int
	// alarm is when the loop will wake by itself; a job that is due before it
	// rings the bell.
	alarm job.Instant
	bell  chan struct{}
}

func newQueue() *queue {
	return &queue{index: map[job.ID]int32{}, alarm: math.MaxInt64, bell: make(chan struct{}, 1)}
}

// phase is where a slot's job is.
type phase uint8

const (
	waiting    phase = iota // in the heap
	loading                 // read from the store, not yet in the heap
	looking                 // in a worker's hands
	committing              // in the committer's hands
)

// ticket is one job taken out to be looked at. It stops being good when the job
// is untracked or the queue is cleared meanwhile: then every method that takes
// it back says so, and the result is dropped.
type ticket struct {
	slot   int32
	gen    uint32
	hidden uint8
	watch  job.Watch
}

// add puts jobs in that are not there yet and returns how many were.
func (q *queue) add(watches ...job.Watch) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for i := range watches {
		if slot, ok := q.insert(&watches[i], waiting); ok {
			q.push(slot, watches[i].NextPollAt)
			n++
		}
	}
	return n
}

// load is add without the heap; settle brings all that was loaded into it at once.
func (q *queue) load(watches []job.Watch) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for i := range watches {
		if _, ok := q.insert(&watches[i], loading); ok {
			n++
		}
	}
	return n
}

// settle brings loaded jobs into the heap. Those that are due, or planned
// absurdly late by a clock that was wrong, are spread over window(how many)
// from now.
func (q *queue) settle(now job.Instant, latest time.Duration, window func(n int) time.Duration, jitter func() float64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var fresh, stale []int32
	for i := range q.slots.len() {
		s := q.slots.at(i)
		if s.phase != loading {
			continue
		}
		fresh = append(fresh, i)
		if s.nextPollAt <= now || s.nextPollAt > now.Add(latest) {
			stale = append(stale, i)
		}
	}
	spread := float64(window(len(stale)).Milliseconds())
	for _, i := range stale {
		s := q.slots.at(i)
		s.nextPollAt, s.cause = now+job.Instant(spread*jitter()), job.CauseRestart
	}
	for _, i := range fresh {
		s := q.slots.at(i)
		s.phase = waiting
		q.heap.append(s.nextPollAt, i)
	}
	q.heap.order()
	q.ring()
}

// insert makes a slot for a job that has none.
func (q *queue) insert(w *job.Watch, p phase) (int32, bool) {
	if _, known := q.index[w.ID]; known {
		return 0, false
	}
	i := q.slots.alloc()
	s := q.slots.at(i)
	s.set(w, q.words.index(w.Status))
	s.phase = p
	q.index[w.ID] = i
	q.count(s, 1)
	return i, true
}

func (q *queue) push(slot int32, due job.Instant) {
	q.heap.push(due, slot)
	if due < q.alarm {
		q.ring()
	}
}

// ring wakes the loop.
func (q *queue) ring() {
	select {
	case q.bell <- struct{}{}:
	default:
	}
}

// take hands out the job that has been due longest, if the gate lets it pass.
// more says that another one is due as well; idle, that a worker is free for
// whatever comes next, so that the loop must wake for it.
func (q *queue) take(now time.Time, g *gate, idle bool) (t ticket, p pass, more, ok bool) {
	at := job.At(now)
	q.mu.Lock()
	defer q.mu.Unlock()
	if due, found := q.heap.min(); !found || due > at {
		return ticket{}, pass{}, false, false
	}
	if p, ok = g.admit(now); !ok {
		return ticket{}, pass{}, false, false
	}
	slot := q.heap.pop()
	s := q.slots.at(slot)
	s.phase = looking
	next, found := q.heap.min()
	if idle && found && next > at && next < q.alarm {
		q.ring()
	}
	return q.ticket(slot), p, found && next <= at, true
}

// rest is said by a worker that found nothing to do: it makes sure that the
// loop wakes for what comes next.
func (q *queue) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if next, found := q.heap.min(); found && next < q.alarm {
		q.ring()
	}
}

// sleep sets the alarm: to the next due time, not before the floor and not
// after the bound; to the bound when something is due already, because whoever
// becomes free will see it. due says that something is.
func (q *queue) sleep(now, floor, bound job.Instant) (alarm job.Instant, due bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	next, found := q.heap.min()
	next = max(next, floor)
	due = found && next <= now
	q.alarm = bound
	if found && !due {
		q.alarm = min(next, bound)
	}
	return q.alarm, due
}

// held finds the ticket's slot, when the job is still ours.
func (q *queue) held(t ticket) (*slot, bool) {
	if t.slot >= q.slots.len() {
		return nil, false
	}
	s := q.slots.at(t.slot)
	return s, s.gen == t.gen && s.used
}

// requeue puts a job back that goes on waiting.
func (q *queue) requeue(t ticket, w *job.Watch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	s, ok := q.held(t)
	if !ok {
		return false
	}
	q.update(s, w)
	s.phase, s.hidden = waiting, t.hidden
	q.push(t.slot, w.NextPollAt)
	return true
}

// park keeps a job out of the heap while its update is being committed.
func (q *queue) park(t ticket, w *job.Watch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	s, ok := q.held(t)
	if !ok {
		return false
	}
	q.update(s, w)
	s.phase, s.hidden = committing, t.hidden
	return true
}

func (q *queue) update(s *slot, w *job.Watch) {
	q.count(s, -1)
	s.set(w, q.words.index(w.Status))
	q.count(s, 1)
}

// good reports whether the ticket's job is still ours.
func (q *queue) good(t ticket) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.held(t)
	return ok
}

// finish forgets a job that a ticket was drawn for.
func (q *queue) finish(t ticket) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s, ok := q.held(t); ok {
		q.forget(s, t.slot)
	}
}

// remove forgets a job wherever it is; a look in the air is dropped when it lands.
func (q *queue) remove(id job.ID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	slot, ok := q.index[id]
	if ok {
		q.forget(q.slots.at(slot), slot)
	}
	return ok
}

func (q *queue) forget(s *slot, i int32) {
	q.count(s, -1)
	if s.phase == waiting {
		q.heap.remove(i)
	}
	delete(q.index, s.id)
	q.slots.release(i)
	if len(q.index) == 0 && q.slots.len() > pageSize {
		// A million jobs have ended: give their memory back.
		q.index, q.heap = map[job.ID]int32{}, heap{}
		q.slots.reset()
	}
}

// hurry makes a waiting job due at once.
func (q *queue) hurry(id job.ID, now job.Instant) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i, ok := q.index[id]
	if !ok {
		return false
	}
	s := q.slots.at(i)
	if s.phase == waiting && s.nextPollAt > now {
		q.heap.remove(i)
		s.nextPollAt, s.cause = now, job.CauseAsked
		q.push(i, now)
	}
	return true
}

// get shows a job, where it is, and from which pages it is hidden.
func (q *queue) get(id job.ID) (w job.Watch, p phase, hidden uint8, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i, ok := q.index[id]
	if !ok {
		return job.Watch{}, 0, 0, false
	}
	s := q.slots.at(i)
	return s.watch(&q.words), s.phase, s.hidden, true
}

// clear forgets everything; every ticket that is out becomes void.
func (q *queue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.index, q.heap, q.overdue, q.expected = map[job.ID]int32{}, heap{}, 0, 0
	clear(q.counts)
	q.slots.reset()
}

// backlog counts the jobs that are due.
func (q *queue) backlog(now job.Instant) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.heap.count(now)
}

// late is how long the job that has been due longest has been so.
func (q *queue) late(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	due, found := q.heap.min()
	if !found || due >= job.At(now) {
		return 0
	}
	return now.Sub(due.Time())
}

// shift moves every due time by d, after the clock was set back.
func (q *queue) shift(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	by := job.Instant(d.Milliseconds())
	for i := range q.heap.due {
		q.heap.due[i] += by
		q.slots.at(q.heap.slot[i]).nextPollAt += by
	}
	q.ring()
}

func (q *queue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.index)
}

// mostAsked is for how many jobs a scrape may ask each when it will end.
const mostAsked = 100_000

// watched counts the jobs by status and says how late they are.
func (q *queue) watched() (byStatus map[job.Status]int, late job.Lateness) {
	q.mu.Lock()
	defer q.mu.Unlock()
	byStatus = make(map[job.Status]int, len(q.counts))
	for i, n := range q.counts {
		if n != 0 {
			byStatus[q.words.status(uint16(i))] = n
		}
	}
	late = job.Lateness{Overdue: q.overdue, Expected: q.expected}
	for i := int32(0); i < q.slots.len() && q.slots.len() <= mostAsked; i++ {
		if s := q.slots.at(i); s.used {
			late.LastEnd = max(late.LastEnd, s.eta)
		}
	}
	return byStatus, late
}

func (q *queue) count(s *slot, n int) {
	for len(q.counts) <= int(s.status) {
		q.counts = append(q.counts, 0)
	}
	q.counts[s.status] += n
	if s.overdue {
		q.overdue += n
	}
	if s.late {
		q.expected += n
	}
}

// learn reports whether this is the first time that the status shows up.
func (q *queue) learn(s job.Status) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(q.words.known)
	q.words.index(s)
	return len(q.words.known) > before
}
