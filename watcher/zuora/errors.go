package zuora

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Error is why a request to Zuora failed. Its text holds no URL, no token and
// no more of the answer than Zuora's own message, cleaned and cut.
type Error struct {
	Reason  job.Reason
	Status  int    // HTTP status; zero when there was no answer
	Code    string // Zuora's own code, number or text, as it came
	Message string // Zuora's own words
	// RequestID is Zuora's, for its support; TrackID is ours.
	RequestID string
	TrackID   string
	// RetryAfter is how long the answer asked us to wait; zero when it did not say.
	RetryAfter time.Duration
	// TenantWide: it means the tenant as a whole and says nothing about the job.
	TenantWide bool
	Err        error

	// userInfo: a 401 that is no refusal.
	userInfo bool
}

func (e *Error) Error() string {
	b := append(make([]byte, 0, 200), "zuora: "...)
	b = append(b, e.Reason...)
	if e.Status != 0 {
		b = strconv.AppendInt(append(b, ", status "...), int64(e.Status), 10)
	}
	if e.Code != "" {
		b = append(append(b, ", code "...), e.Code...)
	}
	if e.Message != "" {
		b = append(append(b, ": "...), e.Message...)
	}
	if e.Err != nil {
		b = append(append(b, ": "...), e.Err.Error()...)
	}
	if e.RequestID != "" {
		b = append(append(b, ", request "...), e.RequestID...)
	}
	if e.TrackID != "" {
		b = append(append(b, ", track "...), e.TrackID...)
	}
	return string(b)
}

// Unwrap is the error of the level below, if any.
func (e *Error) Unwrap() error { return e.Err }

// FaultReason is why, in the word that retry, log, metric and API share.
func (e *Error) FaultReason() job.Reason { return e.Reason }

// FaultRetryAfter is how long the answer asked us to wait; zero when it did not say.
func (e *Error) FaultRetryAfter() time.Duration { return e.RetryAfter }

// FaultTenantWide reports whether it means the tenant and not the job; the
// package's text lists when it does.
func (e *Error) FaultTenantWide() bool { return e.TenantWide }

func malformed(text string) *Error {
	return &Error{Reason: job.ReasonMalformed, Status: http.StatusOK, Err: errors.New(text)}
}

// notJSON is a successful answer that is none.
func notJSON(b []byte) *Error {
	switch b = bytes.TrimSpace(b); {
	case len(b) == 0:
		return malformed("the answer is empty")
	case b[0] == '<':
		return malformed("the answer is a page and not JSON")
	}
	return malformed("the answer is not JSON, or was cut short")
}

// transportError is why there was no complete answer. A *url.Error carries the
// whole URL, so only what is inside is kept.
func transportError(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if at, ok := errors.AsType[*url.Error](err); ok {
		err = at.Err
	}
	e := &Error{Reason: job.ReasonNetwork, Err: newCause(err)}
	timeout, ok := errors.AsType[net.Error](err)
	if ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		e.Reason, e.Err = job.ReasonTimeout, &cause{text: "no complete answer in time", err: err}
	}
	return e
}

// said is what an error body tells, in any of the shapes that Zuora uses
// (zuora-facts.md section 4): {"code","message"}, {"message"},
// {"success":false,"reasons":[{"code","message"}]}, and OAuth's {"error"}.
type said struct {
	Success json.RawMessage `json:"success"`
	Code    json.RawMessage `json:"code"`
	Message json.RawMessage `json:"message"`
	Reasons json.RawMessage `json:"reasons"`
	Error   json.RawMessage `json:"error"`
}

func parseSaid(body []byte) *said {
	var s said
	_ = json.Unmarshal(body, &s) // what is not understood says nothing
	return &s
}

// nothing reports whether no shape fits.
func (s *said) nothing() bool {
	return s.Success == nil && s.Code == nil && s.Message == nil && s.Reasons == nil && s.Error == nil
}

