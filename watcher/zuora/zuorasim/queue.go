package zuorasim

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// record is one job as the tenant keeps it. Instants are Unix nanoseconds of
// Options.Now, but for updated, which is by Zuora's own clock.
type record struct {
	id     job.ID
	query  string
	text   string // errorMessage, once failed
	file   string // dataFile, when a test gave one
	status job.Status
	owner  *account

	created, accepted, started, updated, ended int64

	runTime    int64      // from started; negative: for ever
	attempt    int64      // length of one attempt
	processing int64      // milliseconds, negative: absent
	rows       int64      // negative: absent
	fate       job.Status // how it will end

	// What callers have seen: GETs, places in lists, GETs after the end had been
	// shown, and when that was.
	polls, listed, late uint32
	seenEnd             int64

	version   uint32 // raised by every change, so that older events miss
	source    source
	remaining int8 // remainingRetries
	retries   int8 // failed attempts still to come
	free      bool // takes no slot
	slot      bool // holds a running slot
	queued    bool // holds a queued place
	indexJoin bool
	gone      bool
}

// source is a lane of its own with limits of its own.
type source uint8

const (
	live source = iota
	warehouse
)

func (s source) String() string { return [...]string{"LIVE", "WAREHOUSE"}[s] }

// lane is the queue of one source.
type lane struct {
	Queue
	running, queued int
	waiting         []*record // accepted, in the order of acceptance
}

func (l *lane) full() bool { return l.Queued >= 0 && l.queued >= l.Queued }

// event is something that happens to a job at an instant of its own, whoever
// looks and whenever.
type event struct {
	at      int64
	seq     uint64 // keeps equal instants in order
	job     *record
	version uint32
	do      step
}

type step uint8

const (
	stepAccept step = iota
	stepQueue
	stepAttempt
	stepEnd
	stepArrive
)

type agenda []event

func (a *agenda) Len() int { return len(*a) }

// Less implements [sort.Interface].
func (a *agenda) Less(i, j int) bool {
	x, y := &(*a)[i], &(*a)[j]
	return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.seq, y.seq)) < 0
}

// Swap implements [sort.Interface].
func (a *agenda) Swap(i, j int) { (*a)[i], (*a)[j] = (*a)[j], (*a)[i] }

// Push implements [heap.Interface].
func (a *agenda) Push(x any) {
	if e, ok := x.(event); ok {
		*a = append(*a, e)
	}
}

// Pop implements [heap.Interface].
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	(*a)[last] = event{}
	*a = (*a)[:last]
	return e
}

// book holds the jobs and moves them along.
type book struct {
	o      *Options
	skew   time.Duration
	byID   map[job.ID]*record
	order  []*record // by creation, oldest first
	lanes  [2]lane
	agenda agenda
	seq    uint64
	drawn  uint64 // jobs drawn so far
	first  *account
	arrive *rand.Rand
}

// at schedules a step of a job.
func (b *book) at(when int64, do step, r *record) {
	b.seq++
	e := event{at: when, seq: b.seq, job: r, do: do}
	if r != nil {
		e.version = r.version
	}
	heap.Push(&b.agenda, e)
}

// advance lets everything happen that is due at now, each thing at its own time.
func (b *book) advance(now time.Time) {
	for len(b.agenda) > 0 && b.agenda[0].at <= now.UnixNano() {
		e, _ := heap.Pop(&b.agenda).(event)
		if e.job != nil && (e.job.gone || e.job.version != e.version) {
			continue
		}
		switch e.do {
		case stepAccept:
			b.accept(e.job, e.at)
			b.at(e.at+int64(b.o.StartAfter), stepQueue, e.job)
		case stepQueue:
			b.enqueue(e.job, e.at)
		case stepAttempt:
			e.job.remaining--
			e.job.retries--
			b.set(e.job, job.InProgress, e.at)
			b.next(e.job, e.at)
		case stepEnd:
			b.finish(e.job, e.job.fate, e.at)
		case stepArrive:
			b.arrival(e.at)
		}
	}
	b.forgetOld(now)
}

