package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestEveryStatusHasItsReason(t *testing.T) {
	t.Parallel()
	want := map[int]job.Reason{
		200: "", 204: "", 299: "", 301: job.ReasonRedirected, 302: job.ReasonRedirected, 400: job.ReasonRejected,
		401: job.ReasonAuth, 403: job.ReasonForbidden, 404: job.ReasonNotFound, 408: job.ReasonTimeout, 409: job.ReasonRejected,
		410: job.ReasonGone, 422: job.ReasonRejected, 429: job.ReasonRateLimited, 500: job.ReasonServer, 503: job.ReasonServer,
		599: job.ReasonServer, 100: job.ReasonMalformed, 600: job.ReasonMalformed, 0: job.ReasonMalformed,
	}
	got := map[int]job.Reason{}
	for code := range want {
		got[code], _ = ClassifyStatus(code, nil, noon)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	date := noon.Add(-10 * time.Minute).Format(http.TimeFormat) // the receiver's clock is behind
	for text, c := range map[string]struct {
		date string
		want time.Duration
	}{
		"120": {"", 2 * time.Minute}, "1.5": {"", 1500 * time.Millisecond}, "007": {"", 7 * time.Second},
		"-5": {"", 0}, "NaN": {"", 0}, "soon": {"", 0}, "": {"", 0}, "0": {"", 0},
		noon.Add(time.Minute).Format(http.TimeFormat):       {"", time.Minute},
		noon.Add(-9 * time.Minute).Format(http.TimeFormat):  {date, time.Minute},
		noon.Add(-30 * time.Minute).Format(http.TimeFormat): {date, 0},
	} {
		h := http.Header{"Retry-After": {text}}
		if c.date != "" {
			h.Set("Date", c.date)
		}
		if got := RetryAfter(h, noon); got != c.want {
			t.Errorf("Retry-After %q, Date %q: got %s, want %s", text, c.date, got, c.want)
		}
	}
	if got := RetryAfter(http.Header{"Retry-After": {"1e300"}}, noon); got <= 0 {
		t.Errorf("a huge Retry-After: got %s, want something to clamp", got)
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "")
	f.Add("Mon, 23 Nov 2026 12:00:00 GMT", "Mon, 23 Nov 2026 11:00:00 GMT")
	f.Fuzz(func(t *testing.T, text, date string) {
		if got := RetryAfter(http.Header{"Retry-After": {text}, "Date": {date}}, noon); got < 0 {
			t.Errorf("got %s", got)
		}
	})
}

type blocked struct{}

func (blocked) Error() string { return "no" }
func (blocked) Blocked() bool { return true }

func TestTransportErrorsHaveTheirReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want job.Reason
	}{
		{nil, job.NoReason},
		{errors.New("broken"), job.ReasonNetwork},
		{fmt.Errorf("dial: %w", ErrBlocked), job.ReasonBlocked},
		{fmt.Errorf("dial: %w", blocked{}), job.ReasonBlocked},
		{fmt.Errorf("post: %w", context.DeadlineExceeded), job.ReasonTimeout},
		{os.ErrDeadlineExceeded, job.ReasonTimeout},
	} {
		if got := ClassifyError(c.err); got != c.want {
			t.Errorf("%v: got %s, want %s", c.err, got, c.want)
		}
	}
}
