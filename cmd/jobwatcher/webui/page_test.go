package webui

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const someID = "3a3e85c4-96e7-486b-ae02-827120104301"

// markup is what everybody outside could write where we only want text.
const markup = `<script>alert(1)</script>"'><img src=x onerror=alert(1)>`

// fakeAPI answers every call with what is set for it, and keeps what was asked.
type fakeAPI struct {
	answers map[string]any // "GET /v1/jobs" → body, or a status code
	access  string
	asked   []*http.Request
	bodies  []string
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	f.asked, f.bodies = append(f.asked, r), append(f.bodies, string(b))
	w.Header().Set(accessHeader, f.access)
	switch a := f.answers[r.Method+" "+r.URL.Path].(type) {
	case nil:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"detail":"nothing at %s","code":"not_found"}`, "this path")
	case int:
		w.WriteHeader(a)
		if a != http.StatusNoContent {
			fmt.Fprintf(w, `{"detail":"no: %d","code":"some_code","request_id":"abc"}`, a)
		}
	default:
		_ = json.NewEncoder(w).Encode(a)
	}
}

func sample() job.View {
	rows, took, query := int64(24516), 9.212, "SELECT '"+markup+"'"
	now := job.At(time.Now())
	return job.View{
		ID: job.MustParseID(someID), Tenant: markup, State: job.Watching, Status: job.Status(markup), Labels: job.Labels{"team": markup},
		Group: markup, SourceData: markup, CreatedBy: markup, Error: markup, Query: &query, OutputRows: &rows, ProcessingSeconds: &took,
		TrackedAt: now.Add(-time.Hour), DeadlineAt: now.Add(time.Hour), NextPollAt: now.Add(time.Minute), ETA: now.Add(time.Minute),
		ExpectedOverdue: true, Anomaly: []string{markup}, FinishedAt: now, DetectionDelaySeconds: &took,
		Timeline: []job.TimelineEntry{
			{At: now, Kind: job.KindTracked},
			{At: now, Kind: job.KindStatus, Status: job.Status(markup), Polls: 3},
			{At: now, Kind: job.KindOverdue},
			{At: now, Kind: job.KindWarned},
			{At: now, Kind: "delivery", Destination: markup, DeliveryID: "dlv_" + markup, Event: markup, State: job.DeliveryHeld},
			{At: now, Kind: "attempt", Destination: markup, DeliveryID: "dlv_x", Event: markup, Answer: markup, Code: 500, Reason: job.Reason(markup), Took: &took, NextAt: now},
			{At: now, Kind: job.KindFinished, Outcome: job.Outcome(markup)},
			{At: now, Kind: markup},
		},
	}
}

func everything() map[string]any {
	v := sample()
	ended := v
	ended.State, ended.Outcome = job.Finished, job.OutcomeFailed
	zero := 0.0
	ended.ProcessingSeconds = &zero
	now := job.At(time.Now())
	d := job.DeliveryView{
		ID: "dlv_0123456789abcdefghjkmnpqrs", EventID: markup, EventType: job.EventType(markup), JobID: someID, Destination: markup, State: job.DeliveryState(markup),
		CreatedAt: now, NextAttemptAt: now, Attempts: []job.AttemptView{{At: now, Code: 500, Reason: job.Reason(markup), Answer: markup, Key: markup, NextAt: now}},
	}
	share := 0.5
	return map[string]any{
		"GET /v1/jobs":               map[string]any{"jobs": []job.View{v, ended}, "next_cursor": markup},
		"GET /v1/jobs/" + someID:     v,
		"GET /v1/deliveries":         map[string]any{"deliveries": []job.DeliveryView{d}, "next_cursor": markup},
		"GET /v1/deliveries/" + d.ID: d,
		"GET /v1/budget":             job.BudgetView{Tenant: markup, Share: &share, LateSeconds: 12, Windows: []job.BudgetWindowView{{Window: markup, Limit: 10, Used: 12, Ours: 0, Spent: 3, ResetsAt: now, SpentAt: now}}},
		"GET /v1/jobs/" + someID + "/explain": job.Explanation{
			State: job.Watching, NextPollAt: now, Why: markup, Destinations: []job.RouteReason{{Destination: markup, Matches: true, On: []string{markup}, Why: markup}},
		},
		"GET /v1/destinations": map[string]any{"destinations": []job.DestinationView{{
			Name: markup, Kind: markup, On: []string{markup}, Match: map[string]string{markup: markup}, When: map[string]string{markup: markup},
			Include: []string{markup}, Paused: true, PausedBy: markup, PausedAt: now, NotBefore: now, Deliveries: map[job.DeliveryState]int64{job.DeliveryState(markup): 3},
		}, {Name: "two", Removed: true}, {Name: "three", Failures: 3}}},
	}
}

var views = []string{
	"/", "/?state=finished", "/?state=finished&outcome=failed&label=a%3Db&cursor=x", "/?done=tracked", "/jobs/" + someID, "/deliveries",
	"/deliveries?state=held&destination=" + url.QueryEscape(markup) + "&job=x", "/deliveries/dlv_0123456789abcdefghjkmnpqrs", "/destinations", "/budget", "/trends",
}

func serve(t *testing.T, api http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	p, err := New(api)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestNobodysTextBecomesMarkup(t *testing.T) {
	t.Parallel()
	for _, v := range views {
		for _, access := range []string{"read", "write"} {
			w := serve(t, &fakeAPI{answers: everything(), access: access}, httptest.NewRequest(http.MethodGet, v, nil))
			body := w.Body.String()
			if w.Code != http.StatusOK || strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
				t.Errorf("%s: %d\n%s", v, w.Code, body)
			}
			if strings.Contains(body, "style=") || strings.Contains(body, "onclick") {
				t.Errorf("%s: needs what the policy forbids", v)
			}
			if may := strings.Contains(body, `method="post"`); may && access == "read" {
				t.Errorf("%s: a reader is offered an action", v)
			}
		}
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	for _, v := range append(slices.Clone(views), "/jobs/none") {
		h := serve(t, &fakeAPI{answers: everything()}, httptest.NewRequest(http.MethodGet, v, nil)).Header()
		if h.Get("Content-Security-Policy") != policy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") == "" {
			t.Errorf("%s: %v", v, h)
		}
	}
}

// What the API refuses is refused by the page, in words, with its own status.
func TestRefusalsAreTheAPIs(t *testing.T) {
	t.Parallel()
	for _, code := range []int{401, 403, 404, 422, 500, 503} {
		answers := map[string]any{"GET /v1/jobs": code, "GET /v1/budget": code}
		for _, v := range []string{"/", "/budget"} {
			w := serve(t, &fakeAPI{answers: answers}, httptest.NewRequest(http.MethodGet, v, nil))
			if w.Code != code || !strings.Contains(w.Body.String(), fmt.Sprint("no: ", code)) {
				t.Errorf("%s: %d, want %d: %s", v, w.Code, code, w.Body)
			}
			if got := w.Header().Get("WWW-Authenticate"); (code == 401) != strings.HasPrefix(got, "Basic ") {
				t.Errorf("%s: %d asks for %q", v, code, got)
			}
		}
	}
}

// The API sees who asks, and from where, as if he had asked it himself.
func TestTheAPISeesTheBrowser(t *testing.T) {
	t.Parallel()
	api := &fakeAPI{answers: map[string]any{"POST /v1/destinations/loader/pause": map[string]any{}}}
	r := httptest.NewRequest(http.MethodPost, "/destinations/loader/pause", strings.NewReader(""))
	r.RemoteAddr, r.Host = "10.1.2.3:4", "jobs.example"
	for name, v := range map[string]string{
		"Authorization": "Basic eA==", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "X-Forwarded-For": "1.2.3.4",
		"Forwarded": "for=1.2.3.4", "Via": "1.1 x", "X-Real-Ip": "1.2.3.4", "Cookie": "a=b",
	} {
		r.Header.Set(name, v)
	}
	w := serve(t, api, r)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/destinations?done=pause" || len(api.asked) != 1 {
		t.Fatalf("%d %v, %d calls", w.Code, w.Header(), len(api.asked))
	}
	got := api.asked[0]
	if got.RemoteAddr != r.RemoteAddr || got.Host != r.Host || got.Method != http.MethodPost {
		t.Errorf("the API sees %s from %s at %s", got.Method, got.RemoteAddr, got.Host)
	}
	want := slices.Sorted(maps.Keys(map[string]int{"Authorization": 1, "Origin": 1, "Sec-Fetch-Site": 1, "X-Forwarded-For": 1, "Forwarded": 1, "Via": 1, "X-Real-Ip": 1}))
	if have := slices.Sorted(maps.Keys(got.Header)); !slices.Equal(have, want) {
		t.Errorf("the API sees headers %v, want %v", have, want)
	}
}

func TestTrackingSendsWhatTheFormSays(t *testing.T) {
	t.Parallel()
	post := func(api *fakeAPI, form url.Values) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/jobs", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return serve(t, api, r)
	}
	api := &fakeAPI{answers: map[string]any{"POST /v1/jobs": map[string]any{"jobs": []map[string]string{{"id": someID, "result": "tracked"}}}}}
	w := post(api, url.Values{"ids": {someID}, "labels": {"team=finance, run=nightly"}, "destinations": {"loader"}, "deadline": {" 2h "}, "group": {"close"}})
	const want = `{"jobs":[{"id":"` + someID + `","labels":{"run":"nightly","team":"finance"},"destinations":["loader"],"deadline":"2h","group":"close"}]}`
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/jobs/"+someID+"?done=tracked" || api.bodies[0] != want {
		t.Errorf("%d to %s: %s", w.Code, w.Header().Get("Location"), api.bodies[0])
	}
	for _, tc := range []struct {
		form url.Values
		says string
	}{
		{url.Values{}, "0 are given"},
		{url.Values{"ids": {someID}, "labels": {"team"}}, "is not key=value"},
		{url.Values{"ids": {strings.Repeat("x ", mostTracked+1)}}, "allowed are 1 to 10000"},
	} {
		answers := everything()
		w := post(&fakeAPI{answers: answers, access: "write"}, tc.form)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), tc.says) || !strings.Contains(w.Body.String(), "<details class=\"card\" open>") {
			t.Errorf("%.60v: %d, does not say %q", tc.form, w.Code, tc.says)
		}
	}
	// One of two is refused: the form comes back with that one.
	answers := everything()
	answers["POST /v1/jobs"] = map[string]any{"jobs": []map[string]string{{"id": someID, "result": "tracked"}, {"id": "nonsense", "result": "invalid", "error": "no UUID"}}}
	body := post(&fakeAPI{answers: answers, access: "write"}, url.Values{"ids": {someID + " nonsense"}}).Body.String()
	if !strings.Contains(body, "1 of 2 jobs were refused. nonsense: no UUID") || !strings.Contains(body, ">nonsense</textarea>") {
		t.Error("the refused one is not shown")
	}
	if w := post(&fakeAPI{}, url.Values{"ids": {strings.Repeat("x", maxForm)}}); w.Code != http.StatusBadRequest {
		t.Errorf("a form that is too large: %d", w.Code)
	}
}

func TestWhatThePageDoesNotKnowIsTheAPIs(t *testing.T) {
	t.Parallel()
	api := &fakeAPI{answers: map[string]any{"GET /metrics": map[string]any{"a": 1}, "PUT /v1/jobs/x": map[string]any{}}}
	for _, c := range [][2]string{{http.MethodGet, "/metrics"}, {http.MethodPut, "/v1/jobs/x"}} {
		if w := serve(t, api, httptest.NewRequest(c[0], c[1], nil)); w.Code != http.StatusOK {
			t.Errorf("%v: %d", c, w.Code)
		}
	}
	if w := serve(t, api, httptest.NewRequest(http.MethodGet, "/nothing", nil)); w.Code != http.StatusNotFound {
		t.Errorf("/nothing: %d", w.Code)
	}
	for _, v := range []string{"/jobs/x/dance", "/deliveries/x/dance", "/destinations/x/dance"} {
		if w := serve(t, api, httptest.NewRequest(http.MethodPost, v, nil)); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", v, w.Code)
		}
	}
}

func TestAssetsAreKeptByTheirHash(t *testing.T) {
	t.Parallel()
	p, err := New(&fakeAPI{answers: everything()})
	if err != nil {
		t.Fatal(err)
	}
	get := func(target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		return w
	}
	body := get("/").Body.String()
	for _, name := range []string{"style.css", "live.js", "icon.svg"} {
		_, rest, found := strings.Cut(body, `"/assets/`+name)
		query, _, _ := strings.Cut(rest, `"`)
		w := get("/assets/" + name + query)
		if !found || w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("Content-Type") == "" {
			t.Errorf("%s%s: %d %v", name, query, w.Code, w.Header())
		}
		if w := get("/assets/" + name + "?v=old"); strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: another version may be kept", name)
		}
	}
	if w := get("/assets/none.css"); w.Code != http.StatusNotFound {
		t.Errorf("an asset that is not there: %d", w.Code)
	}
}

