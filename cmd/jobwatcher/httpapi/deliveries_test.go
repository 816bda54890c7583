package httpapi

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// ledger puts one delivery in each state.
func ledger(t *testing.T) (*world, *client) {
	t.Helper()
	w := newWorld(t)
	for i, state := range job.DeliveryStates() {
		key := "dlv_" + string(state)
		w.deliveries[key] = job.Delivery{
			ID: key, EventID: "evt_1", EventType: job.EventCompleted, Tenant: tenant, JobID: id(1), Destination: "loader", State: state,
			CreatedAt: job.At(w.clock.Add(-time.Duration(i) * time.Hour)), NextAttemptAt: 77,
			Attempts: []job.Attempt{{N: 1, At: 5100, Took: 42 * time.Millisecond, Code: 500, Reason: job.ReasonServer, Answer: "oops", Key: "k1", NextAt: 9000}},
		}
	}
	w.deliveries["dlv_group"] = job.Delivery{ID: "dlv_group", EventID: "evt_2", EventType: job.EventGroupFinished, Destination: "slack", State: job.DeliveryDelivered, CreatedAt: 1}
	return w, newClient(t, w, nil)
}

type deliveryPage struct {
	Deliveries []job.DeliveryView `json:"deliveries"`
	Next       string             `json:"next_cursor"`
}

func TestOneDeliveryIsShownWithItsAttempts(t *testing.T) {
	t.Parallel()
	w, c := ledger(t)
	a := c.do("GET", "/v1/deliveries/dlv_pending").want(200, "")
	var got job.DeliveryView
	a.decode(&got)
	d := w.deliveries["dlv_pending"]
	if diff := cmp.Diff(d.View(), got); diff != "" {
		t.Errorf("delivery (-want +got):\n%s", diff)
	}
	if want := `"took_seconds":0.042,"code":500,"reason":"server","answer":"oops"`; !strings.Contains(string(a.body), want) {
		t.Errorf("%s is missing in %s", want, a.body)
	}
	c.do("GET", "/v1/deliveries/dlv_none").want(404, codeNotFound)
	c.do("GET", "/v1/deliveries/"+strings.Repeat("x", 65)).want(404, codeNotFound)
}

func TestTheLedgerIsListedAndFiltered(t *testing.T) {
	t.Parallel()
	w, c := ledger(t)
	for query, want := range map[string]job.DeliveryFilter{
		"":                       {Limit: 100},
		"?state=exhausted,held":  {Limit: 100, States: []job.DeliveryState{job.DeliveryExhausted, job.DeliveryHeld}},
		"?destination=gone.away": {Limit: 100, Destination: "gone.away"},
		"?job=" + id(1).String(): {Limit: 100, Job: id(1)},
		"?since=90m&limit=3":     {Limit: 3, Since: job.At(w.clock.Add(-90 * time.Minute))},
		"?since=2026-01-02T03:04:05%2B01:00&limit=1&cursor=1": {Limit: 1, Cursor: "1", Since: job.At(w.clock.Add(-time.Hour))},
	} {
		var page deliveryPage
		c.do("GET", "/v1/deliveries"+query).want(200, "").decode(&page)
		if diff := cmp.Diff(want, w.ledgerFilter); diff != "" {
			t.Errorf("%s: filter (-want +got):\n%s", query, diff)
		}
	}
	var first, second deliveryPage
	c.do("GET", "/v1/deliveries?limit=4").want(200, "").decode(&first)
	c.do("GET", "/v1/deliveries?limit=4&cursor="+first.Next).want(200, "").decode(&second)
	if len(first.Deliveries) != 4 || len(second.Deliveries) != 2 || second.Next != "" {
		t.Errorf("pages: got %d and %d, then %q; want 4, 2 and none", len(first.Deliveries), len(second.Deliveries), second.Next)
	}
	if a := c.do("GET", "/v1/deliveries?state=pending&destination=slack").want(200, ""); !strings.Contains(string(a.body), `"deliveries":[]`) {
		t.Errorf("an empty list: got %s, want []", a.body)
	}
}

func TestBadLedgerFiltersAreRefusedByName(t *testing.T) {
	t.Parallel()
	_, c := ledger(t)
	for query, field := range map[string]string{
		"state=lost": "state", "destination=Not%20A%20Name": "destination", "destination=" + strings.Repeat("x", 500): "destination", "job=1": "job",
		"since=yesterday": "since", "since=-24h": "since", "since=0001-01-01T00:00:00Z": "since", "destination=a&destination=b": "destination",
		"limit=-1": "limit", "cursor=zzz": "cursor", "to=x": "to",
	} {
		if p := c.do("GET", "/v1/deliveries?"+query).want(422, "").problem(); p.Field != field {
			t.Errorf("%s: field: got %q, want %q", query, p.Field, field)
		}
	}
}

func TestReplayWakesTheDestination(t *testing.T) {
	t.Parallel()
	w, c := ledger(t)
	for key, want := range map[string]int{"dlv_exhausted": 1, "dlv_delivered": 1, "dlv_sending": 0} {
		var got replayed
		c.do("POST", "/v1/deliveries/"+key+"/replay").want(202, "").decode(&got)
		if got.Replayed != want {
			t.Errorf("%s: replayed: got %d, want %d", key, got.Replayed, want)
		}
	}
	c.do("POST", "/v1/deliveries/dlv_none/replay").want(404, codeNotFound)
	c.do("POST", "/v1/deliveries/"+strings.Repeat("x", 65)+"/replay").want(404, codeNotFound)
	c.do("POST", "/v1/deliveries/dlv_held/replay", "{}").want(202, "")
	if diff := cmp.Diff([]string{"loader", "loader", "loader", "loader"}, w.woken); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
}

