package notify

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// settler records attempts. Lanes hand it what they have, it stores all that
// waits in one transaction. While the store is away it keeps trying: what has
// been sent is not sent again meanwhile.
type settler struct {
	o *Options

	mu      sync.Mutex
	waiting []settlement
	closed  bool
	more    chan struct{}
}

type settlement struct {
	replica job.ReplicaID
	all     []job.Settlement
	done    chan struct{}
}

const (
	maxSettled    = 200
	settleTimeout = 10 * time.Second
	settleLeast   = 100 * time.Millisecond
	settleMost    = 5 * time.Second
)

func newSettler(o *Options) *settler { return &settler{o: o, more: make(chan struct{}, 1)} }

// settle returns when the settlements are durable, or given up with ctx: then
// the deliveries are sent again, under the same ids, by whoever inherits them.
func (s *settler) settle(_ context.Context, replica job.ReplicaID, all []job.Settlement) {
	one := settlement{replica, all, make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, one)
	s.mu.Unlock()
	s.nudge()
	<-one.done
}

func (s *settler) nudge() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// close says that nothing more comes.
func (s *settler) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.nudge()
}

// run stores until it is closed and nothing waits. When ctx ends, one last try
// is made for each.
func (s *settler) run(ctx context.Context) {
	for {
		batch, done := s.next()
		if done {
			return
		}
		if len(batch) == 0 {
			<-s.more
			continue
		}
		s.store(ctx, batch)
		for _, one := range batch {
			close(one.done)
		}
	}
}

// next takes what waits of one replica.
func (s *settler) next() (batch []settlement, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for len(s.waiting) > 0 && n < maxSettled && (n == 0 || s.waiting[0].replica == batch[0].replica) {
		batch = append(batch, s.waiting[0])
		n += len(s.waiting[0].all)
		s.waiting = s.waiting[1:]
	}
	return batch, s.closed && len(batch) == 0
}

func (s *settler) store(ctx context.Context, batch []settlement) {
	var all []job.Settlement
	for _, one := range batch {
		all = append(all, one.all...)
	}
	for n := 0; ; n++ {
		inner, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		err := s.o.Outbox.Settle(inner, batch[0].replica, all)
		cancel()
		switch {
		case err == nil:
			if n > 0 {
				s.o.Log.Warn("settle: recovered", zap.Int("count", n))
			}
			return
		case lostClaim(err):
			s.o.Metrics.ClaimLost()
			s.o.Log.Warn("claim lost: attempts are not recorded, another replica sends again under the same ids", zap.Int("count", len(all)))
			return
		case ctx.Err() != nil:
			s.o.Log.Error("settle: given up at the end; sent again under the same ids after the next start", zap.Error(err))
			return
		case n == 0:
			s.o.Log.Warn("settle: the store did not take it; kept in memory and tried again", zap.Error(err))
		}
		timer := time.NewTimer(min(settleLeast<<min(n, 10), settleMost))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}
