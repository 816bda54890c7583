package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

const hook = "https://receiver.example/services/T0CANARY99?sig=canaryQUERY"

func request(target string) Request { return Request{URL: secret.New(target), Body: []byte(`{"a":1}`)} }

func TestPostSendsOnceAndReturnsTheAnswer(t *testing.T) {
	t.Parallel()
	r := notifytest.NewReceiver(notifytest.Step{Status: 202, Body: " taken\n\x00 in ", Header: map[string]string{"Retry-After": "7"}})
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	c := New(Options{AllowPrivate: true, UserAgent: "jobwatcher/1.2.3"})
	t.Cleanup(c.CloseIdle)
	req := request(server.URL + "/hook#fragment")
	req.Header = http.Header{"Content-Type": {"application/json"}, "X-Team": {"finance"}}
	a, err := c.Post(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if a.Code != 202 || a.Head != "taken in" || string(a.Body) != " taken\n\x00 in " || a.Header.Get("Retry-After") != "7" {
		t.Errorf("got %+v", a)
	}
	got := r.Received()
	if len(got) != 1 || got[0].Method != http.MethodPost || got[0].URL != "/hook" || string(got[0].Body) != `{"a":1}` {
		t.Fatalf("the receiver got %+v", got)
	}
	for header, want := range map[string]string{"User-Agent": "jobwatcher/1.2.3", "Content-Type": "application/json", "X-Team": "finance", "Accept-Encoding": ""} {
		if diff := cmp.Diff(got[0].Header.Get(header), want); diff != "" {
			t.Errorf("%s: %s", header, diff)
		}
	}
	if req.Header.Get("User-Agent") != "" {
		t.Error("the caller's header was changed")
	}
}

func TestUserInfoOfTheURLBecomesBasicAuth(t *testing.T) {
	t.Parallel()
	r := notifytest.Always(notifytest.Step{Status: 401, Echo: true})
	c := New(Options{Transport: notifytest.InProcess(r)})
	a, err := c.Post(t.Context(), request("https://user:canaryPW@receiver.example/"))
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest(http.MethodPost, "/", http.NoBody)
	req.Header = r.Received()[0].Header
	if user, password, _ := req.BasicAuth(); user != "user" || password != "canaryPW" {
		t.Errorf("got %q, %q", user, password)
	}
	if strings.Contains(a.Head, "canaryPW") || strings.Contains(a.Head, "dXNlcjpj") {
		t.Errorf("the echo came back: %q", a.Head)
	}
}

func TestRedirectsAreAnswers(t *testing.T) {
	t.Parallel()
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{"https://elsewhere.example/", "/other", "http://127.0.0.1/", ":not a URL\x7f", ""} {
			r := notifytest.Always(notifytest.Step{Status: code, Header: map[string]string{"Location": to}})
			a, err := New(Options{Transport: notifytest.InProcess(r)}).Post(t.Context(), request(hook))
			if err != nil || a.Code != code || len(r.Received()) != 1 {
				t.Errorf("%d to %q: got %d, %v, %d requests", code, to, a.Code, err, len(r.Received()))
			}
		}
	}
}

func TestSilenceEndsAfterTheTimeout(t *testing.T) {
	t.Parallel()
	for what, step := range map[string]notifytest.Step{
		"hangs": {Hang: true}, "too slow": {Delay: 16 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := New(Options{Transport: notifytest.InProcess(notifytest.Always(step))})
			began := time.Now()
			_, err := c.Post(t.Context(), request(hook))
			var late interface{ Timeout() bool }
			if !errors.As(err, &late) || !late.Timeout() || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want a timeout", what, err)
			}
			if got := time.Since(began); got != DefaultTimeout {
				t.Errorf("%s: gave up after %s, want %s", what, got, DefaultTimeout)
			}
			if err != nil && err.Error() != "no answer within 15s" {
				t.Errorf("%s: got %q", what, err)
			}
		})
	}
}

func TestStatusIsKeptWhenTheBodyStopsOrBreaks(t *testing.T) {
	t.Parallel()
	for what, step := range map[string]notifytest.Step{
		"stalls": {Status: 200, Body: "half", HangBody: true},
		"breaks": {Status: 200, Body: "half", CutBody: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := New(Options{Transport: notifytest.InProcess(notifytest.Always(step))})
			began := time.Now()
			a, err := c.Post(t.Context(), request(hook))
			if err != nil || a.Code != 200 || a.Head != "half" {
				t.Errorf("%s: got %+v, %v", what, a, err)
			}
			if got := time.Since(began); got > patience {
				t.Errorf("%s: it took %s, want at most %s", what, got, patience)
			}
		})
	}
}

func TestCancelledPostReturnsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("draining")) })
		began := time.Now()
		_, err := New(Options{Transport: notifytest.InProcess(notifytest.Always(notifytest.Step{Hang: true}))}).Post(ctx, request(hook))
		if !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		var late interface{ Timeout() bool }
		if errors.As(err, &late) && late.Timeout() {
			t.Error("it counts as a timeout")
		}
	})
}

func TestLittleOfALongAnswerIsRead(t *testing.T) {
	t.Parallel()
	transport := notifytest.InProcess(notifytest.Always(notifytest.Step{Status: 500, Flood: 50 << 20}))
	a, err := New(Options{Transport: transport}).Post(t.Context(), request(hook))
	if err != nil || len(a.Body) != maxRead || len(a.Head) > maxKept || len(a.Head) < maxKept-3 {
		t.Errorf("got %d bytes, head of %d, %v", len(a.Body), len(a.Head), err)
	}
	if got := transport.BodyRead(); got > 64<<10 {
		t.Errorf("%d bytes were read", got)
	}
}

func TestBadURLsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "canaryNOURL", "ftp://canary.example/", "https:///canaryNOURL", "https://host:port/canaryNOURL", "%zz://canary", "http://[::1/canary"} {
		_, err := New(Options{}).Post(t.Context(), request(u))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v", u, err)
		}
		if _, err := ParseURL(secret.New(u)); err == nil || strings.Contains(fmt.Sprintf("%#v %+v", err, err), "canary") {
			t.Errorf("%q: got %v", u, err)
		}
	}
}

func TestBrokenConnectionIsAnErrorThatCanBeClassified(t *testing.T) {
	t.Parallel()
	c := New(Options{Transport: notifytest.InProcess(notifytest.Always(notifytest.Step{Cut: true}))})
	_, err := c.Post(t.Context(), request(hook))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	var e *Error
	if !errors.As(err, &e) || e.Timeout() || e.Blocked() || !e.Temporary() {
		t.Errorf("got %#v", err)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(notifytest.NewReceiver(notifytest.Step{Status: 500, Body: strings.Repeat("x", maxRead)}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := New(Options{AllowPrivate: true})
	t.Cleanup(c.CloseIdle)
	for range 20 {
		if _, err := c.Post(t.Context(), request(server.URL)); err != nil {
			t.Fatal(err)
		}
	}
	if got := opened.Load(); got != 1 {
		t.Errorf("%d connections were opened", got)
	}
}

// roundTripper fails as the HTTP library may.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
