package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"go.uber.org/zap"
)

// The codes: stable words that programs may branch on.
const (
	codeInvalidJobID         = "invalid_job_id"
	codeInvalidField         = "invalid_field"
	codeUnknownField         = "unknown_field"
	codeUnknownDestination   = "unknown_destination"
	codeMalformedJSON        = "malformed_json"
	codeBodyTooLarge         = "body_too_large"
	codeNotFound             = "not_found"
	codeAlreadyFinished      = "already_finished"
	codeUnauthorized         = "unauthorized"
	codeForbidden            = "forbidden"
	codeNotReady             = "not_ready"
	codeMethodNotAllowed     = "method_not_allowed"
	codeUnsupportedMediaType = "unsupported_media_type"
	codeInternal             = "internal"
)

// internalDetail is all that a caller learns of a fault of ours; the log has
// the rest, under the request's id.
const internalDetail = "something went wrong here; the log has more under the request id"

// problem is an RFC 9457 problem, and the error that leads to it. Its type is
// about:blank, which means that title and status say what kind it is; code
// tells those apart that share a status.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	// Field, Value and Allowed name what was wrong with the input.
	Field   string `json:"field,omitempty"`
	Value   string `json:"value,omitempty"`
	Allowed string `json:"allowed,omitempty"`
	// RequestID is the answer's X-Request-Id.
	RequestID string `json:"request_id,omitempty"`
	// Checks are there when the question was how we are.
	Checks map[string]check `json:"checks,omitempty"`
}

func (p *problem) Error() string { return p.Code + ": " + p.Detail }

// problemOf turns any error into a problem.
func problemOf(err error) *problem {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	if invalid := (*job.InvalidError)(nil); errors.As(err, &invalid) {
		return invalidField(invalid)
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return &problem{
			Status: http.StatusRequestEntityTooLarge, Code: codeBodyTooLarge,
			Detail: "the body has more than 1 MiB; a stream (application/x-ndjson) may",
		}
	}
	switch {
	case errors.Is(err, job.ErrNotFound):
		return &problem{Status: http.StatusNotFound, Code: codeNotFound, Detail: "there is no such thing"}
	case errors.Is(err, job.ErrConflict):
		return &problem{Status: http.StatusConflict, Code: codeAlreadyFinished, Detail: "the job has ended already"}
	case errors.Is(err, job.ErrDraining):
		return notReady("the daemon is stopping and takes nothing new")
	case errors.Is(err, job.ErrOwnerLost):
		return notReady("the daemon has lost its claim and registers anew")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return notReady("the answer did not come in time")
	}
	return &problem{Status: http.StatusInternalServerError, Code: codeInternal, Detail: internalDetail}
}

func invalidField(e *job.InvalidError) *problem {
	return &problem{
		Status: http.StatusUnprocessableEntity, Code: codeInvalidField, Detail: e.Error(),
		Field: e.Field, Value: e.Value, Allowed: e.Allowed,
	}
}

func notReady(detail string) *problem {
	return &problem{Status: http.StatusServiceUnavailable, Code: codeNotReady, Detail: detail}
}

// fail answers with the problem that err is. A fault of ours is logged; when an
// answer has begun, the connection is broken off instead.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if rec, ok := w.(*recorder); ok && rec.wrote() {
		panic(http.ErrAbortHandler)
	}
	p := *problemOf(err)
	c := callOf(r)
	if said := (*problem)(nil); p.Status == http.StatusInternalServerError && !errors.As(err, &said) {
		s.o.Log.Error("request: "+knownMethod(r.Method)+" "+c.route+" could not be answered",
			zap.String("request_id", c.id), zap.Error(err))
	}
	p.Type, p.Title, p.RequestID = "about:blank", http.StatusText(p.Status), c.id
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	switch p.Status {
	case http.StatusUnauthorized:
		h.Add("WWW-Authenticate", `Bearer realm="jobwatcher"`)
		h.Add("WWW-Authenticate", `Basic realm="jobwatcher", charset="UTF-8"`)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	writeSoon(w)
	w.WriteHeader(p.Status)
	if err := json.NewEncoder(w).Encode(p); err != nil {
		return // the caller has gone
	}
}