// told is the code and the message, from wherever they are.
func (s *said) told() (code, message string) {
	code, message = scalar(s.Code), scalar(s.Message)
	var reasons []struct {
		Code    json.RawMessage `json:"code"`
		Message json.RawMessage `json:"message"`
	}
	if json.Unmarshal(s.Reasons, &reasons) == nil && len(reasons) > 0 {
		code, message = or(code, scalar(reasons[0].Code)), or(message, scalar(reasons[0].Message))
	}
	code = or(code, scalar(s.Error))
	return clean(withoutURLs(code), maxCode), clean(withoutURLs(message), maxMessage)
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// scalar is a JSON text or number as text; anything else is "".
func scalar(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

// statusError makes an error of an answer that is not a success. body is its
// head; one that is not JSON is not repeated.
func statusError(status int, h http.Header, body []byte, now time.Time) *Error {
	e := &Error{Status: status, Reason: job.ReasonMalformed, RetryAfter: retryAfter(h, now)}
	e.Code, e.Message = parseSaid(body).told()
	if e.RetryAfter == 0 {
		e.RetryAfter = exhausted(h)
	}
	switch {
	case status == http.StatusUnauthorized:
		// "Failed to get user info": retry the request, says Zuora.
		e.userInfo = strings.Contains(strings.ToLower(e.Message), "failed to get user info")
		e.Reason, e.TenantWide = job.ReasonAuth, true
		if e.userInfo {
			e.Reason, e.TenantWide = job.ReasonServer, false
		}
	case status == http.StatusForbidden:
		e.Reason, e.TenantWide = job.ReasonForbidden, page(h, body)
	case status == http.StatusNotFound:
		e.Reason, e.TenantWide = job.ReasonNotFound, page(h, body)
	case status == http.StatusRequestTimeout:
		e.Reason = job.ReasonTimeout
	case status == http.StatusTooManyRequests:
		e.Reason, e.TenantWide = job.ReasonRateLimited, true
	case status >= http.StatusInternalServerError:
		e.Reason, e.TenantWide = job.ReasonServer, e.RetryAfter > 0
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		e.TenantWide, e.Err = true, errors.New("redirected, which is not followed")
	case status >= http.StatusBadRequest:
		e.byCode()
	}
	return e
}

// page reports whether an answer is a web page: the word of something between
// us and Zuora, which speaks JSON.
func page(h http.Header, body []byte) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "text/html") || bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}

// insideError makes an error of what stands under HTTP 200 in place of a job.
func insideError(s *said) *Error {
	if s.nothing() {
		return malformed("the answer has no data")
	}
	e := &Error{Status: http.StatusOK, Reason: job.ReasonServer}
	e.Code, e.Message = s.told()
	e.byCode()
	return e
}

// byCode reads Zuora's eight-digit codes, whose last two digits are a category
// (zuora-facts.md section 4): 70 limit exceeded; 50 lock, 60 internal,
// 61 temporary and 99 integration are faults of the server.
func (e *Error) byCode() {
	switch {
	case e.Code == "90000011": // "this resource is protected, please sign in first"
		e.Reason, e.TenantWide = job.ReasonAuth, true
	case len(e.Code) != 8:
	case strings.HasSuffix(e.Code, "70"):
		e.Reason, e.TenantWide = job.ReasonRateLimited, true
	case strings.HasSuffix(e.Code, "50"), strings.HasSuffix(e.Code, "60"),
		strings.HasSuffix(e.Code, "61"), strings.HasSuffix(e.Code, "99"):
		e.Reason = job.ReasonServer
	}
}

// field is where a key's value belongs; nil for one that we do not use.
func (s *said) field(key string) *json.RawMessage {
	switch key {
	case "success":
		return &s.Success
	case "code":
		return &s.Code
	case "message":
		return &s.Message
	case "reasons":
		return &s.Reasons
	case "error":
		return &s.Error
	}
	return nil
}
