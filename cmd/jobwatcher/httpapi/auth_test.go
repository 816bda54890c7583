package httpapi

import (
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// Each caller asks for something that only reads and something that changes.
func TestWhoMayReadAndWrite(t *testing.T) {
	t.Parallel()
	const ok = 0
	both := func(o *Options) { o.WriteToken, o.ReadToken = token("w"), token("r") }
	write := func(o *Options) { o.WriteToken = token("w") }
	read := func(o *Options) { o.ReadToken = token("r") }
	named := func(o *Options) { o.Hosts = []string{"Watcher.Local"} }
	for _, test := range []struct {
		name                 string
		options              func(*Options)
		peer, host           string
		header, value        string
		forReading, forWrite int
	}{
		{name: "write token", options: both, header: "Authorization", value: "Bearer w"},
		{name: "write token from afar", options: both, peer: "192.0.2.1:1", header: "Authorization", value: "bearer  w"},
		{name: "read token", options: both, header: "Authorization", value: "Bearer r", forWrite: 403},
		{name: "write token as password", options: both, header: "Authorization", value: basic("anybody", "w")},
		{name: "read token as password", options: both, header: "Authorization", value: basic("", "r"), forWrite: 403},
		{name: "a token as user name", options: both, header: "Authorization", value: basic("w", ""), forReading: 401, forWrite: 401},
		{name: "wrong token", options: both, header: "Authorization", value: "Bearer x", forReading: 401, forWrite: 401},
		{name: "half a token", options: func(o *Options) { o.WriteToken = token("ww") }, header: "Authorization", value: "Bearer w", forReading: 401, forWrite: 401},
		{name: "no token", options: both, forReading: 401, forWrite: 401},
		{name: "no token from this machine", options: write, peer: "127.0.0.1:1", forReading: 401, forWrite: 401},
		{name: "empty bearer", options: both, header: "Authorization", value: "Bearer ", forReading: 401, forWrite: 401},
		{name: "empty password", options: both, header: "Authorization", value: basic("a", ""), forReading: 401, forWrite: 401},
		{name: "broken Basic", options: both, header: "Authorization", value: "Basic %%%", forReading: 401, forWrite: 401},
		{name: "another scheme", options: both, header: "Authorization", value: "Digest w", forReading: 401, forWrite: 401},
		{name: "only a write token, read with it", options: write, header: "Authorization", value: "Bearer w"},
		{name: "only a read token: nobody writes", options: read, header: "Authorization", value: "Bearer r", forWrite: 403},
		{name: "only a read token: this machine neither", options: read, forReading: 401, forWrite: 401},
		{name: "a token and a foreign name", options: both, host: "evil.example", header: "Authorization", value: "Bearer w"},
		{name: "a token through a proxy", options: both, host: "jobs.example", header: "Authorization", value: "Bearer w"},

		{name: "this machine"},
		{name: "this machine, 127.0.0.0/8", peer: "127.9.8.7:1", host: "127.0.0.2"},
		{name: "this machine, IPv6", peer: "[::1]:1", host: "[::1]:8080"},
		{name: "this machine, IPv6 without port", peer: "[::1]:1", host: "[::1]"},
		{name: "this machine, IPv4 in IPv6", peer: "[::ffff:127.0.0.1]:1", host: "LOCALHOST:8080"},
		{name: "this machine, absolute name", host: "localhost.:8080"},
		{name: "this machine by a configured name", options: named, host: "watcher.local:8080"},
		{name: "another machine", peer: "192.0.2.1:1", forReading: 403, forWrite: 403},
		{name: "another machine that calls itself this one", peer: "10.0.0.1:1", host: "127.0.0.1", forReading: 403, forWrite: 403},
		{name: "nobody knows from where", peer: "@", forReading: 403, forWrite: 403},
		{name: "DNS rebinding", host: "evil.example:8080", forReading: 403, forWrite: 403},
		{name: "DNS rebinding to a name that looks like ours", host: "localhost.evil.example", forReading: 403, forWrite: 403},
		{name: "an address that is not this machine's", host: "10.0.0.1:8080", forReading: 403, forWrite: 403},
		{name: "no Host", host: "-", forReading: 403, forWrite: 403},
		{name: "a proxy here", header: "X-Forwarded-For", value: "127.0.0.1", forReading: 403, forWrite: 403},
		{name: "a proxy here, the standard's way", header: "Forwarded", value: "for=127.0.0.1", forReading: 403, forWrite: 403},
		{name: "a proxy here, its host", header: "X-Forwarded-Host", value: "localhost", forReading: 403, forWrite: 403},
		{name: "a proxy here, nginx' way", header: "X-Real-Ip", value: "127.0.0.1", forReading: 403, forWrite: 403},
		{name: "a proxy here, by Via", header: "Via", value: "1.1 x", forReading: 403, forWrite: 403},
		{name: "a token that nobody asked for", header: "Authorization", value: "Bearer x"},
		{name: "a page of another site", header: "Sec-Fetch-Site", value: "cross-site", forWrite: 403},
		{name: "a page of another site, by Origin", header: "Origin", value: "http://evil.example", forWrite: 403},
		{name: "a page of another site that knows a password", options: both, host: "jobs.example", header: "Origin", value: "https://evil.example", forReading: 401, forWrite: 403},
		{name: "our own page", header: "Sec-Fetch-Site", value: "same-origin"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put(job.Job{ID: id(1)})
			c := newClient(t, w, test.options)
			if test.peer != "" {
				c.peer = test.peer
			}
			if test.host != "" {
				c.host = test.host
			}
			if test.host == "-" {
				c.host = ""
			}
			if test.header != "" {
				c = c.with(test.header, test.value)
			}
			expect := func(want, well int) int {
				if want == ok {
					return well
				}
				return want
			}
			if got, want := c.do("GET", path(1)).status, expect(test.forReading, 200); got != want {
				t.Errorf("reading: got %d, want %d", got, want)
			}
			if got, want := c.do("POST", path(1)+"/poll").status, expect(test.forWrite, 202); got != want {
				t.Errorf("changing: got %d, want %d", got, want)
			}
			if got, want := c.do("GET", "/v1/nothing").status, expect(test.forReading, 404); got != want {
				t.Errorf("a path that is not there: got %d, want %d", got, want)
			}
			for _, open := range []string{"/livez", "/readyz", "/healthz", "/openapi.yaml"} {
				if got := c.do("GET", open).status; got != 200 {
					t.Errorf("%s: got %d, want 200 for everybody", open, got)
				}
			}
		})
	}
}

