package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// quiet is a handler over a fake, without the document: the fuzzers only look
// for answers that no input may bring about.
func quiet(t testing.TB) (*client, *world) {
	t.Helper()
	w := &world{
		t: &testing.T{}, clock: time.Unix(1_700_000_000, 0), beat: time.Unix(1_700_000_000, 0),
		jobs: map[job.ID]job.Job{}, live: map[job.ID]job.Watch{}, ended: map[job.ID][]chan struct{}{}, deliveries: map[string]job.Delivery{},
	}
	return newClient(t, w, nil), w
}

func (c *client) raw(method, target, kind, body string) *httptest.ResponseRecorder {
	u, err := url.Parse("http://localhost")
	if err != nil {
		c.t.Fatal(err)
	}
	u.Path, u.RawQuery, _ = strings.Cut(target, "?")
	r := httptest.NewRequest(method, "http://localhost/", strings.NewReader(body))
	r.URL.Path, r.URL.RawQuery = target, ""
	if path, query, found := strings.Cut(target, "?"); found {
		r.URL.Path, r.URL.RawQuery = path, query
	}
	r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
	r.Header.Set("Content-Type", kind)
	rec := httptest.NewRecorder()
	c.h.ServeHTTP(rec, r)
	return rec
}

// sane checks what holds for every answer: no fault of ours, and a problem with
// a code and valid JSON for every refusal.
func (c *client) sane(rec *httptest.ResponseRecorder) {
	c.t.Helper()
	if rec.Code >= 500 {
		c.t.Fatalf("answered %d: %s", rec.Code, rec.Body)
	}
	if rec.Code < 400 {
		return
	}
	var p problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil || p.Code == "" || p.Status != rec.Code || len(p.Value) > maxQuoted || len(p.Field) > 2*maxQuoted {
		c.t.Fatalf("answered %d with %s (%v)", rec.Code, rec.Body, err)
	}
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"labels":{"a":"b"},"destinations":["loader"],"deadline":"2h","group":"g"}`, `{"labels":{"a":null}}`,
		`{"deadline":"9999999999h"}`, `{"deadline":"1ns"}`, `{"labels":{"\u0000":""}}`, `{"a":` + strings.Repeat("[", 100), "\xff", `{} {}`, `{"group":"` + "\xc3" + `"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, w := quiet(t)
		rec := c.raw(http.MethodPut, path(1), "application/json", body)
		c.sane(rec)
		j, tracked := w.jobs[id(1)]
		if tracked != (rec.Code == http.StatusCreated) {
			t.Fatalf("answered %d, tracked %t", rec.Code, tracked)
		}
		if spec := (job.Spec{ID: j.ID, Labels: j.Labels, Destinations: j.Destinations, Group: j.Group}); tracked && spec.Validate() != nil {
			t.Fatalf("tracked with %v", spec.Validate())
		}
		c.sane(c.raw(http.MethodPost, "/v1/deliveries/replay", "application/json", body))
		c.sane(c.raw(http.MethodPost, "/v1/jobs", "application/json", body))
		c.sane(c.raw(http.MethodPost, "/v1/jobs", "application/json", `{"jobs":[`+body+`]}`))
	})
}

func FuzzStream(f *testing.F) {
	for _, seed := range []string{"", "\n", item(1), item(1) + "\n" + item(1) + "\n", "\r\n{}\n" + item(2), `{"id":` + "\n", "\xff\n\x00\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, w := quiet(t)
		rec := c.raw(http.MethodPost, "/v1/jobs", "application/x-ndjson", body)
		if rec.Code != http.StatusOK {
			t.Fatalf("answered %d: %s", rec.Code, rec.Body)
		}
		asked, answered, tracked, last := 0, 0, 0, 0
		for line := range strings.SplitSeq(body, "\n") {
			if strings.TrimSpace(line) != "" && len(line) <= maxBody {
				asked++
			}
		}
		for line := range strings.Lines(rec.Body.String()) {
			var one result
			if err := json.Unmarshal([]byte(line), &one); err != nil || one.Line <= last {
				t.Fatalf("answer %q after line %d (%v)", line, last, err)
			}
			last = one.Line
			answered++
			if one.Result == resultTracked {
				tracked++
			}
		}
		if asked != answered || tracked != len(w.jobs) {
			t.Fatalf("lines: got %d answers to %d; tracked: got %d answers for %d jobs", answered, asked, tracked, len(w.jobs))
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "state=watching,finished&status=&outcome=&label=k=v", "label==", "label=a%3Db&label=a%3Dc", "limit=1e3", "cursor=-1", "cursor=\x00", "since=24h",
		"since=292277026596-12-04T15:30:07Z", "timeout=2562047h47m16.854775807s", "a;b", "%zz", "verbose", "state=&state=", "status=" + strings.Repeat("a,", 50),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		c, w := quiet(t)
		if rec := c.raw(http.MethodGet, "/v1/jobs?"+query, "", ""); rec.Code == http.StatusOK {
			if err := w.filter.Labels.Validate(); err != nil || w.filter.Limit < 1 || w.filter.Limit > maxPage || slices.Contains(w.filter.Statuses, "") {
				t.Fatalf("filter: %+v (%v)", w.filter, err)
			}
		} else {
			c.sane(rec)
		}
		c.sane(c.raw(http.MethodGet, "/v1/deliveries?"+query, "", ""))
		c.sane(c.raw(http.MethodGet, path(1)+"/wait?"+query, "", ""))
		c.sane(c.raw(http.MethodGet, "/livez?"+query, "", ""))
	})
}

func FuzzPathAndHeaders(f *testing.F) {
	f.Add("/v1/jobs/"+id(1).String(), "Bearer x", "localhost")
	f.Add("/v1/deliveries/%2e%2e", "Basic eDp3", "[::1]:80")
	f.Add("//v1//jobs", "Basic \x00", "[")
	f.Fuzz(func(t *testing.T, target, authorization, host string) {
		c, _ := quiet(t)
		h, err := New(Options{Tenant: tenant, Jobs: &world{}, Ledger: &world{}, Watcher: &world{}, Pulse: &world{}, Dispatcher: &world{}, WriteToken: token("the-token")})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "http://localhost/", http.NoBody)
		r.URL.Path, r.Host, r.RemoteAddr = "/"+strings.TrimPrefix(target, "/"), host, "127.0.0.1:1"
		r.Header["Authorization"] = []string{authorization}
		if isOpen(r.URL.Path) {
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if want := strings.Contains(authorization, "the-token") || strings.HasPrefix(strings.ToLower(authorization), "basic "); rec.Code != http.StatusUnauthorized && !want {
			t.Fatalf("answered %d to %q", rec.Code, authorization)
		}
		rec = httptest.NewRecorder()
		r.Header.Del("Authorization")
		c.h.ServeHTTP(rec, r)
		if rec.Code < 300 || rec.Code >= 400 { // the mux may clean a path
			c.sane(rec)
		}
	})
}