func TestReplayByFilter(t *testing.T) {
	t.Parallel()
	w, c := ledger(t)
	for _, test := range []struct {
		body string
		want job.DeliveryFilter
		n    int
	}{
		{`{"state":"exhausted"}`, job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryExhausted}}, 1},
		{`{"state":"held, exhausted","destination":"","job":null,"since":""}`, job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryHeld, job.DeliveryExhausted}}, 2},
		{`{"state":"delivered","destination":"slack"}`, job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryDelivered}, Destination: "slack"}, 1},
		{`{"state":"delivered","job":"` + id(1).String() + `"}`, job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryDelivered}, Job: id(1)}, 1},
		{`{"since":"1h","destination":"slack"}`, job.DeliveryFilter{Destination: "slack", Since: job.At(w.clock.Add(-time.Hour))}, 0},
		{`{"state":"exhausted","since":"1h"}`, job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryExhausted}, Since: job.At(w.clock.Add(-time.Hour))}, 0},
		{`{"state":"exhausted","since":"2026-01-01T00:00:00.000Z"}`, job.DeliveryFilter{States: []job.DeliveryState{job.DeliveryExhausted}, Since: job.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))}, 1},
	} {
		var got replayed
		c.do("POST", "/v1/deliveries/replay", test.body).want(202, "").decode(&got)
		if diff := cmp.Diff(test.want, w.ledgerFilter); diff != "" || got.Replayed != test.n {
			t.Errorf("%s: replayed %d, want %d; filter (-want +got):\n%s", test.body, got.Replayed, test.n, diff)
		}
	}
	if diff := cmp.Diff([]string{"*", "*", "slack", "*", "slack", "*", "*"}, w.woken); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
}

// Without a state or a time, everything that ever was delivered would be delivered again.
func TestReplayNeedsAStateOrATime(t *testing.T) {
	t.Parallel()
	_, c := ledger(t)
	for body, field := range map[string]string{
		`{}`: "state", `{"since":""}`: "state", `{"since":null}`: "state", `{"destination":"loader"}`: "state", `{"state":""}`: "state", `{"state":null}`: "state", `{"state":"sending"}`: "state",
		`{"state":["exhausted"]}`: "state", `{"state":"exhausted","since":24}`: "since", `{"state":"exhausted","since":"soon"}`: "since",
		`{"state":"exhausted","job":"1"}`: "job", `{"state":"exhausted","destination":"A"}`: "destination", `[]`: "body", `{"states":"held"}`: "states",
	} {
		if p := c.do("POST", "/v1/deliveries/replay", body).want(422, "").problem(); p.Field != field {
			t.Errorf("%s: field: got %q, want %q", body, p.Field, field)
		}
	}
	c.do("POST", "/v1/deliveries/replay").want(400, codeMalformedJSON)
}

func TestDestinationsAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newClient(t, w, nil)
	var got struct {
		Destinations []job.DestinationView `json:"destinations"`
	}
	c.do("GET", "/v1/destinations").want(200, "").decode(&got)
	if diff := cmp.Diff(w.destinations, got.Destinations); diff != "" {
		t.Errorf("destinations (-want +got):\n%s", diff)
	}
	w.destinations = nil
	if a := c.do("GET", "/v1/destinations").want(200, ""); !strings.Contains(string(a.body), `"destinations":[]`) {
		t.Errorf("none: got %s, want []", a.body)
	}
}

// What the command line reads of it is the attempt itself.
func TestATestSaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	for name, delivered := range map[string]bool{"loader": true, "slack": false} {
		a := c.do("POST", "/v1/destinations/"+name+"/test").want(200, "")
		var got struct {
			Destination string `json:"destination"`
			Delivered   bool   `json:"delivered"`
			job.AttemptView
		}
		a.decode(&got)
		if got.Destination != name || got.Delivered != delivered || got.TookSeconds != 0.042 || (got.Reason == job.NoReason) != delivered {
			t.Errorf("%s: got %+v", name, got)
		}
		var attempt job.AttemptView
		if err := json.Unmarshal(a.body, &attempt); err != nil || attempt.Code != got.Code || attempt.Code == 0 {
			t.Errorf("%s: read as an attempt: %+v (%v)", name, attempt, err)
		}
	}
}

func TestDestinationsArePausedAndResumed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newClient(t, w, nil)
	for range 2 { // it is so already the second time
		c.do("POST", "/v1/destinations/loader/pause").want(200, "")
		if !w.destinations[0].Paused {
			t.Error("it is not paused")
		}
	}
	for range 2 {
		c.do("POST", "/v1/destinations/loader/resume", "{}").want(200, "")
		if w.destinations[0].Paused {
			t.Error("it is paused still")
		}
	}
	for _, verb := range []string{"test", "pause", "resume"} {
		c.do("POST", "/v1/destinations/nobody/"+verb).want(404, codeNotFound)
		c.do("POST", "/v1/destinations/Not%20A%20Name/"+verb).want(404, codeNotFound)
		c.do("GET", "/v1/destinations/loader/"+verb).want(405, codeMethodNotAllowed)
	}
}

func TestBudgetShowsEachWindow(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	var got job.BudgetView
	c.do("GET", "/v1/budget").want(200, "").decode(&got)
	if len(got.Windows) != 1 || got.Windows[0].Left != 2400 || got.Share == nil {
		t.Errorf("got %+v", got)
	}
	c.do("GET", "/v1/budget?window=1m").want(422, codeUnknownField)
}
