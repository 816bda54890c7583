package watcher

import (
	"fmt"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Mode says how jobs are looked at (JOBWATCHER_POLL_MODE).
type Mode string

// The modes of contract section 3. "" is ModeGet.
const (
	ModeAuto Mode = "auto" // sweeps where they cost less, polls elsewhere
	ModeGet  Mode = "get"  // polls only
	ModeList Mode = "list" // sweeps first always
)

// pageSizes are the pages that a sweep asks for: from Zuora's default to its
// maximum (zuora-facts.md section 3).
var pageSizes = [...]int{20, 50, 100, 200, 500, 1000}

const (
	// worthSweeping is how many jobs one list call must answer for to cost less
	// than asking for each: the call is one of the tenant's budget either way
	// (performance.md: from two jobs that run together on).
	worthSweeping = 2
	// largePage is how much text a page may hold before the next is smaller: one
	// query may have 1,000,000 characters (zuora-facts.md section 2).
	largePage = 4 << 20
	// perElement is what an element of the list has beside its query, about.
	perElement = 512
	// unseenAnywhere marks a job that no page shows.
	unseenAnywhere = 255
)

// How long no sweep is made after one that failed, doubling with each more.
const (
	leastSweepPause = 30 * time.Second
	mostSweepPause  = 10 * time.Minute
)

// lister is what is known of the tenant's list. It has no clock and no I/O.
type lister struct {
	mode  Mode
	class int // index into pageSizes: what the next sweep asks for
	most  int // the largest class that the tenant gives, and we can take
	// After a sweep that failed: not before until, why, how many in a row.
	until  time.Time
	reason job.Reason
	failed int
}

func newLister(mode Mode) lister { return lister{mode: mode, most: len(pageSizes) - 1} }

// least is how many jobs must be due, or nearly, for a sweep at that time;
// zero when there may be none.
func (l *lister) least(now time.Time) int {
	switch {
	case l.mode != ModeAuto && l.mode != ModeList, now.Before(l.until):
		return 0
	case l.mode == ModeList:
		return 1
	}
	return worthSweeping
}

// size is how many jobs the next sweep asks for.
func (l *lister) size() int { return pageSizes[l.class] }

// swept is what came of a sweep.
type swept struct {
	class int
	shown int // elements on the page
	bytes int // their size, about
	// Of the jobs that were due, found are on the page, the last of them at the
	// place deepest, counted from 1; missed are not on it.
	found, missed int
	deepest       int
	fault         Failing
}

// full reports whether there may be jobs behind the page.
func (s *swept) full() bool { return s.shown >= pageSizes[s.class] }

// learn chooses the next page: larger when jobs have fallen off it, smaller when
// it is mostly of no use or too large to carry. A refused list is left alone for
// a while, and tried with a smaller page.
func (l *lister) learn(s swept, at time.Time) {
	if s.fault.Reason != job.NoReason {
		pause := min(leastSweepPause<<min(l.failed, 10), mostSweepPause)
		if s.fault.Reason == job.ReasonForbidden {
			pause = mostSweepPause
		}
		l.failed++
		l.reason, l.until = s.fault.Reason, at.Add(max(pause, s.fault.Hint))
		if !meansTenant(s.fault) && s.class > 0 {
			// Perhaps only the size is refused: 400 is all that the list says.
			l.class, l.most = s.class-1, s.class-1
		}
		return
	}
	l.failed, l.reason, l.until = 0, job.NoReason, time.Time{}
	if s.bytes > largePage && s.class > 0 {
		l.class, l.most = s.class-1, s.class-1
		return
	}
	switch {
	case s.missed >= worthSweeping && s.full() && s.class < l.most:
		l.class = s.class + 1
	case s.found < worthSweeping && s.missed > 0:
		// It cost a call and spared none: the jobs are elsewhere.
		l.until = at.Add(leastSweepPause)
	case s.missed == 0 && s.class > 0 && s.deepest+s.deepest/4 < pageSizes[s.class-1]:
		l.class = s.class - 1
	}
}

// hidden is the mark of a job that a page did not show: it takes part in larger
// ones only, or in none when the page showed all there is.
func (s *swept) hidden() uint8 {
	if s.full() {
		return uint8(s.class + 1)
	}
	return unseenAnywhere
}

// visible reports whether a job with that mark may be on a page of that class.
func visible(mark uint8, class int) bool { return int(mark) <= class }

// why is how the job with that mark is looked at, for explain.
func (l *lister) why(mark uint8, now time.Time) string {
	switch {
	case l.mode != ModeAuto && l.mode != ModeList:
		return "asked for by itself (JOBWATCHER_POLL_MODE is get)"
	case now.Before(l.until) && l.reason == job.NoReason:
		return "asked for by itself: the list showed too few of the jobs that were due, and is left alone for a moment"
	case now.Before(l.until):
		return fmt.Sprintf("asked for by itself: the list failed (%s) and is tried again at %s", l.reason, job.At(l.until))
	case mark == unseenAnywhere:
		return "asked for by itself: the list does not show it"
	case !visible(mark, l.class):
		return fmt.Sprintf("asked for by itself: it is not among the newest %d jobs, which one list call shows", l.size())
	case l.mode == ModeList:
		return fmt.Sprintf("by one list call for all on a page of %d", l.size())
	}
	return fmt.Sprintf("by one list call (a page of %d) when another job is due about then, else by itself", l.size())
}
