package zuora

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Error is why a request to Zuora failed. Its text holds no URL, no token and
// no more of the answer than Zuora's own message, capped.
type Error struct {
	Reason  job.Reason
	Status  int    // HTTP status; zero when there was no answer
	Code    string // Zuora's own code, number or text, as it came
	Message string
	// RequestID is Zuora's, for its support; TrackID is ours.
	RequestID  string
	TrackID    string
	RetryAfter time.Duration
	// TenantWide: it means the tenant as a whole and says nothing about the job.
	TenantWide bool
	Err        error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("zuora: " + string(e.Reason))
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.Code != "" {
		b.WriteString(", code " + e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// FaultReason, FaultRetryAfter and FaultTenantWide are what the watcher asks.
func (e *Error) FaultReason() job.Reason        { return e.Reason }
func (e *Error) FaultRetryAfter() time.Duration { return e.RetryAfter }
func (e *Error) FaultTenantWide() bool          { return e.TenantWide }

// maxMessage bounds how much of Zuora's own words an error repeats.
const maxMessage = 300

// clean makes foreign text fit for one log line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	return job.Cut(strings.TrimSpace(s), maxMessage)
}

// transportError is why there was no complete answer. A *url.Error carries the
// whole URL, so only what is inside is kept.
func transportError(err error) *Error {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	e := &Error{Reason: job.ReasonNetwork, Err: err}
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Reason, e.Err = job.ReasonTimeout, errors.New("no complete answer in time")
	case errors.Is(err, errTooLarge):
		e.Reason = job.ReasonMalformed
	}
	return e
}

// said is what an error body tells, in any of the shapes that Zuora uses
// (zuora-facts.md section 4).
type said struct {
	Success *bool           `json:"success"`
	Code    json.RawMessage `json:"code"`
	Message json.RawMessage `json:"message"`
	Reasons []struct {
		Code    json.RawMessage `json:"code"`
		Message json.RawMessage `json:"message"`
	} `json:"reasons"`
}

func (s *said) code() string {
	if len(s.Code) > 0 {
		return scalar(s.Code)
	}
	if len(s.Reasons) > 0 {
		return scalar(s.Reasons[0].Code)
	}
	return ""
}

func (s *said) message() string {
	if len(s.Message) > 0 {
		return scalar(s.Message)
	}
	if len(s.Reasons) > 0 {
		return scalar(s.Reasons[0].Message)
	}
	return ""
}

// scalar is a JSON text or number as text; anything else is "".
func scalar(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return clean(s)
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return clean(n.String())
	}
	return ""
}

// The 401 of which Zuora says: retry the request.
const userInfoFault = "Failed to get user info"

// statusError makes an error of an answer that is not a success. body is its
// head; a body that is not JSON (a proxy's page) is not repeated.
func statusError(status int, h http.Header, body []byte, now time.Time) *Error {
	e := &Error{Status: status, RetryAfter: retryAfter(h, now)}
	var s said
	if json.Unmarshal(body, &s) == nil {
		e.Code, e.Message = s.code(), s.message()
	}
	switch {
	case status == http.StatusUnauthorized && e.Message == userInfoFault:
		e.Reason, e.TenantWide = job.ReasonServer, true
	case status == http.StatusUnauthorized:
		e.Reason, e.TenantWide = job.ReasonAuth, true
	case status == http.StatusForbidden:
		e.Reason = job.ReasonForbidden
	case status == http.StatusNotFound:
		e.Reason = job.ReasonNotFound
	case status == http.StatusTooManyRequests:
		e.Reason, e.TenantWide = job.ReasonRateLimited, true
		if e.RetryAfter == 0 {
			e.RetryAfter = exhausted(h)
		}
	case status == http.StatusServiceUnavailable && e.RetryAfter > 0:
		e.Reason, e.TenantWide = job.ReasonServer, true
	case status >= http.StatusInternalServerError:
		e.Reason = job.ReasonServer
	default:
		// 3xx, which is never followed, and 4xx that this API does not document.
		e.Reason = job.ReasonMalformed
	}
	return e
}

// insideError makes an error of {"success":false,…} under HTTP 200. The last two
// digits of the code are its category (zuora-facts.md section 4).
func insideError(s *said) *Error {
	e := &Error{Status: http.StatusOK, Reason: job.ReasonServer, Code: s.code(), Message: s.message()}
	switch {
	case e.Code == "90000011": // "this resource is protected, please sign in first"
		e.Reason, e.TenantWide = job.ReasonAuth, true
	case strings.HasSuffix(e.Code, "70") && len(e.Code) == 8:
		e.Reason, e.TenantWide = job.ReasonRateLimited, true
	}
	return e
}
