package verify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Crash kills its own process, as a power cut would, at the nth call of one of
// the store's operations: before it ("failed and not stored") or after it
// ("failed but stored").
type Crash struct {
	operation string
	after     bool
	n         int64
	seen      atomic.Int64
}

// ParseCrash reads operation:before|after:n; operations are track, commit,
// claim and settle.
func ParseCrash(plan string) (*Crash, error) {
	parts := strings.Split(plan, ":")
	if len(parts) != 3 || !slices.Contains(CrashPoints(), parts[0]+":"+parts[1]+":1") {
		return nil, fmt.Errorf("crash point %q, allowed are track|commit|claim|settle:before|after:n", plan)
	}
	n, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("crash point %q: %q is not a number from 1", plan, parts[2])
	}
	return &Crash{operation: parts[0], after: parts[1] == "after", n: n}, nil
}

func (c *Crash) around(operation string, do func()) {
	if operation != c.operation || c.seen.Add(1) != c.n {
		do()
		return
	}
	if c.after {
		do()
	}
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

// Watcher puts the crash into what the watcher writes through.
func (c *Crash) Watcher(o *watcher.Options) { o.Store = &crashStore{o.Store, c} }

// Dispatcher puts it into what the dispatcher writes through.
func (c *Crash) Dispatcher(o *notify.Options) { o.Outbox = &crashOutbox{o.Outbox, c} }

type crashStore struct {
	watcher.Store
	crash *Crash
}

func (s *crashStore) Track(ctx context.Context, r job.ReplicaID, items []job.Tracking) (isNew []bool, err error) {
	s.crash.around("track", func() { isNew, err = s.Store.Track(ctx, r, items) })
	return isNew, err
}

func (s *crashStore) Commit(ctx context.Context, r job.ReplicaID, updates []job.Update) (results []error, err error) {
	s.crash.around("commit", func() { results, err = s.Store.Commit(ctx, r, updates) })
	return results, err
}

type crashOutbox struct {
	notify.Outbox
	crash *Crash
}

// ClaimDeliveries counts claims that found something when it crashes after
// them: an empty one is no commit point.
func (o *crashOutbox) ClaimDeliveries(ctx context.Context, r job.ReplicaID, destination string, limit int) (claimed []job.Outgoing, next job.Instant, err error) {
	do := func() { claimed, next, err = o.Outbox.ClaimDeliveries(ctx, r, destination, limit) }
	if !o.crash.after {
		o.crash.around("claim", do)
		return claimed, next, err
	}
	if do(); len(claimed) > 0 {
		o.crash.around("claim", func() {})
	}
	return claimed, next, err
}

func (o *crashOutbox) Settle(ctx context.Context, r job.ReplicaID, settled []job.Settlement) (err error) {
	o.crash.around("settle", func() { err = o.Outbox.Settle(ctx, r, settled) })
	return err
}
