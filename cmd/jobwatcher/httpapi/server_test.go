package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// liveServer serves a handler on loopback, with the limits that this package
// recommends.
func liveServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ReadHeaderTimeout, s.Config.IdleTimeout, s.Config.MaxHeaderBytes = ReadHeaderTimeout, IdleTimeout, MaxHeaderBytes
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// call is one operation of the document with input that is answered well.
type example struct{ method, target, body string }

// examples has one for each operation under /v1.
func examples(w *world) []example {
	w.put(job.Job{ID: id(1)})
	w.put(rich(2))
	w.deliveries["dlv_1"] = job.Delivery{ID: "dlv_1", EventID: "evt_1", EventType: job.EventCompleted, JobID: id(2), Destination: "loader", State: job.DeliveryExhausted, CreatedAt: 1}
	return []example{
		{"GET", "/v1/jobs", ""},
		{"POST", "/v1/jobs", `{"jobs":[{"id":"` + id(7).String() + `"}]}`},
		{"GET", path(1), ""},
		{"PUT", path(8), `{}`},
		{"GET", path(2) + "/wait", ""},
		{"GET", path(1) + "/explain", ""},
		{"POST", path(1) + "/poll", ""},
		{"DELETE", path(1), ""},
		{"GET", "/v1/deliveries", ""},
		{"POST", "/v1/deliveries/replay", `{"state":"exhausted"}`},
		{"GET", "/v1/deliveries/dlv_1", ""},
		{"POST", "/v1/deliveries/dlv_1/replay", ""},
		{"GET", "/v1/budget", ""},
		{"GET", "/v1/destinations", ""},
		{"POST", "/v1/destinations/loader/test", ""},
		{"POST", "/v1/destinations/loader/pause", ""},
		{"POST", "/v1/destinations/loader/resume", ""},
	}
}

func TestEveryOperationRefusesAlike(t *testing.T) {
	t.Parallel()
	secured := func(o *Options) { o.WriteToken = token("right") }
	for _, e := range examples(newWorld(t)) {
		t.Run(e.method+" "+e.target, func(t *testing.T) {
			t.Parallel()
			fresh := func(change func(*Options)) (*world, *client) {
				w := newWorld(t)
				examples(w)
				return w, newClient(t, w, change)
			}
			_, c := fresh(nil)
			if a := c.do(e.method, e.target, e.body); a.status >= 300 {
				t.Fatalf("the example itself: got %d\n%s", a.status, a.body)
			}
			_, c = fresh(secured)
			a := c.do(e.method, e.target, e.body).want(401, codeUnauthorized)
			if got := a.header.Values("WWW-Authenticate"); len(got) != 2 {
				t.Errorf("WWW-Authenticate: got %q, want Bearer and Basic", got)
			}
			_, c = fresh(nil)
			c.peer = "192.0.2.7:1234"
			c.do(e.method, e.target, e.body).want(403, codeForbidden)
			_, c = fresh(nil)
			c.do(e.method, e.target+"?nonsense=1", e.body).want(422, codeUnknownField)
			if e.target == "/v1/budget" {
				return // it reads memory, which does not fail
			}
			w, c := fresh(nil)
			w.fail = errors.New("disk on fire at postgres://user:canary@db")
			if a := c.do(e.method, e.target, e.body).want(500, codeInternal); strings.Contains(string(a.body), "canary") {
				t.Errorf("a fault of ours tells too much: %s", a.body)
			}
			w, c = fresh(nil)
			w.fail = context.DeadlineExceeded
			if a := c.do(e.method, e.target, e.body).want(503, codeNotReady); a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			w, c = fresh(nil)
			w.panics = true
			c.do(e.method, e.target, e.body).want(500, codeInternal)
			_, c = fresh(nil)
			if a := c.do("PATCH", e.target).want(405, codeMethodNotAllowed); !strings.Contains(a.header.Get("Allow"), e.method) {
				t.Errorf("Allow: got %q, want %s in it", a.header.Get("Allow"), e.method)
			}
			if e.method == "GET" {
				return
			}
			_, c = fresh(nil)
			c.do(e.method, e.target, `{"half":`).want(400, codeMalformedJSON)
			c.do(e.method, e.target, `{"nonsense":1}`).want(422, codeUnknownField)
			c.do(e.method, e.target, `"`+strings.Repeat("x", maxBody)+`"`).want(413, codeBodyTooLarge)
			c.with("Content-Type", "text/plain").do(e.method, e.target, `{}`).want(415, codeUnsupportedMediaType)
		})
	}
}

func TestInvalidJobIDsAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	for _, e := range []example{
		{"GET", "", ""}, {"PUT", "", ""}, {"DELETE", "", ""}, {"GET", "/wait", ""}, {"GET", "/explain", ""}, {"POST", "/poll", ""},
	} {
		c.do(e.method, "/v1/jobs/not-a-uuid"+e.target).want(400, codeInvalidJobID)
		if e.method != "PUT" {
			c.do(e.method, path(9)+e.target).want(404, codeNotFound)
		}
	}
}

func TestTheDaemonSaysSoWhenItStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newClient(t, w, nil)
	for _, err := range []error{job.ErrDraining, job.ErrOwnerLost} {
		w.fail = err
		c.do("PUT", path(1)).want(503, codeNotReady)
	}
}

func TestBrokenBodiesAreRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	r := httptest.NewRequest(http.MethodPut, path(1), io.MultiReader(strings.NewReader(`{"gro`), broken{}))
	r.RemoteAddr, r.Host = c.peer, c.host
	rec := httptest.NewRecorder()
	c.h.ServeHTTP(rec, r)
	reply{t: t, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}.want(400, codeMalformedJSON)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOptionsAreComplete(t *testing.T) {
	t.Parallel()
	if _, err := New(Options{Tenant: tenant}); !errors.Is(err, job.ErrInvalid) {
		t.Errorf("New without parts: got %v, want job.ErrInvalid", err)
	}
	if _, err := MetricsOnly(Options{}); !errors.Is(err, job.ErrInvalid) {
		t.Errorf("MetricsOnly without parts: got %v, want job.ErrInvalid", err)
	}
}

func TestTheSecondListenerHasMetricsAndHealthAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, err := MetricsOnly(Options{Jobs: w, Pulse: w, Now: w.now, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "up 1\n")
	})})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, w, nil)
	c.h, c.peer = h, "192.0.2.7:1234"
	got := map[string]int{}
	for _, target := range []string{"/metrics", "/livez", "/readyz", "/healthz", "/v1/jobs", "/", "/openapi.yaml"} {
		r := httptest.NewRequest(http.MethodGet, target, http.NoBody)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		got[target] = rec.Code
	}
	want := map[string]int{"/metrics": 200, "/livez": 200, "/readyz": 200, "/healthz": 200, "/v1/jobs": 403, "/": 403, "/openapi.yaml": 404}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if a := c.do("GET", "/metrics").want(200, ""); string(a.body) != "up 1\n" {
		t.Errorf("metrics: got %q", a.body)
	}
	c.with("X-Request-Id", "abc").do("POST", "/metrics").want(405, codeMethodNotAllowed)
}

func TestTheDocumentIsServed(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	c.peer = "192.0.2.7:1234"
	if a := c.do("GET", "/openapi.yaml").want(200, ""); string(a.body) != string(openAPI) {
		t.Error("it is not the embedded one")
	}
	c.do("GET", "/openapi.yaml?x=1").want(422, codeUnknownField)
}

// The fields that a log line may have (house: the names are fixed).
var fields = map[string]bool{
	"tenant": true, "job_id": true, "status": true, "state": true, "outcome": true, "event_id": true, "delivery_id": true, "destination": true,
	"attempt": true, "next_at": true, "reason": true, "took": true, "owner": true, "request_id": true, "track_id": true, "version": true, "error": true,
}

