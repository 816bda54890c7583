package watcher

import "github.com/jobwatcher/jobwatcher/watcher/job"

// slot is a job.Watch without its one pointer: the status word is an index into
// a table. Contract section 10 allows 400 bytes a job in all; a slot has 120.
type slot struct {
	id          job.ID
	trackedAt   job.Instant
	deadlineAt  job.Instant
	abandonAt   job.Instant
	nextPollAt  job.Instant
	statusSince job.Instant
	deniedSince job.Instant
	startedAt   job.Instant
	eta         job.Instant
	shape       job.Shape
	intervalMS  int32
	polls       int32
	gen         uint32 // of the job in the slot: tells a ticket for its predecessor
	denied      uint16
	failures    uint16
	status      uint16
	cause       job.Cause
	reason      uint8
	phase       phase
	overdue     bool
	late        bool
	warned      bool
	used        bool
	hidden      uint8 // from pages of the list up to a size, see visible
}

func (s *slot) set(w *job.Watch, status uint16) {
	s.id, s.status = w.ID, status
	s.trackedAt, s.deadlineAt, s.abandonAt = w.TrackedAt, w.DeadlineAt, w.AbandonAt
	s.nextPollAt, s.statusSince, s.deniedSince = w.NextPollAt, w.StatusSince, w.DeniedSince
	s.intervalMS, s.polls = w.IntervalMS, w.Polls
	s.denied, s.failures, s.overdue = w.Denied, w.Failures, w.Overdue
	s.cause, s.reason = w.Cause, w.Reason
	s.startedAt, s.shape, s.late, s.warned, s.eta = w.StartedAt, w.Shape, w.Late, w.Warned, w.ETA
}

func (s *slot) watch(words *words) job.Watch {
	return job.Watch{
		ID: s.id, Status: words.status(s.status),
		TrackedAt: s.trackedAt, DeadlineAt: s.deadlineAt, AbandonAt: s.abandonAt,
		NextPollAt: s.nextPollAt, StatusSince: s.statusSince, DeniedSince: s.deniedSince,
		IntervalMS: s.intervalMS, Polls: s.polls, Denied: s.denied, Failures: s.failures,
		Overdue: s.overdue, Cause: s.cause, Reason: s.reason,
		StartedAt: s.startedAt, Shape: s.shape, Late: s.late, Warned: s.warned, ETA: s.eta,
	}
}

// pageSize is how many slots are made at a time: growing never copies, and a
// daemon with a handful of jobs has one page of 22 KB.
const pageSize = 256

// slots are pages of them, with a list of those that are free again.
type slots struct {
	pages [][]slot
	free  []int32
	next  int32  // the first that was never used
	gen   uint32 // counts allocations; never reset
}

func (p *slots) len() int32 { return p.next }

func (p *slots) at(i int32) *slot { return &p.pages[i/pageSize][i%pageSize] }

func (p *slots) alloc() int32 {
	i := p.next
	if n := len(p.free); n > 0 {
		i, p.free = p.free[n-1], p.free[:n-1]
	} else {
		if int(i/pageSize) == len(p.pages) {
			p.pages = append(p.pages, make([]slot, pageSize))
		}
		p.next++
	}
	p.gen++
	*p.at(i) = slot{gen: p.gen, used: true}
	return i
}

func (p *slots) release(i int32) {
	p.at(i).used = false
	p.free = append(p.free, i)
}

func (p *slots) reset() { *p = slots{gen: p.gen} }

// words gives each status word a number.
type words struct {
	known  []job.Status
	number map[job.Status]uint16
}

// maxWords bounds what an upstream that invents words can make us keep. Beyond
// it a word is stored with its job all the same, but counted and compared as
// the last one that fitted.
const maxWords = 4096

func (w *words) index(s job.Status) uint16 {
	if i, ok := w.number[s]; ok {
		return i
	}
	if w.number == nil {
		w.number = map[job.Status]uint16{}
	}
	if len(w.known) == maxWords {
		return maxWords - 1
	}
	i := uint16(len(w.known))
	w.known = append(w.known, s)
	w.number[s] = i
	return i
}

func (w *words) status(i uint16) job.Status { return w.known[i] }

// heap orders slots by due time. It is four-ary: half as deep as a binary one,
// and the four children share a cache line. Positions are kept so that any job
// can be taken out.
type heap struct {
	due  []job.Instant
	slot []int32
	pos  []int32 // by slot: where in the heap it is
}

const arity = 4

func (h *heap) min() (job.Instant, bool) {
	if len(h.due) == 0 {
		return 0, false
	}
	return h.due[0], true
}

// append adds without ordering; order mends everything at once.
func (h *heap) append(due job.Instant, slot int32) {
	for int(slot) >= len(h.pos) {
		h.pos = append(h.pos, 0)
	}
	h.due, h.slot = append(h.due, due), append(h.slot, slot)
	h.pos[slot] = int32(len(h.due) - 1)
}

func (h *heap) order() {
	for i := len(h.due)/arity + 1; i >= 0; i-- {
		if i < len(h.due) {
			h.down(i, h.due[i], h.slot[i])
		}
	}
}

func (h *heap) push(due job.Instant, slot int32) {
	h.append(due, slot)
	h.up(len(h.due)-1, due, slot)
}

func (h *heap) pop() int32 {
	slot := h.slot[0]
	h.remove(slot)
	return slot
}

// remove takes a slot out wherever it stands.
func (h *heap) remove(slot int32) {
	i, last := int(h.pos[slot]), len(h.due)-1
	due, moved := h.due[last], h.slot[last]
	h.due, h.slot = h.due[:last], h.slot[:last]
	if i == last {
		return
	}
	if i > 0 && due < h.due[(i-1)/arity] {
		h.up(i, due, moved)
		return
	}
	h.down(i, due, moved)
}

func (h *heap) put(i int, due job.Instant, slot int32) {
	h.due[i], h.slot[i], h.pos[slot] = due, slot, int32(i)
}

func (h *heap) up(i int, due job.Instant, slot int32) {
	for i > 0 {
		parent := (i - 1) / arity
		if h.due[parent] <= due {
			break
		}
		h.put(i, h.due[parent], h.slot[parent])
		i = parent
	}
	h.put(i, due, slot)
}

func (h *heap) down(i int, due job.Instant, slot int32) {
	for {
		first := i*arity + 1
		if first >= len(h.due) {
			break
		}
		child := first
		for c := first + 1; c < min(first+arity, len(h.due)); c++ {
			if h.due[c] < h.due[child] {
				child = c
			}
		}
		if h.due[child] >= due {
			break
		}
		h.put(i, h.due[child], h.slot[child])
		i = child
	}
	h.put(i, due, slot)
}

// count is how many are due at the instant. It visits no more than those and
// their children.
func (h *heap) count(at job.Instant) int {
	n, todo := 0, []int{0}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if i >= len(h.due) || h.due[i] > at {
			continue
		}
		n++
		for c := range arity {
			todo = append(todo, i*arity+1+c)
		}
	}
	return n
}