func TestSpansAndNumbers(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 ms", 999 * time.Millisecond: "999 ms", 59*time.Second + 999*time.Millisecond: "59 s", time.Minute: "1 min 00 s",
		time.Hour - time.Second: "59 min 59 s", 25 * time.Hour: "1 d 1 h", 90 * time.Minute: "1 h 30 min",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", -100: "-100"} {
		if got := number(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// FuzzPlot: whatever values, the picture stays inside its frame.
func FuzzPlot(f *testing.F) {
	f.Add(1.0, 1000.0, 0.0, int64(5))
	f.Add(1e-9, 1e18, 3.0, int64(0))
	f.Add(0.0, 0.0, 0.0, int64(-5))
	f.Fuzz(func(t *testing.T, a, b, c float64, gap int64) {
		p := plot{Unit: seconds}
		for i, v := range []float64{a, b, c} {
			p.add(point{At: time.Unix(1_700_000_000+int64(i)*(gap%1e9), 0)}, &v)
		}
		p.draw()
		for _, one := range p.Points {
			if !(one.X >= plotLeft && one.X <= plotWidth) || !(one.Y >= 0 && one.Y <= plotHeight) {
				t.Fatalf("%v lies at %v, %v", one.v, one.X, one.Y)
			}
		}
		if len(p.Across) > 30 {
			t.Fatalf("%d lines", len(p.Across))
		}
	})
}
