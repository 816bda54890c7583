package watcher

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// claim is this replica's right to act: under which id, and until when it may
// be believed without hearing from the store.
type claim struct {
	mu       sync.Mutex
	id       job.ReplicaID
	ready    chan struct{} // closed while registered
	lost     chan struct{} // closed when the claim has ended under us
	held     bool
	drained  chan struct{}
	draining bool
	until    time.Time
	// reload asks to read what we own again, because the store may hold jobs of
	// ours that the queue does not.
	reload chan struct{}
	// asked wants a heartbeat now, free a search for jobs that nobody owns.
	asked chan struct{}
	free  chan int
}

func newClaim(first job.ReplicaID) *claim {
	if first == "" {
		first = newReplicaID()
	}
	return &claim{
		id: first, ready: make(chan struct{}), lost: make(chan struct{}),
		drained: make(chan struct{}), reload: make(chan struct{}, 1),
		asked: make(chan struct{}, 1), free: make(chan int, 1),
	}
}

func newReplicaID() job.ReplicaID { return job.ReplicaID("rep_" + strings.ToLower(rand.Text())) }

// name is the id under which to register.
func (c *claim) name() job.ReplicaID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// rename takes another id for the next try: the one before may have been
// registered although we were told otherwise, and an id is registered once.
func (c *claim) rename() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id = newReplicaID()
}

// registered opens the claim: the store knows us.
func (c *claim) registered(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		c.held = true
		close(c.ready)
	}
	c.until = until
}

// renewed is a heartbeat that the store took.
func (c *claim) renewed(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = until
}

// believed reports whether nobody can have inherited our row yet.
func (c *claim) believed(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held && now.Before(c.until)
}

// lose ends the claim of that id, once.
func (c *claim) lose(id job.ReplicaID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id != id || !c.held {
		return
	}
	c.held = false
	close(c.lost)
	c.ready = make(chan struct{})
	c.id = newReplicaID()
}

// renew prepares for the next registration and returns what tells of its end.
func (c *claim) renew() (lost <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.lost:
		c.lost = make(chan struct{})
	default:
	}
	return c.lost
}

// drain ends intake for good.
func (c *claim) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining {
		c.draining = true
		close(c.drained)
	}
}

// current waits until there is a registered replica and names it.
func (c *claim) current(ctx context.Context) (job.ReplicaID, error) {
	for {
		c.mu.Lock()
		id, held, draining, ready := c.id, c.held, c.draining, c.ready
		c.mu.Unlock()
		switch {
		case draining:
			return "", job.ErrDraining
		case held:
			return id, nil
		}
		select {
		case <-ready:
		case <-c.drained:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// doubt says that the store may know more of our jobs than the queue does.
func (c *claim) doubt() { nudge(c.reload) }

// ask says that something has changed with the others: a heartbeat tells what.
func (c *claim) ask() { nudge(c.asked) }

// search says that there are jobs that nobody owns, and how many of them we
// should take.
func (c *claim) search(n int) {
	select {
	case c.free <- n:
	default:
	}
}

// nudge wakes whoever waits, once however often it is said.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Replica is the id under which this process is registered now; "" while it is
// not. It changes when the claim is lost.
func (w *Watcher) Replica() job.ReplicaID {
	w.claim.mu.Lock()
	defer w.claim.mu.Unlock()
	if !w.claim.held {
		return ""
	}
	return w.claim.id
}