func TestEveryChangeLeavesALine(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	w := newWorld(t)
	list := examples(w)
	codes := map[int]int{}
	c := newClient(t, w, func(o *Options) {
		o.Log, o.WriteToken, o.ReadToken = zap.New(core), token("write-canary"), token("read-canary")
		o.Observe = func(code int) { codes[code]++ }
	})
	mine := c.with("Authorization", "Bearer write-canary").with("X-Request-Id", "req-1")
	for _, e := range list {
		mine.do(e.method, e.target, e.body)
	}
	mine.with("Content-Type", "application/x-ndjson").do("POST", "/v1/jobs", `{"id":"`+id(77).String()+`"}`+"\n").want(200, "")
	c.with("Authorization", "Bearer guess-canary").do("GET", "/v1/jobs").want(401, "")
	mine.do("PUT", path(1), `{`).want(400, "") // a refusal is no change
	var got []string
	for _, entry := range logs.All() {
		for _, f := range entry.Context {
			if !fields[f.Key] {
				t.Errorf("%s: field %s is not among the fixed ones", entry.Message, f.Key)
			}
			if f.Key == "request_id" && f.String != "req-1" && entry.Level == zapcore.InfoLevel {
				t.Errorf("%s: request_id %q, want the caller's own", entry.Message, f.String)
			}
		}
		if entry.Level == zapcore.InfoLevel {
			got = append(got, entry.Message)
		}
		if strings.Contains(entry.Message, "canary") {
			t.Errorf("a token is in the log: %s", entry.Message)
		}
	}
	want := []string{
		"audit: 1 jobs tracked by write token", "audit: job tracked by write token", "audit: look asked for by write token",
		"audit: job untracked by write token", "audit: 1 deliveries replayed by write token", "audit: delivery replayed by write token",
		"audit: destination tested by write token", "audit: destination paused by write token", "audit: destination resumed by write token",
		"audit: 1 jobs tracked by write token",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit lines (-want +got):\n%s", diff)
	}
	if codes[200] != 13 || codes[401] != 1 || codes[400] != 1 {
		t.Errorf("answers that were counted: %v", codes)
	}
	if n := logs.FilterMessage("request: GET /v1/jobs/{id} answered 200").Len(); n != 1 {
		t.Errorf("lines of GET /v1/jobs/{id} at debug: got %d, want 1", n)
	}
}

func TestFaultsAreLoggedAndPanicsCounted(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.ErrorLevel)
	w := newWorld(t)
	panicked := 0
	c := newClient(t, w, func(o *Options) { o.Log, o.Panicked = zap.New(core), func(string) { panicked++ } })
	w.fail = errors.New("disk on fire")
	a := c.do("GET", "/v1/jobs").want(500, codeInternal)
	w.panics = true
	b := c.do("GET", "/v1/jobs").want(500, codeInternal)
	if panicked != 1 || logs.Len() != 2 {
		t.Fatalf("panics counted: got %d, want 1; lines: got %d, want 2", panicked, logs.Len())
	}
	for i, r := range []reply{a, b} {
		if got, want := logs.All()[i].ContextMap()["request_id"], r.problem().RequestID; got != want {
			t.Errorf("request id in the log: got %v, want %s", got, want)
		}
	}
}

func TestRequestIDsAreHarmless(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil)
	seen := map[string]bool{}
	for given, keep := range map[string]bool{
		"abc-DEF_1.2": true, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "a b": false, "a\"b": false, "<x>": false, "é": false, "": false,
	} {
		got := c.with("X-Request-Id", given).do("GET", "/livez").header.Get("X-Request-Id")
		if (got == given) != keep || got == "" || seen[got] {
			t.Errorf("id %q: got %q, want it kept: %t", given, got, keep)
		}
		seen[got] = true
	}
}

// A caller that does not go on sending, and one that does not read, hold
// nothing for ever; a kept connection is not harmed by limits of the call before.
func TestAKeptConnectionOutlivesTheLimitsOfOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := liveServer(t, newClient(t, w, nil).h)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	for range 3 {
		if _, err := io.WriteString(conn, "PUT "+path(1)+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		if err != nil || !strings.HasPrefix(string(b[:n]), "HTTP/1.1 20") {
			t.Fatalf("answer: got %q (%v), want 201 or 200", b[:n], err)
		}
	}
}
