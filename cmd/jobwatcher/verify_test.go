package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/verify"
	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// mutations break the daemon, each in one place, as a careless change might. If
// verify does not notice, it is verify that is broken.
var mutations = map[string]hooks{
	"":                                 {},
	"an acknowledged job is forgotten": ofStore(func(s *mutant) { s.forget = every(4) }),
	"an event is left out of its transaction":   ofStore(func(s *mutant) { s.event = func(u *job.Update) { u.Event, u.Destinations = nil, nil } }),
	"an event has a random id":                  ofStore(func(s *mutant) { s.event = func(u *job.Update) { u.Event.ID += time.Now().Format("150405.000") } }),
	"an event's time is ours and not Zuora's":   ofStore(func(s *mutant) { s.event = func(u *job.Update) { u.Event.Time = job.At(time.Now().Add(time.Second)) } }),
	"one of three destinations is forgotten":    ofStore(func(s *mutant) { s.event = func(u *job.Update) { u.Destinations = u.Destinations[1:] } }),
	"half of the jobs are not read at a start":  ofStore(func(s *mutant) { s.owned = every(2) }),
	"a 404 is believed at once":                 ofUpstream(notFoundAtOnce),
	"a failed look fails the job":               ofUpstream(failedLookFails),
	"cancelled counts as failed":                ofUpstream(cancelledFails),
	"rows are made up":                          ofUpstream(rowsMadeUp),
	"a job is asked for twice at a time":        ofUpstream(askTwice),
	"a delivery is settled before it is sent":   ofSender(func(s *mutantSender) { s.skip = every(5) }),
	"a failed delivery is not tried again":      ofOutbox(func(s *job.Settlement) bool { s.State = job.DeliveryDelivered; return true }),
	"what was delivered is not always recorded": ofOutbox(func() func(*job.Settlement) bool { n := every(4); return func(*job.Settlement) bool { return !n() } }()),
	"messages are signed with another secret": {notify: func(o *notify.Options) {
		inner := o.NewSender
		o.NewSender = func(d notify.Destination) (notify.Sender, error) {
			if d.Webhook != nil {
				w := *d.Webhook
				w.Secrets = []secret.Source{secret.Fixed(secret.New("whsec_c29tZXRoaW5nIGVsc2UgZW50aXJlbHksIDMyIGJ5dGVz"))}
				d.Webhook = &w
			}
			return inner(d)
		}
	}},
	"a secret is logged": {watcher: func(*watcher.Options) {
		fmt.Fprintln(os.Stderr, "starting with", os.Getenv("ZUORA_CLIENT_SECRET"))
	}},
}

// every says yes at each nth call.
func every(n int64) func() bool {
	var calls atomic.Int64
	return func() bool { return calls.Add(1)%n == 0 }
}

// mutant is a store that does not do what it was told.
type mutant struct {
	watcher.Store
	forget, owned func() bool
	event         func(*job.Update)
}

func ofStore(change func(*mutant)) hooks {
	return hooks{watcher: func(o *watcher.Options) {
		m := &mutant{Store: o.Store}
		change(m)
		o.Store = m
	}}
}

func (m *mutant) Track(ctx context.Context, r job.ReplicaID, items []job.Tracking) ([]bool, error) {
	isNew, err := m.Store.Track(ctx, r, items)
	if err == nil && m.forget != nil && m.forget() {
		time.AfterFunc(200*time.Millisecond, func() { _ = m.Untrack(context.WithoutCancel(ctx), items[0].Tenant, items[0].ID) })
	}
	return isNew, err
}

func (m *mutant) Owned(ctx context.Context, r job.ReplicaID, tenant string, yield func(job.Watch) error) error {
	return m.Store.Owned(ctx, r, tenant, func(w job.Watch) error {
		if m.owned != nil && m.owned() {
			return nil
		}
		return yield(w)
	})
}

func (m *mutant) Commit(ctx context.Context, r job.ReplicaID, updates []job.Update) ([]error, error) {
	for i := range updates {
		if u := &updates[i]; m.event != nil && u.Event != nil {
			m.event(u)
		}
	}
	return m.Store.Commit(ctx, r, updates)
}

// mutantUpstream changes what a look says.
type mutantUpstream struct {
	watcher.Upstream
	get func(ctx context.Context, get getter, id job.ID) (job.Observation, error)
}

type getter func(context.Context, job.ID) (job.Observation, error)

func ofUpstream(get func(context.Context, getter, job.ID) (job.Observation, error)) hooks {
	return hooks{watcher: func(o *watcher.Options) { o.Upstream = mutantUpstream{o.Upstream, get} }}
}

func (u mutantUpstream) Get(ctx context.Context, id job.ID) (job.Observation, error) {
	return u.get(ctx, u.Upstream.Get, id)
}

func failedWith(err error, reasons ...job.Reason) bool {
	var f watcher.Fault
	return errors.As(err, &f) && slices.Contains(reasons, f.FaultReason())
}

func notFoundAtOnce(ctx context.Context, get getter, id job.ID) (job.Observation, error) {
	seen, err := get(ctx, id)
	if failedWith(err, job.ReasonNotFound, job.ReasonForbidden) {
		return job.Observation{ID: id, Status: job.Cancelled}, nil
	}
	return seen, err
}