func TestTokensAreReadWhenTheyAreUsed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	put := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("first\n")
	c := newClient(t, newWorld(t), func(o *Options) { o.WriteToken = secret.File(file) })
	first, second := c.with("Authorization", "Bearer first"), c.with("Authorization", "Bearer second")
	first.do("GET", "/v1/jobs").want(200, "")
	put("second\n")
	first.do("GET", "/v1/jobs").want(401, codeUnauthorized)
	second.do("GET", "/v1/jobs").want(200, "")
	// A file that is empty for a moment lets nobody in, and one that is gone
	// opens nothing either, to this machine neither.
	put("\n")
	c.with("Authorization", "Bearer ").do("GET", "/v1/jobs").want(401, codeUnauthorized)
	c.with("Authorization", basic("", "")).do("GET", "/v1/jobs").want(401, codeUnauthorized)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	second.do("GET", "/v1/jobs").want(500, codeInternal)
	c.do("GET", "/v1/jobs").want(401, codeUnauthorized)
}

func TestAReadTokenMayUseEveryWayToRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := examples(w)
	c := newClient(t, w, func(o *Options) { o.ReadToken = token("r") }).with("Authorization", "Bearer r")
	for _, e := range list {
		a := c.do(e.method, e.target, e.body)
		if want := map[bool]int{true: 200, false: 403}[e.method == http.MethodGet]; a.status != want {
			t.Errorf("%s %s: got %d, want %d", e.method, e.target, a.status, want)
		}
	}
	if _, known := w.jobs[id(1)]; !known || len(w.tracked) != 0 {
		t.Error("something has changed")
	}
}

func TestProblemsKeepTheirCause(t *testing.T) {
	t.Parallel()
	if p := problemOf(errors.Join(errors.New("first"), job.ErrNotFound)); p.Status != 404 || p.Error() != "not_found: there is no such thing" {
		t.Errorf("got %d %q", p.Status, p.Error())
	}
}
