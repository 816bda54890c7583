package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

func TestTrackingIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newClient(t, w, nil)
	first := c.do("PUT", path(1), `{"labels":{"team":"finance"},"destinations":["loader"],"deadline":"2h","group":"close"}`).want(201, "")
	if got, want := first.header.Get("Location"), path(1); got != want {
		t.Errorf("Location: got %q, want %q", got, want)
	}
	v := first.job()
	if diff := cmp.Diff(job.Labels{"team": "finance"}, v.Labels); diff != "" || v.State != job.Watching || v.DeadlineAt.Sub(v.TrackedAt) != 2*time.Hour || v.Group != "close" {
		t.Errorf("the tracked job (-want +got labels %s): %+v", diff, v)
	}
	again := c.do("PUT", path(1), `{"labels":{"team":"other"}}`).want(200, "")
	if got := again.job().Labels["team"]; got != "finance" {
		t.Errorf("label after tracking again: got %q, want finance as at first", got)
	}
	if got := again.header.Get("Location"); got != "" {
		t.Errorf("Location of a job that was there: got %q, want none", got)
	}
}

func TestTrackingNeedsNoBody(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	for i, body := range []string{"", "{}", `{"labels":null,"destinations":null,"deadline":null,"group":null}`, `{"deadline":"","group":""}`} {
		c.do("PUT", path(i), body).want(201, "")
	}
	blank := *c
	blank.lenient = true // the document knows a body or none
	blank.do("PUT", path(9), " \n").want(201, "")
	// The id may be written in either case; the answer has the canonical one.
	upper := c.do("PUT", "/v1/jobs/"+strings.ToUpper(id(0xabc).String())).want(201, "")
	if got := upper.job().ID; got != id(0xabc) {
		t.Errorf("id: got %s, want %s", got, id(0xabc))
	}
}

func TestBadJobsAreRefusedByName(t *testing.T) {
	t.Parallel()
	const good = "3a3e85c4-96e7-486b-ae02-827120104301"
	for _, test := range []struct {
		name, id, body string
		status         int
		code, field    string
	}{
		{"id without dashes", strings.ReplaceAll(good, "-", ""), "", 400, codeInvalidJobID, "id"},
		{"id too short", good[1:], "", 400, codeInvalidJobID, "id"},
		{"id with a foreign letter", "g" + good[1:], "", 400, codeInvalidJobID, "id"},
		{"id in braces", "%7B" + good + "%7D", "", 400, codeInvalidJobID, "id"},
		{"no JSON", good, `{"labels"`, 400, codeMalformedJSON, ""},
		{"trailing garbage", good, `{} {}`, 400, codeMalformedJSON, ""},
		{"a comma too many", good, `{"group":"a",}`, 400, codeMalformedJSON, ""},
		{"not an object", good, `[]`, 422, codeInvalidField, "body"},
		{"null", good, `null`, 422, codeInvalidField, "body"},
		{"unknown field", good, `{"label":{}}`, 422, codeUnknownField, "label"},
		{"a field in another case", good, `{"Labels":{}}`, 422, codeUnknownField, "Labels"},
		{"the id belongs into the path", good, `{"id":"` + good + `"}`, 422, codeUnknownField, "id"},
		{"labels of another type", good, `{"labels":["a"]}`, 422, codeInvalidField, "labels"},
		{"a label that is a number", good, `{"labels":{"a":1}}`, 422, codeInvalidField, "labels"},
		{"a label that is null", good, `{"labels":{"a":null}}`, 422, codeInvalidField, `labels["a"]`},
		{"a label's key", good, `{"labels":{"-a":"b"}}`, 422, codeInvalidField, "labels"},
		{"a label's value", good, `{"labels":{"a":"b c"}}`, 422, codeInvalidField, `labels["a"]`},
		{"a label too long", good, `{"labels":{"a":"` + strings.Repeat("x", 64) + `"}}`, 422, codeInvalidField, `labels["a"]`},
		{"destinations of another type", good, `{"destinations":"loader"}`, 422, codeInvalidField, "destinations"},
		{"a destination that is no name", good, `{"destinations":["Loader"]}`, 422, codeInvalidField, "destinations[0]"},
		{"a destination that is null", good, `{"destinations":[null]}`, 422, codeInvalidField, "destinations[0]"},
		{"a destination that nobody has", good, `{"destinations":["loader","nobody"]}`, 422, codeUnknownDestination, "destinations[1]"},
		{"a deadline that is a number", good, `{"deadline":3600}`, 422, codeInvalidField, "deadline"},
		{"a deadline without unit", good, `{"deadline":"2"}`, 422, codeInvalidField, "deadline"},
		{"no time at all", good, `{"deadline":"0s"}`, 422, codeInvalidField, "deadline"},
		{"a deadline that has been", good, `{"deadline":"-2h"}`, 422, codeInvalidField, "deadline"},
		{"a deadline too far", good, `{"deadline":"9000h"}`, 422, codeInvalidField, "deadline"},
		{"a group with a blank", good, `{"group":"a b"}`, 422, codeInvalidField, "group"},
		{"a body too large", good, `{"group":"` + strings.Repeat("x", maxBody) + `"}`, 413, codeBodyTooLarge, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := newClient(t, w, func(o *Options) { o.Check = onlyLoader })
			p := c.do("PUT", "/v1/jobs/"+test.id, test.body).want(test.status, test.code).problem()
			if p.Field != test.field || p.Status == 422 && p.Allowed == "" || len(p.Value) > maxQuoted {
				t.Errorf("problem: got field %q, value %q, allowed %q; want field %q", p.Field, p.Value, p.Allowed, test.field)
			}
			if len(w.tracked) != 0 {
				t.Error("it was tracked nevertheless")
			}
		})
	}
}

