package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

func (p *process) client() *apiclient.Client {
	p.t.Helper()
	c, err := apiclient.New(p.url(), secret.Source{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

// submit makes jobs at the tenant that end by themselves.
func (w *world) submit(n int, runTime time.Duration) []job.ID {
	ids := make([]job.ID, n)
	for i := range ids {
		ids[i] = w.tenant.Submit(zuorasim.Spec{RunTime: runTime, Outcome: job.Completed, Unlimited: true})
	}
	return ids
}

// announced waits until every job has been announced to both receivers and
// then checks that repeats carry the same id, and that there are at most so
// many of them.
func (w *world) announced(ids []job.ID, repeats int) {
	w.t.Helper()
	eventually(w.t, "every end announced to both receivers", func() bool {
		return !slices.ContainsFunc(ids, func(id job.ID) bool { return len(w.ends(id)) == 0 || w.chats(id) == 0 })
	})
	extra := 0
	for _, id := range ids {
		ends := w.ends(id)
		extra += len(ends) - 1
		if distinct := slices.Compact(slices.Sorted(slices.Values(ends))); len(distinct) != 1 {
			w.t.Errorf("job %s was announced under the ids %v", id, distinct)
		}
	}
	if extra > repeats {
		w.t.Errorf("%d repeats, allowed are %d", extra, repeats)
	}
}

// Contract section 9, 1 to 3: whatever was acknowledged survives a kill at
// every commit point, before it ("failed and not stored") and after it ("failed
// but stored"), and repeats have the same webhook-id.
func TestNothingIsLostWhenKilledAtAnyCommitPoint(t *testing.T) {
	for _, operation := range []string{"track", "commit", "claim", "settle"} {
		for _, moment := range []string{"before", "after"} {
			for _, n := range []int{1, 2} {
				plan := fmt.Sprintf("%s:%s:%d", operation, moment, n)
				t.Run(plan, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, zuorasim.Options{Seed: uint64(n)})
					refused := 0
					if n == 2 && (operation == "claim" || operation == "settle") {
						// The webhook's receiver refuses a third of the messages, early,
						// so that none is refused a third time and waits for a minute.
						refused = 2
						w.hook.Script(notifytest.Step{Status: 500}, notifytest.Step{}, notifytest.Step{Status: 500})
					}
					ids := w.submit(6, 400*time.Millisecond)
					first := start(t, w.vars(nil), "verify", "daemon", "--crash", plan)
					c := first.client()
					var tracked []job.ID
					for _, id := range ids {
						ctx, cancel := context.WithTimeout(t.Context(), testPatience)
						if _, err := c.Track(ctx, id, apiclient.Item{}); err == nil {
							tracked = append(tracked, id) // acknowledged: from now on it may not be lost
						}
						cancel()
					}
					if code := first.exit(); code != -1 {
						t.Fatalf("exit code %d, want a kill", code)
					}
					second := start(t, w.vars(nil))
					for _, id := range ids {
						if !slices.Contains(tracked, id) {
							track(t, second.client(), id, apiclient.Item{}) // its owner got no answer and asks again
						}
					}
					// What may be repeated is what one claim had in the air, and what
					// was refused.
					w.announced(ids, len(ids)+refused)
					owed := second.client()
					eventually(t, "nothing owed any more", func() bool {
						all, _, err := owed.Deliveries(t.Context(), nil, 100, "")
						return err == nil && len(all) == 2*len(ids) &&
							!slices.ContainsFunc(all, func(d job.DeliveryView) bool { return d.State != job.DeliveryDelivered })
					})
					second.signal(syscall.SIGTERM)
					if code := second.exit(); code != 0 {
						t.Errorf("exit code %d after SIGTERM, want 0", code)
					}
					if stats := w.tenant.Stats(); stats.PollsAfterEnd > int64(len(ids)) {
						t.Errorf("%d polls of jobs whose end had been told", stats.PollsAfterEnd)
					}
				})
			}
		}
	}
}

func TestNothingIsLostWhenKilledAtRandom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, zuorasim.Options{Seed: 7})
	w.hook.Then(notifytest.Step{Delay: 30 * time.Millisecond})
	ids := w.submit(40, 1500*time.Millisecond)
	kills := 0
	for i, id := range ids {
		if i%10 == 0 {
			p := start(t, w.vars(nil))
			c := p.client()
			for _, one := range ids[i : i+10] {
				track(t, c, one, apiclient.Item{})
			}
			_ = id
			<-time.After(time.Duration(150+100*kills) * time.Millisecond)
			p.signal(syscall.SIGKILL)
			p.exit()
			kills++
		}
	}
	p := start(t, w.vars(nil))
	// At most what was in the air at each kill: the lane's sends.
	w.announced(ids, 8*kills)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}
