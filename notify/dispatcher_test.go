package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/time/rate"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = "rest.zuora.com"

// receiver is one destination's other end: a Sender that does what answer says.
type receiver struct {
	answer func(ctx context.Context, n int, batch []job.Outgoing) (notify.Answer, error)
	lane   notify.LaneOptions
	on     []string
	match  []notify.Matcher

	mu    sync.Mutex
	calls int
	seen  map[string]int // event ids that were taken, how often
	at    []time.Time
	sizes []int
}

func (r *receiver) Lane() notify.LaneOptions { return r.lane }

func (r *receiver) Send(ctx context.Context, batch []job.Outgoing) (notify.Answer, error) {
	r.mu.Lock()
	r.calls++
	n := r.calls
	r.at, r.sizes = append(r.at, time.Now()), append(r.sizes, len(batch))
	r.mu.Unlock()
	answer, err := notify.Answer{Code: 200, Head: "ok"}, error(nil)
	if r.answer != nil {
		answer, err = r.answer(ctx, n, batch)
	}
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i := range batch {
			r.seen[batch[i].Event.ID]++
		}
	}
	return answer, err
}

// called is how often it was asked.
func (r *receiver) called() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

func (r *receiver) taken() (n, repeats int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, times := range r.seen {
		n++
		repeats += times - 1
	}
	return n, repeats
}

// house is a store and a dispatcher in virtual time.
type house struct {
	t         *testing.T
	store     *store.Store
	d         *notify.Dispatcher
	receivers map[string]*receiver
	logs      *observer.ObservedLogs
	stop      func()
	jobs      int
}

func newHouse(t *testing.T, outbox func(notify.Outbox) notify.Outbox, policy notify.Policy, receivers map[string]*receiver) *house {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite:"+t.TempDir()+"/jobs.db", store.Options{Now: time.Now, NoLock: true})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	h := &house{t: t, store: s, receivers: receivers, logs: logs}
	if err := s.Register(t.Context(), job.Replica{ID: "one"}, time.Minute, true); err != nil {
		t.Fatal(err)
	}
	var all []notify.Destination
	for name, r := range receivers {
		r.seen = map[string]int{}
		all = append(all, notify.Destination{Name: name, On: r.on, Match: r.match, Webhook: &notify.WebhookConfig{}})
	}
	slices.SortFunc(all, func(a, b notify.Destination) int { return int(a.Name[0]) - int(b.Name[0]) })
	box := notify.Outbox(s)
	if outbox != nil {
		box = outbox(s)
	}
	if policy.Jitter == nil {
		policy.Jitter = func() float64 { return 0 }
	}
	h.d, err = notify.NewDispatcher(notify.Options{
		Outbox: box, Replica: func() job.ReplicaID { return "one" }, Tenant: tenant, Destinations: all, Policy: policy, Log: zap.New(core),
		Counts: func() (map[string]map[job.DeliveryState]int64, error) {
			counts, _, err := s.DeliveryStats()
			return counts, err
		},
		NewSender: func(d notify.Destination) (notify.Sender, error) { return receivers[d.Name], nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.d.Run(ctx) }()
	h.stop = func() { cancel(); <-done }
	return h
}

// close drains, checks the whole database and closes it.
func (h *house) close() {
	h.t.Helper()
	h.stop()
	storetest.CheckInvariants(h.t, h.store, tenant)
	if err := h.store.Close(); err != nil {
		h.t.Error(err)
	}
}

// finish has n jobs end, told to every destination.
func (h *house) finish(n int) {
	h.t.Helper()
	names := h.d.Route(job.Event{Type: job.EventCompleted})
	var items []job.Tracking
	var updates []job.Update
	now := job.At(time.Now())
	for range n {
		h.jobs++
		id := job.ID{0: 1, 14: byte(h.jobs >> 8), 15: byte(h.jobs)}
		items = append(items, job.Tracking{Spec: job.Spec{ID: id}, Tenant: tenant, TrackedAt: now, Source: job.SourceAPI})
		e := job.Event{
			ID: job.EventID(tenant, id.String(), job.EventCompleted), Type: job.EventCompleted, Tenant: tenant, Subject: id.String(),
			JobID: id, Time: now, CreatedAt: now, Data: h.snapshot(id),
		}
		updates = append(updates, job.Update{
			Tenant: tenant, ID: id, At: now, Status: job.Completed, Outcome: job.OutcomeCompleted, FinishedAt: now, Event: &e, Destinations: names,
		})
	}
	if _, err := h.store.Track(h.t.Context(), "one", items); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.store.Commit(h.t.Context(), "one", updates); err != nil {
		h.t.Fatal(err)
	}
	h.d.Wake(names...)
}

// snapshot is the data of a job's event.
func (h *house) snapshot(id job.ID) json.RawMessage {
	h.t.Helper()
	j := job.Job{ID: id, Tenant: tenant, State: job.Finished, Outcome: job.OutcomeCompleted, Labels: job.Labels{"team": "finance"}}
	data, err := json.Marshal(map[string]any{"job": j.View()})
	if err != nil {
		h.t.Fatal(err)
	}
	return data
}

func (h *house) states(destination string) map[job.DeliveryState]int {
	h.t.Helper()
	ds, _, err := h.store.Deliveries(h.t.Context(), job.DeliveryFilter{Destination: destination, Limit: 1000})
	if err != nil {
		h.t.Fatal(err)
	}
	got := map[job.DeliveryState]int{}
	for i := range ds {
		got[ds[i].State]++
	}
	return got
}

func refuse(code int, after time.Duration) (notify.Answer, error) {
	reason, _ := notify.ClassifyStatus(code, nil, time.Now())
	return notify.Answer{Code: code, Head: "no"}, &notify.SendError{Reason: reason, RetryAfter: after, Err: fmt.Errorf("status %d", code)}
}

func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // virtual time
	synctest.Wait()
}

func TestEveryEventReachesEveryDestinationOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &receiver{}, &receiver{}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a, "b": b})
		defer h.close()
		h.finish(50)
		pass(time.Second)
		for name, r := range h.receivers {
			if n, repeats := r.taken(); n != 50 || repeats != 0 {
				t.Errorf("%s: took %d with %d repeats, want 50 and none", name, n, repeats)
			}
			if got := h.states(name); got[job.DeliveryDelivered] != 50 {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

func TestFailedAttemptsFollowTheScheduleAndAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, int, []job.Outgoing) (notify.Answer, error) { return refuse(500, 0) }}
		h := newHouse(t, nil, notify.Policy{HoldAfter: 1000}, map[string]*receiver{"a": r})
		defer h.close()
		began := time.Now()
		h.finish(1)
		pass(25 * time.Hour)
		var got []time.Duration
		for _, at := range r.at {
			got = append(got, at.Sub(began).Round(time.Second))
		}
		want := []time.Duration{
			0, 5 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
			14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		}
		if !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v (contract section 6)", got, want)
		}
		ds, _, err := h.store.Deliveries(t.Context(), job.DeliveryFilter{})
		if err != nil || len(ds) != 1 || ds[0].State != job.DeliveryExhausted || len(ds[0].Attempts) != 11 ||
			ds[0].Attempts[0].Reason != job.ReasonServer || ds[0].Attempts[0].Answer != "no" || ds[0].Attempts[0].Code != 500 {
			t.Errorf("ledger: %+v, %v", ds, err)
		}
	})
}