func onlyLoader(s job.Spec) error {
	for i, d := range s.Destinations {
		if d != "loader" {
			return &job.InvalidError{Field: fmt.Sprintf("destinations[%d]", i), Value: d, Allowed: "a configured destination (loader)"}
		}
	}
	return nil
}

func TestBodiesOfAnotherTypeAreRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	for _, kind := range []string{"text/plain", "multipart/form-data; boundary=x", "application/x-ndjson", "nonsense; ;"} {
		a := c.with("Content-Type", kind).do("PUT", path(1), `{}`).want(415, codeUnsupportedMediaType)
		if got := a.header.Get("Accept"); got != "application/json" {
			t.Errorf("Accept: got %q, want application/json", got)
		}
	}
	c.with("Content-Type", "application/json; charset=utf-8").do("PUT", path(1), `{}`).want(201, "")
	// What curl -d says of any body, but not when a page of another site says it.
	c.lenient = true // the document need not encourage it
	form := c.with("Content-Type", "application/x-www-form-urlencoded")
	form.do("PUT", path(2), `{"labels":{"a":"b"}}`).want(201, "")
	form.with("Origin", "https://evil.example").do("PUT", path(3), `{}`).want(403, codeForbidden)
}

// A job with everything that can be told of one.
func rich(n int) job.Job {
	rows, took, retries := int64(24516), 9212*time.Millisecond, int64(3)
	return job.Job{
		ID: id(n), State: job.Finished, Status: job.Completed, Outcome: job.OutcomeCompleted, Source: job.SourceFile,
		Labels: job.Labels{"team": "finance"}, Query: "SELECT 1", SourceData: "LIVE", CreatedBy: "514f3ea1",
		OutputRows: &rows, ProcessingTime: &took, RemainingRetries: &retries, DataFile: secret.New("https://s3.example/canary"),
		TrackedAt: 1000, StatusSince: 5000, UpdatedAt: 4000, FinishedAt: 4000, Polls: 4,
		History: []job.Change{
			{At: 2000, Kind: job.KindStatus, Status: job.Accepted, Polls: 1},
			{At: 5000, Kind: job.KindFinished, Status: job.Completed, Outcome: job.OutcomeCompleted, Polls: 4},
		},
		Deliveries: job.DeliveryCounts{Delivered: 1},
	}
}

func TestOneJobIsShownWithItsTimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(rich(1))
	w.deliveries["dlv_1"] = job.Delivery{
		ID: "dlv_1", JobID: id(1), EventType: job.EventCompleted, Destination: "loader", State: job.DeliveryDelivered, CreatedAt: 5050,
		Attempts: []job.Attempt{{N: 1, At: 5100, Took: time.Second, NextAt: 9000, Code: 500, Reason: job.ReasonServer, Answer: "oops"}, {N: 2, At: 9000, Code: 200, Answer: "ok"}},
	}
	w.deliveries["dlv_2"] = job.Delivery{ID: "dlv_2", JobID: id(2), Attempts: []job.Attempt{{N: 1, At: 1}}}
	a := newClient(t, w, nil).do("GET", path(1)).want(200, "")
	v := a.job()
	took := []float64{0, 1}
	want := []job.TimelineEntry{
		{At: 1000, Kind: "tracked"},
		{At: 2000, Kind: "status", Status: job.Accepted, Polls: 1},
		{At: 5000, Kind: "finished", Status: job.Completed, Outcome: job.OutcomeCompleted, Polls: 4},
		{At: 5050, Kind: "delivery", Destination: "loader", DeliveryID: "dlv_1", Event: "completed", State: job.DeliveryDelivered},
		{At: 5100, Kind: "attempt", Destination: "loader", DeliveryID: "dlv_1", Event: "completed", Took: &took[1], NextAt: 9000, Code: 500, Reason: job.ReasonServer, Answer: "oops"},
		{At: 9000, Kind: "attempt", Destination: "loader", DeliveryID: "dlv_1", Event: "completed", Took: &took[0], Code: 200, Answer: "ok"},
	}
	if diff := cmp.Diff(want, v.Timeline); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	if v.Query == nil || *v.Query != "SELECT 1" || v.ProcessingSeconds == nil || *v.ProcessingSeconds != 9.212 || *v.OutputRows != 24516 {
		t.Errorf("job: %s", a.body)
	}
	if strings.Contains(string(a.body), "canary") {
		t.Error("the result link is shown")
	}
}

func TestAbsentNumbersAreNull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(1)})
	a := newClient(t, w, nil).do("GET", path(1)).want(200, "")
	for _, want := range []string{`"output_rows":null`, `"processing_seconds":null`, `"finished_at":null`, `"labels":{}`} {
		if !strings.Contains(string(a.body), want) {
			t.Errorf("%s is missing in %s", want, a.body)
		}
	}
}

// A look that changed nothing is not written down; what this replica knows of a
// watched job goes over what is stored, and only of a watched one.
func TestWhatThisReplicaKnowsGoesOverWhatIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(1), Status: job.Accepted, Polls: 1, NextPollAt: 100})
	w.put(rich(2))
	w.live[id(1)] = job.Watch{Status: job.InProgress, StatusSince: 7000, NextPollAt: 9000, Polls: 17, Overdue: true}
	w.live[id(2)] = job.Watch{Status: job.InProgress, Polls: 99}
	c := newClient(t, w, nil)
	for name, v := range map[string]job.View{
		"one": c.do("GET", path(1)).want(200, "").job(), "put": c.do("PUT", path(1)).want(200, "").job(),
	} {
		if v.Status != job.InProgress || v.StatusSince != 7000 || v.NextPollAt != 9000 || v.Polls != 17 || !v.Overdue {
			t.Errorf("%s: got %+v", name, v)
		}
	}
	if v := c.do("GET", path(2)).want(200, "").job(); v.Status != job.Completed || v.Polls != 4 {
		t.Errorf("a finished job: got %s after %d polls, want what is stored", v.Status, v.Polls)
	}
}

type jobPage struct {
	Jobs []job.View `json:"jobs"`
	Next string     `json:"next_cursor"`
}

func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 5 {
		w.put(job.Job{ID: id(n), Query: "SELECT " + strings.Repeat("x", n)})
	}
	c := newClient(t, w, nil)
	var got []string
	cursor := ""
	for range 3 {
		var p jobPage
		c.do("GET", "/v1/jobs?limit=2&cursor="+cursor).want(200, "").decode(&p)
		for _, v := range p.Jobs {
			got = append(got, (*v.Query)[len("SELECT "):])
		}
		cursor = p.Next
	}
	if diff := cmp.Diff([]string{"xxxx", "xxx", "xx", "x", ""}, got); diff != "" || cursor != "" {
		t.Errorf("three pages of two, cursor %q after the last (-want +got):\n%s", cursor, diff)
	}
}

func TestFiltersReachTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newClient(t, w, nil)
	c.do("GET", "/v1/jobs?state=watching,finished&status=ACCEPTED,napping&outcome=lost&label=a%3Db&label=x.y/z%3D&limit=7").want(200, "")
	want := job.Filter{
		Tenant: tenant, States: []job.State{job.Watching, job.Finished}, Statuses: []job.Status{job.Accepted, "napping"},
		Outcomes: []job.Outcome{job.OutcomeLost}, Labels: job.Labels{"a": "b", "x.y/z": ""}, Limit: 7,
	}
	if diff := cmp.Diff(want, w.filter); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
	c.lenient = true // empty values, as in the contract's own example
	c.do("GET", "/v1/jobs?state=watching&state=finished&status=&outcome=&label=k%3Dv").want(200, "")
	want = job.Filter{Tenant: tenant, States: []job.State{job.Watching, job.Finished}, Labels: job.Labels{"k": "v"}, Limit: 100}
	if diff := cmp.Diff(want, w.filter); diff != "" {
		t.Errorf("filter with empty values (-want +got):\n%s", diff)
	}
	var empty jobPage
	a := c.do("GET", "/v1/jobs").want(200, "")
	if a.decode(&empty); !strings.Contains(string(a.body), `"jobs":[]`) {
		t.Errorf("an empty list: got %s, want []", a.body)
	}
}

func TestBadFiltersAreRefusedByName(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	for query, field := range map[string]string{
		"state=sleeping": "state", "outcome=exploded": "outcome", "limit=0": "limit", "limit=1001": "limit", "limit=ten": "limit",
		"limit=1&limit=2": "limit", "cursor=a&cursor=b": "cursor", "cursor=zzz": "cursor", "cursor=" + strings.Repeat("9", 513): "cursor",
		"label=team": "label", "label=-a%3Db": "labels", "label=a%3Db&label=a%3Dc": "label", "label=%3Db": "labels",
		"status=" + strings.Repeat("x", 65): "status", "stat=watching": "stat", "a;b": "query", "%zz": "query",
	} {
		if p := c.do("GET", "/v1/jobs?"+query).want(422, "").problem(); p.Field != field {
			t.Errorf("%s: field: got %q, want %q", query, p.Field, field)
		}
	}
}

func TestJobsAreLetGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(1)})
	w.put(rich(2))
	c := newClient(t, w, nil)
	c.do("DELETE", path(1)).want(204, "")
	c.do("DELETE", path(1)).want(404, codeNotFound)
	c.do("DELETE", path(2)).want(409, codeAlreadyFinished)
	c.do("GET", path(1)).want(404, codeNotFound)
}

func TestALookCanBeAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(1), NextPollAt: 99})
	w.put(rich(2))
	w.put(job.Job{ID: id(3)})
	delete(w.live, id(3))
	c := newClient(t, w, nil)
	if v := c.do("POST", path(1)+"/poll").want(202, "").job(); v.NextPollAt != job.At(w.clock) {
		t.Errorf("next look: got %s, want now", v.NextPollAt)
	}
	c.do("POST", path(2)+"/poll").want(409, codeAlreadyFinished)
	c.do("POST", path(3)+"/poll").want(503, codeNotReady)
	c.do("POST", path(4)+"/poll").want(404, codeNotFound)
	if diff := cmp.Diff([]job.ID{id(1)}, w.asked); diff != "" {
		t.Errorf("jobs asked for (-want +got):\n%s", diff)
	}
}

func TestHeadAnswersLikeGetWithoutABody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(1)})
	server := liveServer(t, newClient(t, w, nil).h)
	for target, status := range map[string]int{path(1): 200, path(2): 404, "/v1/jobs": 200, "/livez": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, server.URL+target, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != status {
			t.Errorf("HEAD %s: got %d, want %d", target, answer.StatusCode, status)
		}
	}
}

// What is written in a path is not trusted either.
func TestForeignPathsAreNotFound(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	for _, target := range []string{"/", "/v1", "/v1/", "/v1/nothing", "/v2/jobs", "/favicon.ico", path(1) + "/nothing"} {
		c.do("GET", target).want(404, codeNotFound)
	}
	a := c.do("GET", "/v1/jobs/"+url.PathEscape("../../etc/passwd"))
	a.want(400, codeInvalidJobID)
}