// set changes a job's status; what was scheduled for it before is void.
func (b *book) set(r *record, s job.Status, at int64) {
	r.status = s
	r.updated = at + int64(b.skew)
	r.version++
}

func (b *book) accept(r *record, at int64) {
	b.set(r, job.Accepted, at)
	r.accepted = at
}

func (b *book) enqueue(r *record, at int64) {
	if r.free {
		b.start(r, at)
		return
	}
	l := &b.lanes[r.source]
	l.waiting = append(l.waiting, r)
	b.promote(r.source, at)
}

// promote starts waiting jobs while there are slots.
func (b *book) promote(s source, at int64) {
	l := &b.lanes[s]
	for len(l.waiting) > 0 && (l.Running < 0 || l.running < l.Running) {
		r := l.waiting[0]
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		if r.gone || r.status != job.Accepted {
			continue // cancelled while it waited
		}
		l.running++
		r.slot = true
		b.start(r, at)
	}
}

func (b *book) start(r *record, at int64) {
	b.leaveQueue(r)
	b.set(r, job.InProgress, at)
	r.started = at
	b.next(r, at)
}

// next schedules what follows: a failed attempt, or the end.
func (b *book) next(r *record, at int64) {
	switch {
	case r.runTime < 0:
	case r.retries > 0:
		b.at(at+r.attempt, stepAttempt, r)
	default:
		b.at(max(at, r.started+r.runTime), stepEnd, r)
	}
}

// finish ends a job and gives its slot to the next.
func (b *book) finish(r *record, s job.Status, at int64) {
	b.leaveQueue(r)
	b.set(r, s, at)
	r.ended = at
	if s == job.Completed && r.started != 0 {
		r.processing = (at - r.started) / int64(time.Millisecond)
	}
	b.leaveSlot(r, at)
}

func (b *book) leaveQueue(r *record) {
	if r.queued {
		r.queued = false
		b.lanes[r.source].queued--
	}
}

func (b *book) leaveSlot(r *record, at int64) {
	if r.slot {
		r.slot = false
		b.lanes[r.source].running--
		b.promote(r.source, at)
	}
}

// add files a job by its creation; of two of one instant the later is newer.
func (b *book) add(r *record) {
	if old := b.byID[r.id]; old != nil {
		b.drop(old, r.created)
	}
	b.byID[r.id] = r
	if n := len(b.order); n == 0 || b.order[n-1].created <= r.created {
		b.order = append(b.order, r)
		return
	}
	i, _ := slices.BinarySearchFunc(b.order, r.created+1, func(x *record, at int64) int { return cmp.Compare(x.created, at) })
	b.order = slices.Insert(b.order, i, r)
}

// drop makes the tenant forget a job.
func (b *book) drop(r *record, at int64) {
	r.gone = true
	b.leaveQueue(r)
	b.leaveSlot(r, at)
	delete(b.byID, r.id)
	// Its place in order is skipped by readers, and swept when half are gone.
	if len(b.order) > 64 && len(b.byID) < len(b.order)/2 {
		b.order = slices.DeleteFunc(b.order, func(r *record) bool { return r.gone })
	}
}

// forgetOld erases what is older than the retention, jobs that still run excepted.
func (b *book) forgetOld(now time.Time) {
	before := now.Add(-b.o.Retention).UnixNano()
	for _, r := range b.order {
		if r.created >= before {
			break
		}
		if !r.gone && r.ended != 0 {
			r.gone = true
			delete(b.byID, r.id)
		}
	}
	for len(b.order) > 0 && b.order[0].gone {
		b.order[0] = nil
		b.order = b.order[1:]
	}
}

// sighted notes that the end of these jobs has been told to somebody.
func (b *book) sighted(now time.Time, ids []job.ID) {
	for _, id := range ids {
		if r := b.byID[id]; r != nil && r.seenEnd == 0 {
			r.seenEnd = now.UnixNano()
		}
	}
}
