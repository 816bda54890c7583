package verify

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// step makes one fault and ends it.
func (p *performance) step(ctx context.Context, step Step) {
	pause(ctx, time.Until(p.began.Add(step.At)))
	if ctx.Err() != nil {
		return
	}
	p.o.Tell(step.String())
	p.mu.Lock()
	p.counts[step.Kind]++
	p.mu.Unlock()
	from, hits := time.Now(), p.stage.hits()
	undo := p.begin(ctx, step)
	pause(ctx, step.For)
	if slices.Contains(tenantKinds, step.Kind) && !slices.Contains(harmless, step.Kind) {
		p.awaitHit(ctx, hits)
	}
	undo()
	p.mu.Lock()
	defer p.mu.Unlock()
	d := Disturbance{step.Kind, from, time.Now().Add(afterwards)}
	switch e := &p.evidence; {
	case slices.Contains(disturbing, step.Kind):
		e.Disturbances = append(e.Disturbances, d)
	case step.Kind == ClockAhead, step.Kind == ClockBehind:
		e.Jumps = append(e.Jumps, d)
	}
}

// harmless are the tenant's faults that hit no request of themselves.
var harmless = []Kind{Revoked, ClockAhead, ClockBehind}

// hitLimit is how long a fault of the tenant goes on when nobody has met it: a
// fault that meets nobody tests nothing. It ends with the first who does.
const hitLimit = 1500 * time.Millisecond

func (p *performance) awaitHit(ctx context.Context, before int64) {
	for limit := time.Now().Add(hitLimit); ctx.Err() == nil && p.stage.hits() == before && time.Now().Before(limit); {
		pause(ctx, 10*time.Millisecond)
	}
}

// disturbing faults can fall between sending and recording; ends of the daemon
// do too, and are known better from its lives.
var disturbing = []Kind{Freeze, FullDisk, CutStore}

// afterwards is how long a disturbance may still be felt: what was in the air
// is sent again after the attempt's own limits.
const afterwards = time.Second

func (p *performance) begin(ctx context.Context, step Step) (undo func()) {
	switch step.Kind {
	case Kill:
		p.daemon.signal(syscall.SIGKILL)
	case Stop:
		p.daemon.signal(syscall.SIGTERM)
	case Freeze:
		p.daemon.signal(syscall.SIGSTOP)
		return func() { p.daemon.signal(syscall.SIGCONT) }
	case FullDisk, CutStore:
		undo, err := p.below.do(ctx, step.Kind)
		if err != nil {
			p.o.Tell(fmt.Sprintf("%s: could not be done: %v", step.Kind, err))
		}
		return undo
	default:
		return p.stage.do(step)
	}
	return func() {}
}
