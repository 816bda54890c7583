package zuora

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// upstream is watcher.Upstream, and watched is watcher.Fault: the two packages
// are siblings and must not import each other.
type watched interface {
	error
	FaultReason() job.Reason
	FaultRetryAfter() time.Duration
	FaultTenantWide() bool
}

var _ watched = (*Error)(nil)

func TestErrorText(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*Error{
		"zuora: network": {Reason: job.ReasonNetwork},
		"zuora: not_found, status 404, code 1001: No such query: x, request r-1, track t-1": {
			Reason: job.ReasonNotFound, Status: 404, Code: "1001", Message: "No such query: x", RequestID: "r-1", TrackID: "t-1",
		},
		"zuora: malformed, status 200: the answer has no data": malformed("the answer has no data"),
	} {
		if diff := cmp.Diff(want, e.Error()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	inner := errors.New("inner")
	if !errors.Is(&Error{Err: newCause(fmt.Errorf("outer: %w", inner))}, inner) {
		t.Error("what is inside cannot be found")
	}
}

func TestForeignWordsAreCleanedAndCut(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"message":"a\nb\u0000\u001bc"}`:                            "a b  c",
		`{"message":"` + strings.Repeat("é", 500) + `"}`:             strings.Repeat("é", 148) + "…",
		`{"message":"see https://me:pw@x.example.com/a?b=c, or"}`:    "see [url] or",
		`{"message":{"a":"b"}}`:                                      "",
		`{"message":7}`:                                              "7",
		`{"reasons":[{"message":"first"},{"message":"second"}]}`:     "first",
		`{"message":"","reasons":[{"code":1,"message":"fallback"}]}`: "fallback",
		`<html>not this</html>`:                                      "",
		`"nor this"`:                                                 "",
	} {
		if got := statusError(500, http.Header{}, []byte(body), time.Now()).Message; got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

// The secrets that must turn up nowhere.
const (
	canarySecret = "canary+client/secret=with&signs"
	canaryToken  = "canary-token-c652cbc0ea384b9f"
	canaryLink   = "https://bucket.s3.example.com/x.json?X-Amz-Signature=canary-link"
	canaryProxy  = "canary-proxy-password"
	canaryQuery  = "SELECT canary FROM query"
)

// A server that repeats everything it is sent, wherever it can, and connections
// whose errors tell more than they should.
func TestSecretsLeaveThroughNothing(t *testing.T) {
	t.Parallel()
	echo := func(r *http.Request) string {
		token := canaryToken
		if r.URL.Path == tokenPath {
			token = "" // which it has not given us yet
		}
		return token + " " + canarySecret + " " + url.QueryEscape(canarySecret) + " " + canaryLink + " https://me:" + canaryProxy + "@proxy " + r.URL.String()
	}
	type answer func(r *http.Request, n int) (*http.Response, error)
	say := func(status int, format string) answer {
		return func(r *http.Request, _ int) (*http.Response, error) {
			return reply(status, fmt.Sprintf(format, echo(r)), "Zuora-Request-Id", strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")), nil
		}
	}
	broken := func(format string) answer {
		return func(r *http.Request, _ int) (*http.Response, error) {
			return nil, &url.Error{Op: "Get", URL: "https://me:" + canaryProxy + "@x/", Err: fmt.Errorf(format, echo(r))}
		}
	}
	good := func(_ *http.Request, _ int) (*http.Response, error) {
		return reply(200, `{"access_token":"`+canaryToken+`","expires_in":3599}`), nil
	}
	job200 := func(_ *http.Request, _ int) (*http.Response, error) {
		return reply(200, `{"data":{"queryStatus":"completed","query":"`+canaryQuery+`","dataFile":"`+canaryLink+`"}}`), nil
	}
	list200 := func(_ *http.Request, _ int) (*http.Response, error) {
		return reply(200, `{"data":[{"id":"x","query":"`+canaryQuery+`","dataFile":"`+canaryLink+`"}]}`), nil
	}
	shapes := []answer{
		job200, list200, say(500, `{"code":"%s","message":"x"}`), say(404, `{"code":1001,"message":"%s"}`), say(401, `{"message":"%s"}`),
		say(400, `{"error":"%[1]s","error_description":"%[1]s","reasons":[{"code":"%[1]s","message":"%[1]s"}]}`), say(503, `<html>%s</html>`), say(302, `%s`),
		say(200, `%s`), say(200, `{"success":false,"reasons":[{"code":53100361,"message":"%s"}]}`), say(200, `{"data":"%s"}`),
		say(200, `{"access_token":"%s","expires_in":1}`), broken(`invalid proxy address "%s"`), broken("malformed HTTP response %q"),
	}
	var out bytes.Buffer
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zapcore.DebugLevel))
	registry := prometheus.NewRegistry()
	for i, shape := range shapes {
		for name, f := range map[string]*fake{"api": {api: shape, token: good}, "token": {api: job200, token: shape}} {
			c := newFake(t, f, func(o *Options) {
				o.ClientSecret = secret.Fixed(secret.New(canarySecret))
				o.Log, o.Metrics = log, nil
				if i == 0 && name == "api" {
					o.Metrics = metrics.New(registry, metrics.Options{Tenant: "acme"})
				}
			})
			_, err := c.Get(t.Context(), jobID)
			listErr := c.List(t.Context(), "", 10, func(job.Observation) bool { return true })
			for _, err := range []error{err, listErr} {
				if err == nil {
					continue
				}
				e := faultOf(t, err)
				fmt.Fprintf(&out, "%s %d: %v|%+v|%#v|%q|%s|%s|%s\n", name, i, err, err, err, err, e.Message, e.Code, e.RequestID)
				log.Error("wrapped", zap.Error(fmt.Errorf("look: %w", err)), zap.Any("error", err))
			}
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&out, family); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "canary") || strings.Contains(line, "rest.example.com") {
			t.Errorf("it is told: %s", line)
		}
	}
	if !strings.Contains(out.String(), redacted) || !strings.Contains(out.String(), "[url]") {
		t.Error("nothing was taken out: the test tests nothing")
	}
}

func TestDebugLinesNameTheRequest(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}), zapcore.AddSync(&out), zapcore.DebugLevel))
	f := &fake{api: always(404, `{"code":1001,"message":"No such query: x"}`, "Zuora-Request-Id", "req-1")}
	_, err := newFake(t, f, func(o *Options) { o.Log = log }).Get(t.Context(), jobID)
	for _, want := range []string{
		`{"msg":"token","track_id":"` + f.tokens[0].Header.Get("Zuora-Track-Id") + `"`,
		`{"msg":"get","track_id":"` + f.apis[0].Header.Get("Zuora-Track-Id") + `","request_id":"req-1"`, `"reason":"not_found"`,
		strings.Trim(fmt.Sprintf("%q", err), `"`),
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// Every reason that we give is one that a poll may have.
func checkError(t *testing.T, e *Error) {
	t.Helper()
	text := e.Error()
	known := false
	for _, r := range job.PollReasons() {
		known = known || e.Reason == r
	}
	if !known || e.RetryAfter < 0 || e.RetryAfter > maxWait || len(e.Message) > maxMessage || len(e.Code) > maxCode || !utf8.ValidString(text) {
		t.Errorf("%#v", e)
	}
	if strings.IndexFunc(text, unicode.IsControl) >= 0 {
		t.Errorf("control characters in %q", text)
	}
}

func FuzzErrorBody(f *testing.F) {
	for _, s := range []string{
		`{"code":1001,"message":"No such query: x"}`, `{"message":"Failed to get user info"}`, `{"success":false,"processId":"CB","reasons":[{"code":53100361,"message":"x"}]}`,
		`{"reasons":[{"code":"53400070","message":"x"}]}`, `{"code":"500","message":"x"}`, `{"error":"invalid_client"}`, `<html>`, ``, `{"reasons":{}}`, `{"code":[],"message":"\u0000\u001b"}`,
	} {
		for _, status := range []int{200, 302, 400, 401, 403, 404, 429, 503} {
			f.Add(status, []byte(s), "5", "0", "7")
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, after, left, reset string) {
		h := http.Header{"Retry-After": {after}, "Ratelimit-Remaining": {left}, "Ratelimit-Reset": {reset}}
		checkError(t, statusError(status, h, body, time.Unix(1_800_000_000, 0)))
		checkError(t, insideError(parseSaid(body)))
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-1", "1.5", "1e9", "NaN", "Fri, 17 Aug 2018 13:14:20 GMT", "soon", "99999999999999999999", "Mon Jan  5 12:00:07 2026"} {
		f.Add(s, "Fri, 17 Aug 2018 13:14:20 GMT")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, after, date string) {
		got := retryAfter(http.Header{"Retry-After": {after}, "Date": {date}}, time.Unix(1_800_000_000, 0))
		if got < 0 || got > maxWait {
			t.Errorf("%q: %s", after, got)
		}
		if strings.ContainsAny(after, "-+_xXeEnN") && got != 0 && !strings.ContainsAny(after, ":") {
			t.Errorf("%q: %s", after, got)
		}
	})
}

func FuzzWindows(f *testing.F) {
	const official = "2250000, 50000;w=60, 2250000;w=3600, 27000000;w=86400"
	for _, s := range []string{official, "5", "", "5;w=60", "x;w=60", "5;w=-1", "5;w=NaN", ",,;;==", "5, 5;w=60;w=3600", "1e300;w=60"} {
		f.Add(s, "2249000", "1234")
		f.Add(s, "-1", "NaN")
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, limit, left, reset string) {
		h := http.Header{"Ratelimit-Limit": {limit}, "Ratelimit-Remaining": {left}, "Ratelimit-Reset": {reset}}
		all := parsePolicy(limit).told(h, now)
		if len(all) > maxWindows {
			t.Errorf("%d windows", len(all))
		}
		told := 0
		for _, w := range all {
			if w.Limit < 0 || w.Span <= 0 || w.Span > maxWait || w.Name == "" || w.Remaining < -1 || w.Remaining > w.Limit {
				t.Errorf("%+v", w)
			}
			if !w.Reset.IsZero() && (w.Reset.Before(now) || w.Reset.Sub(now) > w.Span) {
				t.Errorf("%+v: reset", w)
			}
			if w.Remaining >= 0 {
				told++
			}
		}
		if told > 1 {
			t.Errorf("%d windows are closest to exhaustion: %+v", told, all)
		}
		if d := exhausted(h); d < 0 || d > maxWait {
			t.Errorf("wait of %s", d)
		}
	})
}
