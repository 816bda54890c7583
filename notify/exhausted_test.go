package notify_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// collects answers with success and keeps what came.
func collects(all *[]job.Outgoing) func(context.Context, int, []job.Outgoing) (notify.Answer, error) {
	var mu sync.Mutex
	return func(_ context.Context, _ int, batch []job.Outgoing) (notify.Answer, error) {
		mu.Lock()
		defer mu.Unlock()
		*all = append(*all, batch...)
		return notify.Answer{Code: 200}, nil
	}
}

func down(context.Context, int, []job.Outgoing) (notify.Answer, error) { return refuse(503, 0) }

// short tries twice and never holds.
func short() notify.Policy {
	return notify.Policy{Schedule: []time.Duration{0, time.Second}, HoldAfter: 1 << 30}
}

func TestExhaustedDeliveryIsAnnouncedToWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told, others []job.Outgoing
		h := newHouse(t, nil, short(), map[string]*receiver{
			"dead":  {answer: down, on: []string{"completed", "delivery_exhausted"}},
			"ops":   {answer: collects(&told), on: []string{"delivery_exhausted"}, match: []notify.Matcher{{Label: "team", In: []string{"finance"}}}},
			"legal": {answer: collects(&others), on: []string{"delivery_exhausted"}, match: []notify.Matcher{{Label: "team", In: []string{"legal"}}}},
			"quiet": {answer: collects(&others), on: []string{"failed"}},
		})
		defer h.close()
		h.finish(1)
		pass(time.Minute)
		if len(told) != 1 || len(others) != 0 {
			t.Fatalf("told %d times, others %d times; want 1 and 0", len(told), len(others))
		}
		got := told[0].Event
		if got.Type != job.EventDeliveryExhausted || got.JobID == (job.ID{}) {
			t.Errorf("event: %+v", got)
		}
		var data struct {
			Delivery struct {
				ID          string            `json:"id"`
				Destination string            `json:"destination"`
				State       string            `json:"state"`
				Why         string            `json:"why"`
				Made        int               `json:"attempts_made"`
				Attempts    []job.AttemptView `json:"attempts"`
			} `json:"delivery"`
			Job job.View `json:"job"`
		}
		if err := json.Unmarshal(got.Data, &data); err != nil {
			t.Fatal(err)
		}
		d := data.Delivery
		if d.ID != got.Subject || d.Destination != "dead" || d.State != "exhausted" || d.Made != 2 || len(d.Attempts) != 1 || d.Why != `503 server "no"` || data.Job.ID != got.JobID {
			t.Errorf("data: %s", got.Data)
		}
		if got := h.states("dead"); got[job.DeliveryExhausted] != 1 || len(got) != 1 {
			t.Errorf("the dead one's own deliveries: %v", got)
		}
	})
}

func TestDeliveryThatIsGivenUpAgainAfterReplayIsAnnouncedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []job.Outgoing
		h := newHouse(t, nil, short(), map[string]*receiver{
			"dead": {answer: down}, "ops": {answer: collects(&told), on: []string{"delivery_exhausted"}},
		})
		defer h.close()
		h.finish(1)
		pass(time.Minute)
		if _, err := h.store.ReplayWhere(t.Context(), job.DeliveryFilter{Destination: "dead"}); err != nil {
			t.Fatal(err)
		}
		h.d.Wake("dead")
		pass(time.Minute)
		if len(told) != 2 || told[0].EventID == told[1].EventID || told[0].Event.Subject != told[1].Event.Subject {
			t.Errorf("told %d times, want twice, of two events about one delivery", len(told))
		}
	})
}

func TestExhaustedDeliveriesAnnounceEachOtherNoFurther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := []string{"completed", "delivery_exhausted"}
		h := newHouse(t, nil, short(), map[string]*receiver{"a": {answer: down, on: on}, "b": {answer: down, on: on}})
		defer h.close()
		h.finish(3)
		pass(time.Hour)
		// Three events of jobs for each, three about the other's; none about those.
		for _, name := range []string{"a", "b"} {
			if diff := cmp.Diff(map[job.DeliveryState]int{job.DeliveryExhausted: 6}, h.states(name)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

func TestExhaustionIsAnnouncedEvenWhenTheAnswerToItsCommitIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []job.Outgoing
		h := newHouse(t, func(o notify.Outbox) notify.Outbox { return &shaky{Outbox: o} }, short(), map[string]*receiver{
			"dead": {answer: down}, "ops": {answer: collects(&told), on: []string{"delivery_exhausted"}},
		})
		defer h.close()
		h.finish(20)
		pass(time.Hour)
		ids := map[string]bool{}
		for i := range told {
			ids[told[i].EventID] = true
		}
		if len(ids) != 20 {
			t.Errorf("told of %d deliveries, want 20", len(ids))
		}
	})
}

func TestNamedDestinationsDoNotHideAnExhaustedDelivery(t *testing.T) {
	t.Parallel()
	h := []notify.Destination{
		{Name: "ops", On: []string{"delivery_exhausted"}, Webhook: &notify.WebhookConfig{}},
		{Name: "any", Webhook: &notify.WebhookConfig{}},
	}
	d, err := notify.NewDispatcher(notify.Options{
		Outbox: noOutbox{}, Replica: func() job.ReplicaID { return "one" }, Destinations: h,
		NewSender: func(notify.Destination) (notify.Sender, error) { return &receiver{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	e := job.Event{Type: job.EventDeliveryExhausted, Job: &job.Job{Destinations: []string{"loader"}}}
	if got := d.Route(e); !slices.Equal(got, []string{"ops"}) {
		t.Errorf("routed to %v, want ops", got)
	}
}

type noOutbox struct{ notify.Outbox }
