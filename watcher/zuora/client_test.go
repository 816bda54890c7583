package zuora

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

func TestNewRefusesWhatWouldFailLater(t *testing.T) {
	t.Parallel()
	some := secret.Fixed(secret.New("canary-secret"))
	for name, change := range map[string]func(*Options){
		"no base URL":            func(o *Options) { o.BaseURL = "" },
		"no URL":                 func(o *Options) { o.BaseURL = "https://rest zuora" },
		"no scheme":              func(o *Options) { o.BaseURL = "rest.zuora.com" },
		"plain http":             func(o *Options) { o.BaseURL = "http://rest.zuora.com" },
		"plain http, private":    func(o *Options) { o.BaseURL = "http://10.0.0.1" },
		"looks like loopback":    func(o *Options) { o.BaseURL = "http://127.0.0.1.example.com" },
		"another scheme":         func(o *Options) { o.BaseURL = "ftp://127.0.0.1" },
		"a path":                 func(o *Options) { o.BaseURL = "https://rest.zuora.com/v1" },
		"a query":                func(o *Options) { o.BaseURL = "https://rest.zuora.com?canary-secret" },
		"a fragment":             func(o *Options) { o.BaseURL = "https://rest.zuora.com#canary-secret" },
		"a password":             func(o *Options) { o.BaseURL = "https://me:canary-secret@rest.zuora.com" },
		"a password, no URL":     func(o *Options) { o.BaseURL = "https://me:canary-secret@rest zuora" },
		"no credentials":         func(o *Options) { o.ClientID, o.ClientSecret = "", secret.Source{} },
		"no client id":           func(o *Options) { o.ClientID = "" },
		"no client secret":       func(o *Options) { o.ClientSecret = secret.Source{} },
		"two kinds":              func(o *Options) { o.BearerToken = some },
		"colon in prefix":        func(o *Options) { o.TrackPrefix = "a:b" },
		"semicolon in prefix":    func(o *Options) { o.TrackPrefix = "a;b" },
		"quote in prefix":        func(o *Options) { o.TrackPrefix = "a'b" },
		"double quote in prefix": func(o *Options) { o.TrackPrefix = `a"b` },
		"umlaut in prefix":       func(o *Options) { o.TrackPrefix = "ä" },
		"long prefix":            func(o *Options) { o.TrackPrefix = strings.Repeat("x", 41) },
		"line break in entity":   func(o *Options) { o.EntityIDs = "a\r\nb" },
		"line break in org":      func(o *Options) { o.OrgIDs = "a\nb" },
		"line break in agent":    func(o *Options) { o.UserAgent = "a\nb" },
		"negative time-out":      func(o *Options) { o.Timeout = -1 },
		"negative in flight":     func(o *Options) { o.MaxInFlight = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{BaseURL: "https://rest.zuora.com", ClientID: testID, ClientSecret: some}
			change(&o)
			_, err := New(o)
			if !errors.Is(err, job.ErrInvalid) {
				t.Fatalf("got %v, want job.ErrInvalid", err)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestNewTakesHTTPSAndLoopback(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"https://rest.zuora.com":   "https://rest.zuora.com",
		"https://rest.zuora.com/":  "https://rest.zuora.com",
		"https://rest.zuora.com:8": "https://rest.zuora.com:8",
		"http://127.0.0.1:8080":    "http://127.0.0.1:8080",
		"http://127.9.9.9":         "http://127.9.9.9",
		"http://[::1]:80":          "http://[::1]:80",
		"http://localhost:1":       "http://localhost:1",
		"http://sim.localhost":     "http://sim.localhost",
	} {
		c, err := New(Options{BaseURL: base, BearerToken: secret.Fixed(secret.New("x"))})
		if err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		if got := c.base.String(); got != want {
			t.Errorf("%s: base is %s, want %s", base, got, want)
		}
		c.Close()
	}
}

func TestTransportKeepsAConnectionForEachRequestInFlight(t *testing.T) {
	t.Parallel()
	c, err := New(Options{BaseURL: "https://rest.zuora.com", BearerToken: secret.Fixed(secret.New("x")), MaxInFlight: 13})
	if err != nil {
		t.Fatal(err)
	}
	own, ok := c.o.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("transport is a %T", c.o.Transport)
	}
	if own.MaxIdleConnsPerHost != 13 || own.MaxIdleConns != 13 || !own.DisableCompression || own.DisableKeepAlives {
		t.Errorf("MaxIdleConnsPerHost %d, MaxIdleConns %d, DisableCompression %v, DisableKeepAlives %v",
			own.MaxIdleConnsPerHost, own.MaxIdleConns, own.DisableCompression, own.DisableKeepAlives)
	}
}

func TestRequestsCarryEveryDocumentedHeader(t *testing.T) {
	t.Parallel()
	f := &fake{api: always(200, inProgress)}
	c := newFake(t, f, func(o *Options) {
		o.EntityIDs, o.OrgIDs, o.TrackPrefix, o.UserAgent = "entity-1", "org-1,org-2", "acme", "jobwatcher/1.2.3"
	})
	if _, err := c.Get(t.Context(), jobID); err != nil {
		t.Fatal(err)
	}
	got := f.apis[0].Header.Clone()
	track := got.Get("Zuora-Track-Id")
	got.Del("Zuora-Track-Id")
	want := http.Header{
		"Authorization": {"Bearer token-1"}, "Accept": {"application/json"}, "Accept-Encoding": {"gzip"},
		"User-Agent": {"jobwatcher/1.2.3"}, "Zuora-Entity-Ids": {"entity-1"}, "Zuora-Org-Ids": {"org-1,org-2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request headers (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(track, "acme-") {
		t.Errorf("track id %q", track)
	}
	if got, want := f.apis[0].URL.String(), "https://rest.example.com/query/jobs/"+jobID.String(); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}

	got = f.tokens[0].Header.Clone()
	if other := got.Get("Zuora-Track-Id"); !strings.HasPrefix(other, "acme-") || other == track {
		t.Errorf("track id of the token request %q, of the other %q", other, track)
	}
	got.Del("Zuora-Track-Id")
	want = http.Header{
		"Accept": {"application/json"}, "Content-Type": {"application/x-www-form-urlencoded"},
		"User-Agent": {"jobwatcher/1.2.3"}, "Zuora-Entity-Ids": {"entity-1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers of the token request (-want +got):\n%s", diff)
	}
	form := map[string][]string{"grant_type": {"client_credentials"}, "client_id": {testID}, "client_secret": {testSecret}}
	if diff := cmp.Diff(form, map[string][]string(f.forms[0])); diff != "" {
		t.Errorf("token form (-want +got):\n%s", diff)
	}
}

func TestTrackIDsAreUniqueAndFit(t *testing.T) {
	t.Parallel()
	c := newFake(t, &fake{}, func(o *Options) { o.TrackPrefix = strings.Repeat("p", maxPrefix) })
	c.count.Store(math.MaxUint64 - 10_000)
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				id := c.trackID()
				mu.Lock()
				if seen[id] || len(id) > 64 || strings.ContainsAny(id, `:;"' `) || !printable(id) || !strings.HasPrefix(id, c.o.TrackPrefix) {
					t.Errorf("track id %q", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if other := newFake(t, &fake{}); other.mark == newFake(t, &fake{}).mark {
		t.Errorf("two clients have the same mark %q", other.mark)
	}
}

func TestUnsetIDsAreNotSent(t *testing.T) {
	t.Parallel()
	f := &fake{api: always(200, inProgress)}
	if _, err := newFake(t, f).Get(t.Context(), jobID); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*http.Request{f.apis[0], f.tokens[0]} {
		for _, name := range []string{"Zuora-Entity-Ids", "Zuora-Org-Ids"} {
			if _, sent := r.Header[name]; sent {
				t.Errorf("%s sends %s", r.URL.Path, name)
			}
		}
	}
}
