package zuora

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

func tokenOf(n int, expires string) *http.Response {
	return reply(200, `{"access_token":"token-`+strconv.Itoa(n)+`","token_type":"bearer","expires_in":`+expires+`}`)
}

func TestOneTokenHoweverManyWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{
			token: func(_ *http.Request, n int) (*http.Response, error) {
				<-time.After(time.Second)
				return tokenOf(n, "3599"), nil
			},
			api: always(200, inProgress),
		}
		c := newFake(t, f)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := c.Get(t.Context(), jobID); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if apis, tokens := f.counts(); apis != 50 || tokens != 1 {
			t.Errorf("%d requests, %d token requests", apis, tokens)
		}
	})
}

func TestRefusedTokenIsFetchedOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.token = func(_ *http.Request, n int) (*http.Response, error) {
			<-time.After(time.Second)
			return tokenOf(n, "3599"), nil
		}
		f.api = func(r *http.Request, n int) (*http.Response, error) {
			<-time.After(time.Duration(n) * time.Millisecond) // the refusals come one after the other
			if r.Header.Get("Authorization") == "Bearer token-1" {
				return reply(401, `{"message":"Authentication error"}`), nil
			}
			return reply(200, inProgress), nil
		}
		c := newFake(t, f)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.Get(t.Context(), jobID); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if apis, tokens := f.counts(); apis != 40 || tokens != 2 {
			t.Errorf("%d requests, %d token requests, want 40 and 2", apis, tokens)
		}
	})
}

