package zuora

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

const (
	testID     = "5a1e0000-51b0-4c11-8e47-000000000001"
	testSecret = "secret=with+signs&to/encode%"
)

var jobID = job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104301")

// fake is a tenant in this process: a RoundTripper without sockets, so that it
// works in virtual time. It remembers what it was asked.
type fake struct {
	t *testing.T
	// api answers everything but token requests; n counts from 1.
	api func(r *http.Request, n int) (*http.Response, error)
	// token answers token requests; nil: a good token, "token-1" and so on.
	token func(r *http.Request, n int) (*http.Response, error)

	mu     sync.Mutex
	apis   []*http.Request
	tokens []*http.Request
	forms  []url.Values
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	if r.URL.Path == tokenPath {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body))
		if err != nil {
			f.t.Errorf("token request: %v", err)
		}
		f.tokens = append(f.tokens, r)
		f.forms = append(f.forms, form)
		n, answer := len(f.tokens), f.token
		f.mu.Unlock()
		if answer == nil {
			answer = goodToken
		}
		return answer(r, n)
	}
	f.apis = append(f.apis, r)
	n, answer := len(f.apis), f.api
	f.mu.Unlock()
	return answer(r, n)
}

func (f *fake) counts() (apis, tokens int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.apis), len(f.tokens)
}

func (f *fake) bearers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, r := range f.apis {
		all = append(all, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}
	return all
}

func goodToken(_ *http.Request, n int) (*http.Response, error) {
	return reply(200, `{"access_token":"token-`+string(rune('0'+n))+`","token_type":"bearer","expires_in":3599}`), nil
}

// reply is an answer; headers come in pairs.
func reply(status int, body string, headers ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{
		StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)),
	}
}

func always(status int, body string, headers ...string) func(*http.Request, int) (*http.Response, error) {
	return func(*http.Request, int) (*http.Response, error) { return reply(status, body, headers...), nil }
}

// inProgress is the answer about a job that has not ended.
const inProgress = `{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301","queryStatus":"in_progress"}}`

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

// newFake is a client in front of a fake tenant.
func newFake(t *testing.T, f *fake, change ...func(*Options)) *Client {
	t.Helper()
	f.t = t
	o := Options{
		BaseURL: "https://rest.example.com", ClientID: testID, ClientSecret: secret.Fixed(secret.New(testSecret)), Transport: f,
	}
	for _, c := range change {
		c(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func withBearer(s secret.Source) func(*Options) {
	return func(o *Options) { o.ClientID, o.ClientSecret, o.BearerToken = "", secret.Source{}, s }
}

// faultOf is what the watcher would see of an error.
func faultOf(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v (%T), want an *Error", err, err)
	}
	return e
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
