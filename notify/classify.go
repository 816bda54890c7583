package notify

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// ErrBlocked marks an address that the guard refuses to dial. An error with a
// method Blocked() bool that answers true counts as well, for packages that
// cannot import this one.
var ErrBlocked = errors.New("address is not allowed")

// ClassifyStatus says what a receiver's HTTP status means and how long it asks
// us to wait. A 2xx is no failure.
func ClassifyStatus(code int, h http.Header, now time.Time) (reason job.Reason, retryAfter time.Duration) {
	switch {
	case code >= 200 && code < 300:
		return job.NoReason, 0
	case code >= 300 && code < 400:
		return job.ReasonRedirected, 0
	case code == http.StatusUnauthorized:
		reason = job.ReasonAuth
	case code == http.StatusForbidden:
		reason = job.ReasonForbidden
	case code == http.StatusNotFound:
		reason = job.ReasonNotFound
	case code == http.StatusRequestTimeout:
		reason = job.ReasonTimeout
	case code == http.StatusGone:
		return job.ReasonGone, 0
	case code == http.StatusTooManyRequests:
		reason = job.ReasonRateLimited
	case code >= 400 && code < 500:
		reason = job.ReasonRejected
	case code >= 500 && code < 600:
		reason = job.ReasonServer
	default:
		reason = job.ReasonMalformed
	}
	return reason, RetryAfter(h, now)
}

// RetryAfter reads Retry-After, in seconds or as a date; zero when there is none
// or it is junk. It is not clamped here: [Judge] does that, and says so.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil {
		if math.IsNaN(s) || s <= 0 {
			return 0
		}
		return time.Duration(min(s, math.MaxInt32) * float64(time.Second))
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	// The receiver's own clock, where it tells: only spans of one clock count.
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return max(at.Sub(now), 0)
}

// ClassifyError says why there was no answer at all.
func ClassifyError(err error) job.Reason {
	var blocked interface{ Blocked() bool }
	var timeout net.Error
	switch {
	case err == nil:
		return job.NoReason
	case errors.Is(err, ErrBlocked), errors.As(err, &blocked) && blocked.Blocked():
		return job.ReasonBlocked
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return job.ReasonTimeout
	}
	return job.ReasonNetwork
}