func TestGoneReceiverIsPausedAndItsDeliveriesHeldUntilResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := true
		r := &receiver{answer: func(context.Context, int, []job.Outgoing) (notify.Answer, error) {
			if gone {
				return refuse(410, 0)
			}
			return notify.Answer{Code: 200}, nil
		}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": r})
		defer h.close()
		h.finish(1)
		pass(time.Second)
		h.finish(2)
		pass(48 * time.Hour)
		views, err := h.d.Views(t.Context())
		if err != nil || !views[0].Paused || views[0].PausedBy != "gone" || r.called() != 1 || h.states("a")[job.DeliveryHeld] != 3 {
			t.Errorf("after 410: %+v, %v, %d calls, %v", views, err, r.called(), h.states("a"))
		}
		gone = false
		if err := h.d.Resume(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if got := h.states("a"); got[job.DeliveryDelivered] != 3 {
			t.Errorf("after resume: %v", got)
		}
	})
}

func TestRetryAfterStopsTheWholeDestinationAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{answer: func(_ context.Context, n int, _ []job.Outgoing) (notify.Answer, error) {
			if n == 1 {
				return refuse(429, time.Hour)
			}
			return notify.Answer{Code: 200}, nil
		}}
		b := &receiver{}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a, "b": b})
		defer h.close()
		h.finish(1)
		pass(time.Second)
		h.finish(20)
		pass(59 * time.Minute)
		if n, _ := b.taken(); a.called() != 1 || n != 21 {
			t.Errorf("within the hour: %d calls to a, want 1; b took %d, want 21", a.called(), n)
		}
		pass(2 * time.Minute)
		if n, _ := a.taken(); n != 21 {
			t.Errorf("after the hour a took %d, want 21", n)
		}
	})
}

func TestSlowReceiverDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &receiver{answer: func(context.Context, int, []job.Outgoing) (notify.Answer, error) {
			pass15()
			return notify.Answer{Code: 200}, nil
		}}
		fast := &receiver{}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"s": slow, "f": fast})
		defer h.close()
		for range 20 {
			h.finish(10)
			began := time.Now()
			for n, want := 0, h.jobs; n < want; n, _ = fast.taken() {
				if time.Since(began) > 100*time.Millisecond {
					t.Fatalf("the fast one waits behind the slow one: %d of %d after %s", n, want, time.Since(began))
				}
				pass(time.Millisecond)
			}
			pass(time.Second)
		}
	})
}

// pass15 is a receiver's slowness, just below our patience.
func pass15() { time.Sleep(14 * time.Second) } //nolint:forbidigo // virtual time

func TestReceiverThatHangsIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(ctx context.Context, n int, _ []job.Outgoing) (notify.Answer, error) {
			if n > 1 {
				return notify.Answer{Code: 200}, nil
			}
			<-ctx.Done()
			return notify.Answer{}, ctx.Err()
		}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": r})
		defer h.close()
		h.finish(1)
		pass(time.Minute)
		ds, _, err := h.store.Deliveries(t.Context(), job.DeliveryFilter{})
		if err != nil || ds[0].Attempts[0].Reason != job.ReasonTimeout || ds[0].Attempts[0].Took != notify.SendTimeout || ds[0].State != job.DeliveryDelivered {
			t.Errorf("ledger: %+v, %v", ds, err)
		}
	})
}

func TestFailingDestinationIsHeldProbedAndResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		down := true
		r := &receiver{answer: func(context.Context, int, []job.Outgoing) (notify.Answer, error) {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return refuse(503, 0)
			}
			return notify.Answer{Code: 200}, nil
		}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": r})
		defer h.close()
		h.finish(40)
		pass(2 * time.Hour)
		views, err := h.d.Views(t.Context())
		if err != nil || !views[0].Paused || views[0].PausedBy != "failing" {
			t.Fatalf("after two hours: %+v, %v", views, err)
		}
		calls := r.called()
		pass(4 * time.Hour)
		if got := h.states("a"); got[job.DeliveryExhausted] != 0 || got[job.DeliveryHeld] != 40 {
			t.Errorf("held ones must not run out: %v", got)
		}
		if probes := r.called() - calls; probes < 4*12-3 || probes > 4*12+3 {
			t.Errorf("probes in four hours: got %d, want about one every five minutes", probes)
		}
		mu.Lock()
		down = false
		mu.Unlock()
		pass(10 * time.Minute)
		if got := h.states("a"); got[job.DeliveryDelivered] != 40 {
			t.Errorf("after recovery: %v", got)
		}
	})
}

// Jobs go on ending while their receiver is away for a day. When it is back,
// everything gets there, and until then all of it can be seen waiting.
func TestReceiverThatIsAwayForADayMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(24 * time.Hour)
		away := &receiver{answer: func(context.Context, int, []job.Outgoing) (notify.Answer, error) {
			if time.Now().Before(back) {
				return notify.Answer{}, &notify.SendError{Reason: job.ReasonNetwork, Err: errors.New("connection refused")}
			}
			return notify.Answer{Code: 200}, nil
		}}
		other := &receiver{}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": away, "b": other})
		defer h.close()
		for range 23 {
			h.finish(5)
			pass(time.Hour)
			if n, _ := other.taken(); n != h.jobs {
				t.Fatalf("the one that is there took %d of %d", n, h.jobs)
			}
			got := h.states("a")
			if waiting := got[job.DeliveryHeld] + got[job.DeliveryPending]; waiting != h.jobs {
				t.Fatalf("of %d jobs that ended: %v, want all of them waiting", h.jobs, got)
			}
		}
		if calls := away.called(); calls > 24*12+100 {
			t.Errorf("asked %d times while away, want a probe every five minutes", calls)
		}
		pass(time.Until(back) + 10*time.Minute)
		if n, repeats := away.taken(); n != h.jobs || repeats != 0 {
			t.Errorf("back again it took %d with %d repeats, want %d and none: %v", n, repeats, h.jobs, h.states("a"))
		}
	})
}

func TestSlackPaceFoldsWhatWaitsIntoOneMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{lane: notify.LaneOptions{Batch: 100, Limiter: rate.NewLimiter(rate.Every(time.Second), 1)}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": r})
		defer h.close()
		for range 10 {
			h.finish(100)
			pass(time.Second)
		}
		pass(60 * time.Second)
		if n, repeats := r.taken(); n != 1000 || repeats != 0 {
			t.Errorf("took %d with %d repeats, want 1000 and none", n, repeats)
		}
		for i := 1; i < len(r.at); i++ {
			if gap := r.at[i].Sub(r.at[i-1]); gap < time.Second-time.Millisecond {
				t.Errorf("messages %d and %d are %s apart, want a second", i, i+1, gap)
			}
		}
	})
}

func TestPanicInASenderIsThatAttemptsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(_ context.Context, n int, _ []job.Outgoing) (notify.Answer, error) {
			if n == 1 {
				panic("boom")
			}
			return notify.Answer{Code: 200}, nil
		}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": r})
		defer h.close()
		h.finish(1)
		pass(time.Minute)
		ds, _, err := h.store.Deliveries(t.Context(), job.DeliveryFilter{})
		if err != nil || ds[0].State != job.DeliveryDelivered || ds[0].Attempts[0].Reason != job.ReasonInternal {
			t.Errorf("ledger: %+v, %v", ds, err)
		}
	})
}

// shaky fails operations: "failed and not stored", or "failed but stored".
type shaky struct {
	notify.Outbox
	mu     sync.Mutex
	before int // settles that fail before they are stored
	after  int // settles that fail after
}

var errStore = errors.New("the store is away")

func (s *shaky) Settle(ctx context.Context, replica job.ReplicaID, all []job.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before > 0 {
		s.before--
		return errStore
	}
	err := s.Outbox.Settle(ctx, replica, all)
	if s.after > 0 {
		s.after--
		return errStore
	}
	return err
}

// unclaimed is an outbox whose claims are read and then not stored, as on a disk
// that is full: what they return with the error is nobody's to send.
type unclaimed struct {
	notify.Outbox
	until time.Time
}

func (u *unclaimed) ClaimDeliveries(ctx context.Context, replica job.ReplicaID, name string, limit int) ([]job.Outgoing, job.Instant, error) {
	if time.Now().Before(u.until) {
		return []job.Outgoing{{Event: job.Event{ID: "evt_unclaimed"}}}, 0, errStore
	}
	return u.Outbox.ClaimDeliveries(ctx, replica, name, limit)
}

func TestNothingIsSentWhoseClaimIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{}
		wrap := func(o notify.Outbox) notify.Outbox { return &unclaimed{Outbox: o, until: time.Now().Add(time.Minute)} }
		h := newHouse(t, wrap, notify.Policy{}, map[string]*receiver{"a": r})
		defer h.close()
		h.finish(3)
		pass(50 * time.Second)
		if n := r.called(); n != 0 {
			t.Errorf("%d messages went out", n)
		}
		pass(2 * time.Minute)
		if n, repeats := r.taken(); n != 3 || repeats != 0 {
			t.Errorf("afterwards it took %d with %d repeats, want 3 and none", n, repeats)
		}
	})
}

func TestStoreThatFailsAtSettlingMakesNoRepeats(t *testing.T) {
	for name, fault := range map[string]*shaky{"failed and not stored": {before: 5}, "failed but stored": {after: 5}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &receiver{}
				h := newHouse(t, func(o notify.Outbox) notify.Outbox {
					return &shaky{Outbox: o, before: fault.before, after: fault.after}
				}, notify.Policy{}, map[string]*receiver{"a": r})
				defer h.close()
				h.finish(30)
				pass(time.Minute)
				if n, repeats := r.taken(); n != 30 || repeats != 0 || h.states("a")[job.DeliveryDelivered] != 30 {
					t.Errorf("took %d with %d repeats, states %v; want 30, none, all delivered", n, repeats, h.states("a"))
				}
			})
		})
	}
}

func TestDrainLetsWhatIsInTheAirFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(context.Context, int, []job.Outgoing) (notify.Answer, error) {
			pass15()
			return notify.Answer{Code: 200}, nil
		}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": r})
		h.finish(20)
		pass(time.Second)
		h.stop()
		if got := h.states("a"); got[job.DeliveryDelivered] != 8 || got[job.DeliveryPending] != 12 {
			t.Errorf("after the drain: %v, want the eight in the air delivered and twelve pending", got)
		}
		h.close()
	})
}

func TestTestSaysWhatBecameOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got job.EventType
		r := &receiver{answer: func(_ context.Context, n int, batch []job.Outgoing) (notify.Answer, error) {
			got = batch[0].Event.Type
			return refuse(404, 0)
		}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": r})
		defer h.close()
		a, err := h.d.Test(t.Context(), "a")
		if err != nil || a.Code != 404 || a.Reason != job.ReasonNotFound || got != job.EventTest {
			t.Errorf("attempt: %+v, %v, event %s", a, err, got)
		}
		if _, err := h.d.Test(t.Context(), "nobody"); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("an unknown destination: %v", err)
		}
	})
}
