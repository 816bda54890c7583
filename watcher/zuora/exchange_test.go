package zuora

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// fault is what the watcher sees of an error.
type fault struct {
	Reason     job.Reason
	Status     int
	Code       string
	RetryAfter time.Duration
	Wide       bool
}

func seenIn(e *Error) fault {
	return fault{e.FaultReason(), e.Status, e.Code, e.FaultRetryAfter(), e.FaultTenantWide()}
}

func TestAnswersBecomeReasons(t *testing.T) {
	t.Parallel()
	const page = "<html><head><title>403 Forbidden</title></head></html>"
	limits := []string{"RateLimit-Limit", "50000, 50000;w=60", "RateLimit-Remaining", "0", "RateLimit-Reset", "17"}
	for name, c := range map[string]struct {
		status  int
		body    string
		headers []string
		want    fault
	}{
		"400":                        {400, `{"code":400,"message":"Unable to process JSON"}`, nil, fault{job.ReasonMalformed, 400, "400", 0, false}},
		"400, temporary":             {400, `{"reasons":[{"code":53100361,"message":"x"}]}`, nil, fault{job.ReasonServer, 400, "53100361", 0, false}},
		"400, limit":                 {400, `{"reasons":[{"code":"53100370","message":"x"}]}`, nil, fault{job.ReasonRateLimited, 400, "53100370", 0, true}},
		"401":                        {401, `{"message":"Authentication error"}`, nil, fault{job.ReasonAuth, 401, "", 0, true}},
		"401, /v1 style":             {401, `{"success":false,"reasons":[{"code":90000011,"message":"x"}]}`, nil, fault{job.ReasonAuth, 401, "90000011", 0, true}},
		"401 without a body":         {401, ``, nil, fault{job.ReasonAuth, 401, "", 0, true}},
		"401, transient":             {401, `{"message":"Failed to get user info"}`, nil, fault{job.ReasonServer, 401, "", 0, false}},
		"403":                        {403, `{"code":1009,"message":"Access denied for restricted job x"}`, nil, fault{job.ReasonForbidden, 403, "1009", 0, false}},
		"403 without a body":         {403, ``, nil, fault{job.ReasonForbidden, 403, "", 0, false}},
		"403 of a proxy":             {403, page, []string{"Content-Type", "text/html"}, fault{job.ReasonForbidden, 403, "", 0, true}},
		"403 of a proxy, no type":    {403, "\n" + page, []string{"Content-Type", ""}, fault{job.ReasonForbidden, 403, "", 0, true}},
		"404":                        {404, `{"code":1001,"message":"No such query: x"}`, nil, fault{job.ReasonNotFound, 404, "1001", 0, false}},
		"404, plain":                 {404, "404 page not found\n", []string{"Content-Type", "text/plain"}, fault{job.ReasonNotFound, 404, "", 0, false}},
		"404 of a proxy":             {404, page, []string{"Content-Type", "text/html; charset=utf-8"}, fault{job.ReasonNotFound, 404, "", 0, true}},
		"404 and nothing left":       {404, `{"code":1001}`, limits, fault{job.ReasonNotFound, 404, "1001", 17 * time.Second, false}},
		"408":                        {408, ``, nil, fault{job.ReasonTimeout, 408, "", 0, false}},
		"415":                        {415, `{"code":415,"message":"HTTP 415 Unsupported Media Type"}`, nil, fault{job.ReasonMalformed, 415, "415", 0, false}},
		"429":                        {429, `{"reasons":[{"code":"50000070","message":"x"}]}`, nil, fault{job.ReasonRateLimited, 429, "50000070", 0, true}},
		"429, Retry-After":           {429, ``, []string{"Retry-After", "7"}, fault{job.ReasonRateLimited, 429, "", 7 * time.Second, true}},
		"429, reset":                 {429, ``, limits, fault{job.ReasonRateLimited, 429, "", 17 * time.Second, true}},
		"429, both":                  {429, ``, append([]string{"Retry-After", "7"}, limits...), fault{job.ReasonRateLimited, 429, "", 7 * time.Second, true}},
		"429, junk and reset":        {429, ``, append([]string{"Retry-After", "soon"}, limits...), fault{job.ReasonRateLimited, 429, "", 17 * time.Second, true}},
		"429, something left":        {429, ``, []string{"RateLimit-Remaining", "3", "RateLimit-Reset", "17"}, fault{job.ReasonRateLimited, 429, "", 0, true}},
		"500, string code":           {500, `{"code":"500","message":"A temporary problem"}`, nil, fault{job.ReasonServer, 500, "500", 0, false}},
		"502 of a proxy":             {502, page, []string{"Content-Type", "text/html"}, fault{job.ReasonServer, 502, "", 0, false}},
		"503":                        {503, ``, nil, fault{job.ReasonServer, 503, "", 0, false}},
		"503, Retry-After":           {503, ``, []string{"Retry-After", "120"}, fault{job.ReasonServer, 503, "", 2 * time.Minute, true}},
		"503 and nothing left":       {503, ``, limits, fault{job.ReasonServer, 503, "", 17 * time.Second, true}},
		"504":                        {504, ``, nil, fault{job.ReasonServer, 504, "", 0, false}},
		"599":                        {599, ``, nil, fault{job.ReasonServer, 599, "", 0, false}},
		"204":                        {204, ``, nil, fault{job.ReasonMalformed, 204, "", 0, false}},
		"302":                        {302, ``, []string{"Location", "https://elsewhere.example.com/login"}, fault{job.ReasonMalformed, 302, "", 0, true}},
		"304":                        {304, ``, nil, fault{job.ReasonMalformed, 304, "", 0, true}},
		"a false gzip":               {503, `no gzip`, []string{"Content-Encoding", "gzip"}, fault{job.ReasonServer, 503, "", 0, false}},
		"a gzip":                     {404, zipped(`{"code":1001}`), []string{"Content-Encoding", "gzip"}, fault{job.ReasonNotFound, 404, "1001", 0, false}},
		"an encoding nobody wants":   {404, `{"code":1001}`, []string{"Content-Encoding", "br"}, fault{job.ReasonNotFound, 404, "", 0, false}},
		"200, an encoding unwanted":  {200, inProgress, []string{"Content-Encoding", "br"}, fault{job.ReasonMalformed, 200, "", 0, false}},
		"200, a false gzip":          {200, inProgress, []string{"Content-Encoding", "gzip"}, fault{job.ReasonMalformed, 200, "", 0, false}},
		"200, an empty gzip":         {200, ``, []string{"Content-Encoding", "gzip"}, fault{job.ReasonMalformed, 200, "", 0, false}},
		"200, a gzip with bad bytes": {200, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff", []string{"Content-Encoding", "gzip"}, fault{job.ReasonMalformed, 200, "", 0, false}},
		"200, a gzip with a bad sum": {200, zipped(inProgress)[:len(zipped(inProgress))-8] + "12345678", []string{"Content-Encoding", "gzip"}, fault{job.ReasonMalformed, 200, "", 0, false}},
		"200, a gzip that ends":      {200, zipped(inProgress)[:30], []string{"Content-Encoding", "gzip"}, fault{job.ReasonNetwork, 200, "", 0, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{api: always(c.status, c.body, append([]string{"Zuora-Request-Id", "0a1b-REQ"}, c.headers...)...)}
			_, err := newFake(t, f).Get(t.Context(), jobID)
			e := faultOf(t, err)
			if diff := cmp.Diff(c.want, seenIn(e)); diff != "" {
				t.Errorf("%v (-want +got):\n%s", e, diff)
			}
			if e.RequestID != "0a1b-REQ" || e.TrackID != f.apis[len(f.apis)-1].Header.Get("Zuora-Track-Id") {
				t.Errorf("request id %q, track id %q", e.RequestID, e.TrackID)
			}
			if !strings.Contains(e.Error(), e.RequestID) || !strings.Contains(e.Error(), e.TrackID) {
				t.Errorf("%q names neither request nor track id", e)
			}
		})
	}
}

func TestUnderstoodEncodings(t *testing.T) {
	t.Parallel()
	for encoding, body := range map[string]string{
		"": inProgress, "identity": inProgress, "gzip": zipped(inProgress), "GZIP": zipped(inProgress), "x-gzip": zipped(inProgress),
	} {
		if _, err := newFake(t, &fake{api: always(200, body, "Content-Encoding", encoding)}).Get(t.Context(), jobID); err != nil {
			t.Errorf("%q: %v", encoding, err)
		}
	}
}

// zeros is an endless text inside a job.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	for i := range p[:n] {
		p[i] = '0'
	}
	z.left -= n
	return n, nil
}

