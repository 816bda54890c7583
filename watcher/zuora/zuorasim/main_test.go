package zuorasim

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDocNamesEveryFile(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "doc.go" {
			continue
		}
		if !regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).Match(doc) {
			t.Errorf("doc.go does not say what %s is for", name)
		}
	}
}

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// specification is the published OpenAPI document, read once.
var specification = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join("..", "testdata", "openapi-dataquery.yaml"))
	if err != nil {
		return nil, err
	}
	doc.Servers = nil // any host
	return legacy.NewRouter(doc)
})

// checker holds every answer to the published document, and every request that
// was answered well.
type checker struct {
	t    *testing.T
	next http.RoundTripper
}

func (c *checker) RoundTrip(r *http.Request) (*http.Response, error) {
	c.t.Helper()
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	res, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(raw))
	router, err := specification()
	if err != nil {
		c.t.Fatal(err)
	}
	route, params, unknown := router.FindRoute(r)
	if unknown != nil {
		return res, nil //nolint:nilerr // a path or method that Zuora does not have
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r.Clone(context.Background()), PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	in.Request.Body = io.NopCloser(bytes.NewReader(sent))
	if err := openapi3filter.ValidateRequest(c.t.Context(), in); err != nil && res.StatusCode < 300 {
		c.t.Errorf("%s %s: answered %d although the request is invalid: %v", r.Method, r.URL, res.StatusCode, err)
	}
	err = openapi3filter.ValidateResponse(c.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Body: io.NopCloser(bytes.NewReader(unzip(c.t, res, raw))),
	})
	if err != nil {
		c.t.Errorf("%s %s: answer %d %s: %v", r.Method, r.URL, res.StatusCode, raw, err)
	}
	return res, nil
}

func unzip(t *testing.T, res *http.Response, raw []byte) []byte {
	t.Helper()
	if res.Header.Get("Content-Encoding") != "gzip" {
		return raw
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// sim is a tenant with a clock to move and a client that is held to the
// document.
type sim struct {
	*Tenant
	t     *testing.T
	clock *clock
	token string
	via   http.RoundTripper
}

func newSim(t *testing.T, o Options) *sim {
	t.Helper()
	c := newClock()
	o.Now = c.Now
	tenant := New(o)
	return &sim{Tenant: tenant, t: t, clock: c, token: tenant.Token(""), via: &checker{t, tenant.Transport()}}
}

// raw leaves the document out: for answers that are meant to break it.
func (s *sim) raw() *sim {
	c := *s
	c.via = s.Transport()
	return &c
}

// as makes the requests of another client.
func (s *sim) as(clientID string) *sim {
	c := *s
	c.token = s.Token(clientID)
	return &c
}

type reply struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

// do sends a request; header are pairs.
func (s *sim) do(method, path, body string, header ...string) reply {
	s.t.Helper()
	r, err := s.try(method, path, body, header...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (s *sim) try(method, path, body string, header ...string) (reply, error) {
	s.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, "https://rest.zuora.com"+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.via.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	raw, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return reply{Response: res, body: raw, err: err}, nil
}

func (s *sim) get(path string, header ...string) reply {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", header...)
}

func (s *sim) poll(id job.ID) wireJob {
	s.t.Helper()
	r := s.get(jobsPath + "/" + id.String())
	if r.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", id, r.StatusCode, r.body)
	}
	return decode[wireData[wireJob]](s.t, r.body).Data
}

// submission is the body of the official sample.
const submission = `{"compression":"NONE","output":{"target":"S3"},"outputFormat":"JSON",` +
	`"query":"SELECT accountnumber, balance FROM Account WHERE Account.balance > 100","sourceData":"LIVE"}`

func (s *sim) submit(body string, header ...string) reply {
	s.t.Helper()
	return s.do(http.MethodPost, jobsPath, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

func (s *sim) signIn(id, secret string) reply {
	s.t.Helper()
	form := url.Values{"client_id": {id}, "client_secret": {secret}, "grant_type": {"client_credentials"}}
	c := *s
	c.token = ""
	return c.do(http.MethodPost, "/oauth/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func decode[T any](t *testing.T, b []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("decode %s: %v", b, err)
	}
	return v
}
