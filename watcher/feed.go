package watcher

import (
	"sync"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// kept is how many notices are remembered for those who come back: some minutes
// of the busiest tenant.
const kept = 4096

// feed tells whoever looks on what happens to jobs here. It never waits for
// them: who is too slow has a gap, and is told so.
type feed struct {
	mu   sync.Mutex
	last uint64
	ring [kept]job.Notice
	more chan struct{} // closed by the next notice
}

func newFeed() *feed { return &feed{more: make(chan struct{})} }

func (f *feed) tell(at job.Instant, kind string, ids ...job.ID) {
	if len(ids) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.last++
		f.ring[f.last%kept] = job.Notice{N: f.last, At: at, Kind: kind, ID: id}
	}
	close(f.more)
	f.more = make(chan struct{})
}

// skip leaves a gap: something may have happened that we have not been told.
func (f *feed) skip() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last += kept + 1
	close(f.more)
	f.more = make(chan struct{})
}

// Notices are those after the n-th, at most limit of them, the number of the
// newest there is, and a channel that is closed when there are more. gap: some
// after the n-th are forgotten, or n is from another life of the process.
func (w *Watcher) Notices(after uint64, limit int) (notices []job.Notice, last uint64, gap bool, more <-chan struct{}) {
	f := w.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if after > f.last || f.last-after > kept {
		return nil, f.last, true, f.more
	}
	for n := after + 1; n <= f.last && len(notices) < limit; n++ {
		notices = append(notices, f.ring[n%kept])
	}
	return notices, f.last, false, f.more
}