func bomb(t *testing.T, head string, size int, tail string) string {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(z, io.MultiReader(strings.NewReader(head), &zeros{size}, strings.NewReader(tail))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// It runs alone: it counts what is allocated.
func TestAnAnswerThatUnfoldsToTooMuchIsNotHeld(t *testing.T) {
	body := bomb(t, `{"data":{"queryStatus":"completed","query":"`, 300<<20, `"}}`)
	for name, c := range map[string]struct {
		status int
		look   func(*Client) error
		want   job.Reason
	}{
		"get":   {200, func(c *Client) error { _, err := c.Get(t.Context(), jobID); return err }, job.ReasonMalformed},
		"list":  {200, func(c *Client) error { return c.List(t.Context(), "", 10, func(job.Observation) bool { return true }) }, job.ReasonMalformed},
		"error": {500, func(c *Client) error { _, err := c.Get(t.Context(), jobID); return err }, job.ReasonServer},
	} {
		client := newFake(t, &fake{api: always(c.status, body, "Content-Encoding", "gzip")})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := c.look(client)
		runtime.ReadMemStats(&after)
		if e := faultOf(t, err); e.Reason != c.want {
			t.Errorf("%s: %v", name, e)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 40<<20 {
			t.Errorf("%s: allocated %d MiB", name, grown>>20)
		}
	}
}

func TestJobsUpToTheCapAreTaken(t *testing.T) {
	t.Parallel()
	head, tail := `{"data":{"queryStatus":"completed","query":"`, `"}}`
	fits := maxJobBytes - len(head) - len(tail)
	for size, ok := range map[int]bool{fits: true, fits + 1: false} {
		f := &fake{api: always(200, head+strings.Repeat("x", size)+tail)}
		o, err := newFake(t, f).Get(t.Context(), jobID)
		if ok != (err == nil) || ok && len(o.Query) != size {
			t.Errorf("%d bytes: %d bytes of query, %v", size, len(o.Query), err)
		}
	}
}

func TestRedirectsAreNeverFollowed(t *testing.T) {
	t.Parallel()
	var trap atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { trap.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		away := func(r *http.Request, _ int) (*http.Response, error) {
			return reply(status, "", "Location", elsewhere.URL+r.URL.Path), nil
		}
		for name, f := range map[string]*fake{"get": {api: away}, "token": {token: away}} {
			own := newTransport(1)
			_, err := newFake(t, f, func(o *Options) {
				o.Transport = fallback{f, own}
			}).Get(t.Context(), jobID)
			if e := faultOf(t, err); e.Reason != job.ReasonMalformed || !e.TenantWide || e.Status != status {
				t.Errorf("%s %d: %v", name, status, e)
			}
			own.CloseIdleConnections()
		}
	}
	if n := trap.Load(); n != 0 {
		t.Errorf("%d requests went where the redirects pointed", n)
	}
}

// fallback answers our own host with the fake one and everything else for real.
type fallback struct{ fake, real http.RoundTripper }

func (f fallback) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "rest.example.com" {
		return f.fake.RoundTrip(r)
	}
	return f.real.RoundTrip(r)
}

// dripping is a body that never comes to its end.
type dripping struct {
	ctx  context.Context
	head string
}

func (d *dripping) Read(p []byte) (int, error) {
	if d.head != "" {
		n := copy(p, d.head)
		d.head = d.head[n:]
		return n, nil
	}
	<-d.ctx.Done()
	return 0, d.ctx.Err()
}

func (d *dripping) Close() error { return nil }

func TestEachRequestEndsWithinItsTimeout(t *testing.T) {
	t.Parallel()
	hang := func(r *http.Request, _ int) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	stall := func(status int, head string) func(*http.Request, int) (*http.Response, error) {
		return func(r *http.Request, _ int) (*http.Response, error) {
			resp := reply(status, "")
			resp.Body = &dripping{r.Context(), head}
			return resp, nil
		}
	}
	for name, c := range map[string]struct {
		fake *fake
		list bool
		want fault
	}{
		"no answer":       {&fake{api: hang}, false, fault{job.ReasonTimeout, 0, "", 0, false}},
		"half a body":     {&fake{api: stall(200, inProgress[:20])}, false, fault{job.ReasonTimeout, 200, "", 0, false}},
		"half an error":   {&fake{api: stall(404, `{"code"`)}, false, fault{job.ReasonNotFound, 404, "", 0, false}},
		"half a list":     {&fake{api: stall(200, `{"data":[`)}, true, fault{job.ReasonTimeout, 200, "", 0, false}},
		"no token":        {&fake{token: hang}, false, fault{job.ReasonTimeout, 0, "", 0, true}},
		"half a token":    {&fake{token: stall(200, `{"acc`)}, false, fault{job.ReasonTimeout, 200, "", 0, true}},
		"half a refusal":  {&fake{token: stall(401, `{"acc`)}, false, fault{job.ReasonAuth, 401, "", 0, true}},
		"no answer, list": {&fake{api: hang}, true, fault{job.ReasonTimeout, 0, "", 0, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client := newFake(t, c.fake, func(o *Options) { o.Timeout = 17 * time.Second })
				began := time.Now()
				var err error
				if c.list {
					err = client.List(t.Context(), "", 5, func(job.Observation) bool { return true })
				} else {
					_, err = client.Get(t.Context(), jobID)
				}
				if took := time.Since(began); took != 17*time.Second {
					t.Errorf("took %s", took)
				}
				if diff := cmp.Diff(c.want, seenIn(faultOf(t, err))); diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			})
		})
	}
}

func TestTheCallersOwnEndIsObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{api: func(r *http.Request, _ int) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		}}
		client := newFake(t, f)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		_, err := client.Get(ctx, jobID)
		if took := time.Since(began); took != 2*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %s: %v", took, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = client.Get(ctx, jobID)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == tokenPath:
			_, _ = io.WriteString(w, `{"access_token":"abcdef","expires_in":3599}`)
		case r.URL.Path == jobsPath:
			_, _ = io.WriteString(w, `{"data":[`+strings.Repeat(inProgress[8:len(inProgress)-1]+",", 20)+inProgress[8:len(inProgress)-1]+`]}`)
		case strings.HasSuffix(r.URL.Path, "1"):
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, zipped(inProgress))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"code":1001,"message":"`+strings.Repeat("x", 5000)+`"}`)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	const inFlight = 4
	client := newFake(t, &fake{}, func(o *Options) { o.BaseURL, o.Transport, o.MaxInFlight = server.URL, nil, inFlight })
	defer client.Close()
	gone := job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104302")
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for range 100 {
				if _, err := client.Get(t.Context(), jobID); err != nil {
					t.Error(err)
				}
				if _, err := client.Get(t.Context(), gone); faultOf(t, err).Reason != job.ReasonNotFound {
					t.Error(err)
				}
				// The list is left early; the rest is little.
				if err := client.List(t.Context(), "", 100, func(job.Observation) bool { return false }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// Two may start before the first has one to give back.
	if n := opened.Load(); n > 2*inFlight {
		t.Errorf("%d connections for %d requests, %d in flight", n, 1200, inFlight)
	}
}

func TestBrokenConnectionsAreNetworkFaults(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case jobsPath: // cut in the middle of a body of known length
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"data":[`+inProgress[8:len(inProgress)-1]+`,`)
		case tokenPath:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token":"abcdef","expires_in":3599}`)
		default:
			panic(http.ErrAbortHandler)
		}
	}))
	client := newFake(t, &fake{}, func(o *Options) { o.BaseURL, o.Transport = server.URL, nil })
	defer client.Close()
	_, err := client.Get(t.Context(), jobID)
	if diff := cmp.Diff(fault{Reason: job.ReasonNetwork}, seenIn(faultOf(t, err))); diff != "" {
		t.Errorf("cut: %v (-want +got):\n%s", err, diff)
	}
	var seen int
	err = client.List(t.Context(), "", 100, func(job.Observation) bool { seen++; return true })
	if diff := cmp.Diff(fault{Reason: job.ReasonNetwork, Status: 200}, seenIn(faultOf(t, err))); diff != "" || seen != 1 {
		t.Errorf("list cut after %d jobs: %v (-want +got):\n%s", seen, err, diff)
	}
	server.Close()
	_, err = client.Get(t.Context(), jobID)
	if diff := cmp.Diff(fault{Reason: job.ReasonNetwork}, seenIn(faultOf(t, err))); diff != "" {
		t.Errorf("nobody there: %v (-want +got):\n%s", err, diff)
	}
	if !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%q does not say why", err)
	}
}