func TestA401IsTriedOnceMore(t *testing.T) {
	t.Parallel()
	const refused, transient = `{"message":"Authentication error"}`, `{"message":"Failed to get user info"}`
	for name, c := range map[string]struct {
		answers []string // bodies of 401s; after them, 200
		bearers []string
		want    fault
	}{
		"refused once":             {[]string{refused}, []string{"token-1", "token-2"}, fault{}},
		"refused twice":            {[]string{refused, refused}, []string{"token-1", "token-2"}, fault{job.ReasonAuth, 401, "", 0, true}},
		"transient once":           {[]string{transient}, []string{"token-1", "token-1"}, fault{}},
		"transient twice":          {[]string{transient, transient}, []string{"token-1", "token-1"}, fault{job.ReasonServer, 401, "", 0, false}},
		"transient, then refused":  {[]string{transient, refused}, []string{"token-1", "token-1", "token-2"}, fault{}},
		"refused, then transient":  {[]string{refused, transient}, []string{"token-1", "token-2", "token-2"}, fault{}},
		"refused in another style": {[]string{`{"success":false,"reasons":[{"code":90000011}]}`}, []string{"token-1", "token-2"}, fault{}},
		"refused without words":    {[]string{``}, []string{"token-1", "token-2"}, fault{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{api: func(_ *http.Request, n int) (*http.Response, error) {
				if n <= len(c.answers) {
					return reply(401, c.answers[n-1]), nil
				}
				return reply(200, inProgress), nil
			}}
			_, err := newFake(t, f).Get(t.Context(), jobID)
			if (err == nil) != (c.want == fault{}) {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				if diff := cmp.Diff(c.want, seenIn(faultOf(t, err))); diff != "" {
					t.Errorf("%v (-want +got):\n%s", err, diff)
				}
			}
			if diff := cmp.Diff(c.bearers, f.bearers()); diff != "" {
				t.Errorf("tokens sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARefusalUnderHTTP200RefreshesToo(t *testing.T) {
	t.Parallel()
	f := &fake{api: func(_ *http.Request, n int) (*http.Response, error) {
		if n == 1 {
			return reply(200, `{"success":false,"reasons":[{"code":90000011,"message":"this resource is protected, please sign in first"}]}`), nil
		}
		return reply(200, inProgress), nil
	}}
	if _, err := newFake(t, f).Get(t.Context(), jobID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"token-1", "token-2"}, f.bearers()); diff != "" {
		t.Errorf("tokens sent (-want +got):\n%s", diff)
	}
}

func TestTokenFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer *http.Response
		err    error
		want   fault
	}{
		"400":            {reply(400, `{"error":"invalid_client","error_description":"canary"}`), nil, fault{job.ReasonAuth, 400, "invalid_client", 0, true}},
		"401":            {reply(401, `{"message":"Authentication error"}`), nil, fault{job.ReasonAuth, 401, "", 0, true}},
		"401, transient": {reply(401, `{"message":"Failed to get user info"}`), nil, fault{job.ReasonAuth, 401, "", 0, true}},
		"403":            {reply(403, ``), nil, fault{job.ReasonAuth, 403, "", 0, true}},
		"404":            {reply(404, `<html>`), nil, fault{job.ReasonMalformed, 404, "", 0, true}},
		"429":            {reply(429, ``, "Retry-After", "9"), nil, fault{job.ReasonRateLimited, 429, "", 9 * time.Second, true}},
		"429, no hint":   {reply(429, ``), nil, fault{job.ReasonRateLimited, 429, "", 0, true}},
		"500":            {reply(500, `{"code":"500","message":"x"}`), nil, fault{job.ReasonServer, 500, "500", 0, true}},
		"503":            {reply(503, ``, "Retry-After", "60"), nil, fault{job.ReasonServer, 503, "", time.Minute, true}},
		"302":            {reply(302, ``, "Location", "https://elsewhere.example.com"), nil, fault{job.ReasonMalformed, 302, "", 0, true}},
		"page":           {reply(200, `<html>`), nil, fault{job.ReasonMalformed, 200, "", 0, true}},
		"empty":          {reply(200, ``), nil, fault{job.ReasonMalformed, 200, "", 0, true}},
		"no token":       {reply(200, `{"token_type":"bearer"}`), nil, fault{job.ReasonMalformed, 200, "", 0, true}},
		"empty token":    {reply(200, `{"access_token":"","expires_in":3599}`), nil, fault{job.ReasonMalformed, 200, "", 0, true}},
		"token a number": {reply(200, `{"access_token":7,"expires_in":3599}`), nil, fault{job.ReasonMalformed, 200, "", 0, true}},
		"line break":     {reply(200, `{"access_token":"canary\r\nX: y","expires_in":3599}`), nil, fault{job.ReasonMalformed, 200, "", 0, true}},
		"endless":        {reply(200, `{"access_token":"`+string(make([]byte, 70<<10))+`"}`), nil, fault{job.ReasonMalformed, 200, "", 0, true}},
		"bad encoding":   {reply(200, `this is no gzip`, "Content-Encoding", "gzip"), nil, fault{job.ReasonMalformed, 200, "", 0, true}},
		"no connection":  {nil, errors.New("dial tcp: connection refused"), fault{job.ReasonNetwork, 0, "", 0, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{
				api:   always(200, inProgress),
				token: func(*http.Request, int) (*http.Response, error) { return c.answer, c.err },
			}
			_, err := newFake(t, f).Get(t.Context(), jobID)
			if diff := cmp.Diff(c.want, seenIn(faultOf(t, err))); diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if apis, tokens := f.counts(); apis != 0 || tokens != 1 {
				t.Errorf("%d requests, %d token requests", apis, tokens)
			}
		})
	}
}

func TestTokenIsRenewedEarly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		expires string
		good    time.Duration // still the first one
		renewed time.Duration
	}{
		"an hour":        {"3599", 3599*time.Second - early - time.Second, 3599*time.Second - early},
		"a fraction":     {"3599.5", 3599*time.Second - early - time.Second, 3600*time.Second - early},
		"as a text":      {`"3599"`, 3599*time.Second - early - time.Second, 3599*time.Second - early},
		"ten minutes":    {"600", 5*time.Minute - time.Second, 5 * time.Minute},
		"a short life":   {"60", 29 * time.Second, 30 * time.Second},
		"not said":       {"null", defaultLife - early - time.Second, defaultLife - early},
		"nonsense":       {`"soon"`, defaultLife - early - time.Second, defaultLife - early},
		"negative":       {"-5", defaultLife - early - time.Second, defaultLife - early},
		"zero":           {"0", defaultLife - early - time.Second, defaultLife - early},
		"for ever":       {"1e300", maxLife - early - time.Second, maxLife - early},
		"of another age": {"[1]", defaultLife - early - time.Second, defaultLife - early},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			f := &fake{api: always(200, inProgress), token: func(_ *http.Request, n int) (*http.Response, error) { return tokenOf(n, c.expires), nil }}
			client := newFake(t, f, func(o *Options) { o.Now = clock.Now })
			for _, wait := range []time.Duration{0, c.good, c.renewed - c.good} {
				clock.pass(wait)
				if _, err := client.Get(t.Context(), jobID); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff([]string{"token-1", "token-1", "token-2"}, f.bearers()); diff != "" {
				t.Errorf("tokens sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOldTokenIsUsedWhileItLastsWhenRenewalFails(t *testing.T) {
	t.Parallel()
	clock := newClock()
	down := true
	f := &fake{api: always(200, inProgress), token: func(_ *http.Request, n int) (*http.Response, error) {
		if n > 1 && down {
			return reply(503, ``), nil
		}
		return tokenOf(n, "3599"), nil
	}}
	core, logs := observer.New(zapcore.WarnLevel)
	client := newFake(t, f, func(o *Options) { o.Now, o.Log = clock.Now, zap.New(core) })
	get := func(pass time.Duration) error {
		clock.pass(pass)
		_, err := client.Get(t.Context(), jobID)
		return err
	}
	for _, pass := range []time.Duration{0, 3599*time.Second - early, time.Second, renewAgain, renewAgain} {
		if err := get(pass); err != nil {
			t.Fatal(err)
		}
	}
	if _, tokens := f.counts(); tokens != 4 {
		t.Errorf("%d token requests, want 4: one, and one every %s", tokens, renewAgain)
	}
	if n := logs.Len(); n != 1 {
		t.Errorf("%d warnings, want 1: %v", n, logs.All())
	}
	if e := faultOf(t, get(early)); e.Reason != job.ReasonServer || !e.TenantWide {
		t.Errorf("after its end: %v", e)
	}
	down = false
	if err := get(0); err != nil {
		t.Error(err)
	}
}

func TestARefusedTokenIsNotFallenBackTo(t *testing.T) {
	t.Parallel()
	f := &fake{api: always(401, ``), token: func(_ *http.Request, n int) (*http.Response, error) {
		if n > 1 {
			return reply(400, `{"error":"invalid_client"}`), nil
		}
		return tokenOf(n, "3599"), nil
	}}
	client := newFake(t, f)
	for range 3 {
		_, err := client.Get(t.Context(), jobID)
		if e := faultOf(t, err); e.Reason != job.ReasonAuth || !e.TenantWide {
			t.Errorf("got %v", e)
		}
	}
	if apis, tokens := f.counts(); apis != 1 || tokens != 4 {
		t.Errorf("%d requests, %d token requests", apis, tokens)
	}
}

func TestOthersGoOnWhileOneRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{api: always(200, inProgress), token: func(_ *http.Request, n int) (*http.Response, error) {
			if n > 1 {
				<-time.After(10 * time.Second)
			}
			return tokenOf(n, "3599"), nil
		}}
		client := newFake(t, f)
		if _, err := client.Get(t.Context(), jobID); err != nil {
			t.Fatal(err)
		}
		<-time.After(3599*time.Second - early)
		var wg sync.WaitGroup
		began := time.Now()
		var waited atomic.Int32
		for range 10 {
			wg.Go(func() {
				if _, err := client.Get(t.Context(), jobID); err != nil {
					t.Error(err)
				}
				if time.Since(began) > 0 {
					waited.Add(1)
				}
			})
		}
		wg.Wait()
		if n := waited.Load(); n != 1 {
			t.Errorf("%d of 10 waited for the renewal, want 1", n)
		}
	})
}

func TestWhoeverWaitsForATokenHonoursItsOwnContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{api: always(200, inProgress), token: func(r *http.Request, n int) (*http.Response, error) {
			select {
			case <-time.After(10 * time.Second):
				return tokenOf(n, "3599"), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}}
		client := newFake(t, f)
		look := func(wait, limit time.Duration) (took time.Duration, err error) {
			<-time.After(wait)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			began := time.Now()
			_, err = client.Get(ctx, jobID)
			return time.Since(began), err
		}
		var wg sync.WaitGroup
		wg.Go(func() { // fetches, and gives up
			if took, err := look(0, 3*time.Second); took != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first: %s, %v", took, err)
			}
		})
		wg.Go(func() { // waits, and gives up earlier
			if took, err := look(time.Second, time.Second); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the second: %s, %v", took, err)
			}
		})
		wg.Go(func() { // waits, and fetches when the first has given up
			if took, err := look(time.Second, time.Minute); took != 12*time.Second || err != nil {
				t.Errorf("the third: %s, %v", took, err)
			}
		})
		wg.Wait()
		if _, tokens := f.counts(); tokens != 2 {
			t.Errorf("%d token requests, want 2", tokens)
		}
	})
}

func TestClientSecretIsReadForEveryToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secret-one\n")
	f := &fake{api: func(_ *http.Request, n int) (*http.Response, error) {
		if n == 1 {
			write("secret-two\n") // rotated, and the old token revoked
			return reply(401, ``), nil
		}
		return reply(200, inProgress), nil
	}}
	client := newFake(t, f, func(o *Options) { o.ClientSecret = secret.File(path) })
	if _, err := client.Get(t.Context(), jobID); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, form := range f.forms {
		got = append(got, form.Get("client_secret"))
	}
	if diff := cmp.Diff([]string{"secret-one", "secret-two"}, got); diff != "" {
		t.Errorf("secrets sent (-want +got):\n%s", diff)
	}
}

func TestAReadyTokenIsNeverRefreshed(t *testing.T) {
	t.Parallel()
	f := &fake{api: always(401, `{"message":"Authentication error"}`)}
	_, err := newFake(t, f, withBearer(secret.Fixed(secret.New("ready-token")))).Get(t.Context(), jobID)
	if diff := cmp.Diff(fault{job.ReasonAuth, 401, "", 0, true}, seenIn(faultOf(t, err))); diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if apis, tokens := f.counts(); apis != 1 || tokens != 0 {
		t.Errorf("%d requests, %d token requests", apis, tokens)
	}
}

func TestAReadyTokenIsReadFromItsFileAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ready-1\n")
	f := &fake{}
	f.api = func(_ *http.Request, n int) (*http.Response, error) {
		if n == 3 {
			write("ready-3\n") // while the request was on its way
			return reply(401, ``), nil
		}
		return reply(200, inProgress), nil
	}
	client := newFake(t, f, withBearer(secret.File(path)))
	get := func() error { _, err := client.Get(t.Context(), jobID); return err }
	if err := get(); err != nil {
		t.Fatal(err)
	}
	write("ready-2\n")
	for range 2 {
		if err := get(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"ready-1", "ready-2", "ready-2", "ready-3"}, f.bearers()); diff != "" {
		t.Errorf("tokens sent (-want +got):\n%s", diff)
	}
}

func TestUnreadableSecretsAreOurOwnFault(t *testing.T) {
	t.Parallel()
	missing := secret.File(filepath.Join(t.TempDir(), "none"))
	for name, change := range map[string]func(*Options){
		"no secret file":   func(o *Options) { o.ClientSecret = missing },
		"no token file":    withBearer(missing),
		"empty token file": withBearer(secret.File("/dev/null")),
		"empty secret":     func(o *Options) { o.ClientSecret = secret.File("/dev/null") },
		"unfit token":      withBearer(secret.Fixed(secret.New("canary\r\nX: y"))),
	} {
		f := &fake{api: always(200, inProgress)}
		_, err := newFake(t, f, change).Get(t.Context(), jobID)
		if diff := cmp.Diff(fault{job.ReasonInternal, 0, "", 0, true}, seenIn(faultOf(t, err))); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if apis, tokens := f.counts(); apis != 0 || tokens != 0 {
			t.Errorf("%s: %d requests, %d token requests", name, apis, tokens)
		}
	}
}

// A fetch that panics must not leave the others waiting.
func TestAPanicInAFetchFreesWhoeverWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{api: always(200, inProgress), token: func(_ *http.Request, n int) (*http.Response, error) {
			<-time.After(time.Second)
			if n == 1 {
				panic("boom")
			}
			return tokenOf(n, "3599"), nil
		}}
		client := newFake(t, f)
		var wg sync.WaitGroup
		var panics, answers atomic.Int32
		for range 3 {
			wg.Go(func() {
				defer func() {
					if recover() != nil {
						panics.Add(1)
					}
				}()
				if _, err := client.Get(t.Context(), jobID); err == nil {
					answers.Add(1)
				}
			})
		}
		wg.Wait()
		if panics.Load() != 1 || answers.Load() != 2 {
			t.Errorf("%d panics, %d answers", panics.Load(), answers.Load())
		}
	})
}
