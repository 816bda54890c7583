package slack

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestSlacksWaysOfSayingNo(t *testing.T) {
	t.Parallel()
	retry := http.Header{"Retry-After": {"7"}}
	for _, c := range []struct {
		code   int
		header http.Header
		body   string
		want   verdict
	}{
		{200, nil, "ok", verdict{}},
		{200, nil, "", verdict{}},
		{200, nil, `{"ok":true}`, verdict{}},
		{200, nil, `{"ok":true,"error":"no_service"}`, verdict{}},
		{200, nil, `{"success":true}`, verdict{}},
		{200, nil, "thanks, got it", verdict{}},
		{200, nil, `{"truncated":`, verdict{}},
		{204, nil, "", verdict{}},
		{200, nil, "<!DOCTYPE html><title>Sign in</title>", verdict{job.ReasonMalformed, 0, ""}},

		{400, nil, "invalid_payload", verdict{job.ReasonRejected, 0, "invalid_payload"}},
		{400, nil, "invalid_blocks\n", verdict{job.ReasonRejected, 0, "invalid_blocks"}},
		{400, nil, "something else", verdict{job.ReasonRejected, 0, ""}},
		{403, nil, "action_prohibited", verdict{job.ReasonForbidden, 0, "action_prohibited"}},
		{403, nil, "invalid_token", verdict{job.ReasonForbidden, 0, "invalid_token"}},
		{403, nil, "team_disabled", verdict{job.ReasonGone, 0, "team_disabled"}},
		{404, nil, "channel_not_found", verdict{job.ReasonNotFound, 0, "channel_not_found"}},
		{404, nil, "no_service", verdict{job.ReasonGone, 0, "no_service"}},
		{404, nil, "no_team", verdict{job.ReasonGone, 0, "no_team"}},
		{404, nil, "Not Found", verdict{job.ReasonNotFound, 0, ""}},
		{410, nil, "channel_is_archived", verdict{job.ReasonGone, 0, "channel_is_archived"}},
		{410, retry, "", verdict{job.ReasonGone, 0, ""}},
		{500, nil, "rollup_error", verdict{job.ReasonServer, 0, "rollup_error"}},
		{503, retry, "", verdict{job.ReasonServer, 7 * time.Second, ""}},
		{302, nil, "ok", verdict{job.ReasonRedirected, 0, ""}},

		{429, retry, "", verdict{job.ReasonRateLimited, 7 * time.Second, ""}},
		{429, retry, "rate_limited", verdict{job.ReasonRateLimited, 7 * time.Second, "rate_limited"}},
		{429, nil, `{"ok":false,"error":"ratelimited"}`, verdict{job.ReasonRateLimited, unspecifiedWait, "ratelimited"}},
		{429, nil, `{"message":"…","retry_after":0.65}`, verdict{job.ReasonRateLimited, 650 * time.Millisecond, ""}},
		{429, retry, `{"retry_after":99}`, verdict{job.ReasonRateLimited, 7 * time.Second, ""}},
		{429, nil, `{"retry_after":-1}`, verdict{job.ReasonRateLimited, 0, ""}},
		{429, nil, `{"retry_after":1e300}`, verdict{job.ReasonRateLimited, (1<<31 - 1) * time.Second, ""}},
		{200, nil, `{"ok":false,"error":"ratelimited"}`, verdict{job.ReasonRateLimited, unspecifiedWait, "ratelimited"}},
		{200, nil, `{"ok":false,"error":"ratelimited","retry_after":3}`, verdict{job.ReasonRateLimited, 3 * time.Second, "ratelimited"}},
		{200, retry, `{"ok":false,"error":"rate_limited"}`, verdict{job.ReasonRateLimited, 7 * time.Second, "rate_limited"}},

		{200, nil, `{"ok":false,"error":"channel_not_found"}`, verdict{job.ReasonNotFound, 0, "channel_not_found"}},
		{200, nil, `{"ok":false,"error":"no_service"}`, verdict{job.ReasonGone, 0, "no_service"}},
		{200, nil, `{"ok":false,"error":"some_new_word"}`, verdict{job.ReasonServer, 0, "some_new_word"}},
		{200, nil, `{"ok":false}`, verdict{job.ReasonServer, 0, ""}},
		{200, nil, `{"success":false,"error":"Not a word: https://x"}`, verdict{job.ReasonServer, 0, ""}},
		{200, nil, "invalid_payload", verdict{job.ReasonRejected, 0, "invalid_payload"}},
	} {
		got := judge(outbound.Answer{Code: c.code, Header: c.header, Body: []byte(c.body)}, time.Now())
		if diff := cmp.Diff(got, c.want, cmp.AllowUnexported(verdict{})); diff != "" {
			t.Errorf("%d %v %s: %s", c.code, c.header, c.body, diff)
		}
	}
}

func FuzzAnswersAreJudgedWithoutTrust(f *testing.F) {
	for _, s := range []string{"ok", `{"ok":false,"error":"ratelimited","retry_after":1}`, `{"retry_after":1e999}`, "\xff", `{"ok":`, "<"} {
		f.Add(200, s)
		f.Add(429, s)
	}
	f.Fuzz(func(t *testing.T, code int, body string) {
		v := judge(outbound.Answer{Code: code, Body: []byte(body)}, time.Now())
		if v.wait < 0 || (v.reason == job.NoReason) != (v == verdict{}) {
			t.Errorf("%d %q: got %+v", code, body, v)
		}
		if v.reason == job.NoReason && (code < 200 || code > 299) {
			t.Errorf("%d %q counts as taken", code, body)
		}
		if len(v.word) > 60 {
			t.Errorf("%d %q: the word is %d bytes long", code, body, len(v.word))
		}
	})
}