func failedLookFails(ctx context.Context, get getter, id job.ID) (job.Observation, error) {
	seen, err := get(ctx, id)
	if failedWith(err, job.ReasonServer, job.ReasonMalformed, job.ReasonRateLimited) {
		return job.Observation{ID: id, Status: job.Failed}, nil
	}
	return seen, err
}

func cancelledFails(ctx context.Context, get getter, id job.ID) (job.Observation, error) {
	seen, err := get(ctx, id)
	if seen.Status == job.Cancelled {
		seen.Status = job.Failed
	}
	return seen, err
}

func rowsMadeUp(ctx context.Context, get getter, id job.ID) (job.Observation, error) {
	seen, err := get(ctx, id)
	if seen.OutputRows != nil {
		*seen.OutputRows++
	}
	return seen, err
}

func askTwice(ctx context.Context, get getter, id job.ID) (job.Observation, error) {
	var other sync.WaitGroup
	other.Go(func() { _, _ = get(ctx, id) })
	defer other.Wait()
	return get(ctx, id)
}

// mutantSender says that it has sent what it has not.
type mutantSender struct {
	notify.Sender
	skip func() bool
}

func ofSender(change func(*mutantSender)) hooks {
	return hooks{notify: func(o *notify.Options) {
		inner := o.NewSender
		o.NewSender = func(d notify.Destination) (notify.Sender, error) {
			sender, err := inner(d)
			s := &mutantSender{Sender: sender}
			change(s)
			return s, err
		}
	}}
}

func (s *mutantSender) Send(ctx context.Context, batch []job.Outgoing) (notify.Answer, error) {
	if s.skip() {
		return notify.Answer{Code: 200}, nil
	}
	return s.Sender.Send(ctx, batch)
}

// mutantOutbox changes what is recorded of an attempt, or forgets it.
type mutantOutbox struct {
	notify.Outbox
	keep func(*job.Settlement) bool
}

func ofOutbox(keep func(*job.Settlement) bool) hooks {
	return hooks{notify: func(o *notify.Options) { o.Outbox = &mutantOutbox{o.Outbox, keep} }}
}

func (m *mutantOutbox) Settle(ctx context.Context, r job.ReplicaID, settled []job.Settlement) error {
	var kept []job.Settlement
	for _, s := range settled {
		if m.keep(&s) {
			kept = append(kept, s)
		}
	}
	return m.Outbox.Settle(ctx, r, kept)
}

// shortPlan has what the mutations stumble over, in a few seconds.
func shortPlan() *verify.Plan {
	p := verify.MakePlan(3, 4*time.Second, 24, verify.Abilities{})
	p.Mode = "get" // most mutations are of single looks
	ms := time.Millisecond
	p.Steps = []verify.Step{
		{At: 500 * ms, For: 400 * ms, Kind: verify.Refusing, Target: "loader"},
		{At: 700 * ms, For: 300 * ms, Kind: verify.Missing},
		{At: 1200 * ms, For: 300 * ms, Kind: verify.Slow},
		{At: 1300 * ms, For: 400 * ms, Kind: verify.Refusing, Target: "audit"},
		{At: 1600 * ms, Kind: verify.Kill},
		{At: 2300 * ms, For: 300 * ms, Kind: verify.Down},
		{At: 3400 * ms, Kind: verify.Kill},
	}
	p.Crashes = nil
	for i := range p.Jobs {
		p.Jobs[i].Late, p.Jobs[i].Erased = false, false
		p.Jobs[i].RunTime = time.Duration(300+60*i) * ms
		p.Jobs[i].Outcome = []job.Status{job.Completed, job.Cancelled, job.Failed}[i%3]
	}
	return &p
}

// verifyWith runs verify on a daemon with that mutation in it.
func verifyWith(t *testing.T, mutation string, patience time.Duration) (*verify.Report, error) {
	t.Helper()
	return verify.Run(t.Context(), verify.Options{
		Seed: 3, Plan: shortPlan(), Patience: patience,
		Env: []string{asMain + "=1", mutatedBy + "=" + mutation},
		Command: func(string) *exec.Cmd {
			return exec.Command(os.Args[0]) //nolint:noctx // verify ends it itself
		},
	})
}

func reportText(r *verify.Report) string {
	var text strings.Builder
	r.WriteText(&text)
	return text.String()
}

func TestVerifyFindsNothingWrongWithTheDaemonAsItIs(t *testing.T) {
	t.Parallel()
	r, err := verifyWith(t, "", 2*testPatience)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Passed {
		t.Errorf("%s\n%s", reportText(r), strings.Join(r.LogTail, "\n"))
	}
	if r.Jobs != 24 || r.Lives < 3 || r.Messages < 48 {
		t.Errorf("it has not done what it says:\n%s", reportText(r))
	}
}

func TestVerifyNoticesEveryMutation(t *testing.T) {
	t.Parallel()
	// More of them at a time than there are processors: they mostly wait.
	places := make(chan struct{}, 6)
	var all sync.WaitGroup
	for mutation := range mutations {
		if mutation == "" {
			continue
		}
		all.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			// What happens depends on the machine's speed too: on a slow one, a
			// fault may meet nobody in whom the mutation shows.
			var r *verify.Report
			for range 3 {
				var err error
				if r, err = verifyWith(t, mutation, 5*time.Second); err != nil {
					t.Errorf("%s: %v", mutation, err)
					return
				}
				if !r.Passed {
					return
				}
			}
			t.Errorf("%s: not noticed in three runs\n%s", mutation, reportText(r))
		})
	}
	all.Wait()
}
