package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"go.uber.org/goleak"
)

// unreachable are the answers of openapi.yaml that no test of this package can
// bring about, each with its reason.
var unreachable = map[string]string{
	"GET /metrics 500": "the metrics handler's own answer",
	"GET /metrics 503": "the metrics handler's own answer",
}

// spec is openapi.yaml with a record of what has been seen of it.
type spec struct {
	doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex
	seen map[string]bool
}

var theSpec = sync.OnceValues(loadSpec)

func loadSpec() (*spec, error) {
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	router, err := legacy.NewRouter(doc)
	return &spec{doc: doc, router: router, seen: map[string]bool{}}, err
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" {
		code = unseen()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// unseen reports what openapi.yaml promises and no test has seen.
func unseen() int {
	s, err := theSpec()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 0
	for path, item := range s.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				key := method + " " + path + " " + status
				if reason := unreachable[key]; s.seen[key] == (reason != "") {
					fmt.Fprintf(os.Stderr, "openapi.yaml: %s: seen %t, unreachable because %q\n", key, s.seen[key], reason)
					code = 1
				}
			}
		}
	}
	return code
}

// client sends requests to a handler and holds both sides to openapi.yaml.
type client struct {
	t       testing.TB
	h       http.Handler
	spec    *spec
	headers map[string]string
	peer    string
	host    string
	// lenient lets a request be answered well that the document forbids: items
	// at fault are reported one by one.
	lenient bool
}

func newClient(t testing.TB, w *world, change func(*Options)) *client {
	t.Helper()
	o := Options{Tenant: tenant, Jobs: w, Ledger: w, Watcher: w, Pulse: w, Dispatcher: w, Now: w.now}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := theSpec()
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, h: h, spec: s, peer: "127.0.0.1:50000", host: "127.0.0.1:8080", headers: map[string]string{}}
}

func token(text string) secret.Source { return secret.Fixed(secret.New(text)) }

// with is the same client with one more header.
func (c *client) with(name, value string) *client {
	d := *c
	d.headers = maps.Clone(c.headers)
	d.headers[name] = value
	return &d
}

// reply is an answer that has been read.
type reply struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// do sends one request; the body is sent as JSON unless a header says otherwise.
func (c *client) do(method, target string, body ...string) reply {
	c.t.Helper()
	return c.request(method, target, strings.Join(body, ""), http.NoBody)
}

func (c *client) request(method, target, body string, none io.Reader) reply {
	c.t.Helper()
	in := none
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, in)
	r.RemoteAddr, r.Host = c.peer, c.host
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.headers {
		if r.Header.Set(name, value); value == "" {
			r.Header.Del(name)
		}
	}
	checked := r.Clone(context.Background())
	checked.Body = io.NopCloser(strings.NewReader(body))
	rec := httptest.NewRecorder()
	c.h.ServeHTTP(rec, r)
	a := reply{t: c.t, status: rec.Code, header: rec.Header(), body: rec.Body.Bytes()}
	c.check(checked, a)
	return a
}

// check holds a request and its answer to the document: who asks as it says is
// answered as it says, and who is answered well has asked as it says.
func (c *client) check(r *http.Request, a reply) {
	c.t.Helper()
	what := fmt.Sprintf("%s %s answered %d", r.Method, r.URL, a.status)
	method := r.Method
	if method == http.MethodHead {
		r.Method = http.MethodGet
	}
	route, params, err := c.spec.router.FindRoute(r)
	if err != nil {
		if a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
			a.problem()
			return
		}
		c.t.Errorf("%s, but openapi.yaml has nothing there: %v", what, err)
		return
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil && a.status < 300 && !c.lenient {
		c.t.Errorf("%s, but openapi.yaml forbids it: %v", what, err)
	}
	if a.status >= 400 && route.Path != "/metrics" {
		if p := a.problem(); p.Status != a.status {
			c.t.Errorf("%s, but its body says %d", what, p.Status)
		}
	}
	if method == http.MethodHead {
		return
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.status, Header: a.header, Options: in.Options}
	out.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		c.t.Errorf("%s, but not as openapi.yaml has it: %v\n%s", what, err, a.body)
	}
	if a.header.Get("X-Request-Id") == "" {
		c.t.Errorf("%s without X-Request-Id", what)
	}
	c.spec.mu.Lock()
	defer c.spec.mu.Unlock()
	c.spec.seen[fmt.Sprintf("%s %s %d", method, route.Path, a.status)] = true
}

// decode reads a JSON answer, every field of which must be known to v.
func (a reply) decode(v any) {
	a.t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		a.t.Fatalf("decode %s: %v", a.body, err)
	}
}

func (a reply) problem() problem {
	a.t.Helper()
	var p problem
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("content type of %d: got %q, want application/problem+json", a.status, got)
	}
	if len(a.body) > 0 {
		a.decode(&p)
	}
	return p
}

// want checks status and, for a problem, its code.
func (a reply) want(status int, code string) reply {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status: got %d, want %d\n%s", a.status, status, a.body)
	}
	if code != "" && a.problem().Code != code {
		a.t.Errorf("code: got %q, want %q\n%s", a.problem().Code, code, a.body)
	}
	return a
}

func (a reply) job() job.View {
	a.t.Helper()
	var v job.View
	a.decode(&v)
	return v
}

func id(n int) job.ID {
	return job.MustParseID(fmt.Sprintf("3a3e85c4-96e7-486b-ae02-%012d", n))
}

func path(n int) string { return "/v1/jobs/" + id(n).String() }
