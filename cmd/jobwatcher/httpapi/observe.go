package httpapi

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime/debug"

	"go.uber.org/zap"
)

// call is what is known of the request that is being answered.
type call struct {
	id    string // goes into the answer and the log
	route string // the pattern that matched; never what the caller wrote
	who   string // the token's name
}

type callKey struct{}

// callOf finds what is known of a request.
func callOf(r *http.Request) *call {
	if c, ok := r.Context().Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// ServeHTTP answers one request: it gets an id, is asked who it is, and leaves
// a line in the log at debug.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := s.o.Now()
	c := &call{id: requestID(r), route: "(no route)"}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	rec := &recorder{ResponseWriter: w}
	defer func() {
		s.rescue(rec, r, recover())
		s.o.Observe(rec.code())
		if ce := s.o.Log.Check(zap.DebugLevel, "request"); ce != nil {
			ce.Message = fmt.Sprintf("request: %s %s answered %d", knownMethod(r.Method), c.route, rec.code())
			ce.Write(zap.String("request_id", c.id), zap.Duration("took", s.o.Now().Sub(began)))
		}
	}()
	h := rec.Header()
	h.Set("X-Request-Id", c.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if !isOpen(r.URL.Path) {
		who, err := s.auth.check(r)
		if err != nil {
			s.fail(rec, r, err)
			return
		}
		c.who = who
		h.Set("Jobwatcher-Access", access(who))
	}
	s.mux.ServeHTTP(rec, r)
}

// rescue turns a panic of a handler into a 500, or breaks the connection off
// when an answer has begun: half an answer must not pass for a whole one.
func (s *server) rescue(rec *recorder, r *http.Request, v any) {
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this as well
		s.o.Panicked("api")
		s.o.Log.Error("request: recovered from a panic",
			zap.String("request_id", callOf(r).id), zap.Error(fmt.Errorf("panic: %v\n%s", v, debug.Stack())))
		if !rec.wrote() {
			s.fail(rec, r, &problem{Status: http.StatusInternalServerError, Code: codeInternal, Detail: internalDetail})
			return
		}
	}
	s.o.Observe(rec.code())
	panic(http.ErrAbortHandler)
}

// audit is the line of one change: what, by which token, and what it was about.
func (s *server) audit(r *http.Request, what string, fields ...zap.Field) {
	c := callOf(r)
	s.o.Log.Info(fmt.Sprintf("audit: %s by %s", what, c.who), append(fields, zap.String("request_id", c.id))...)
}

// maxRequestID bounds an id that the caller brings; a UUID has 36 characters.
const maxRequestID = 64

// requestID is the caller's own id when it is a harmless word, or a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > maxRequestID {
		return rand.Text()
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return rand.Text()
		}
	}
	return id
}

// knownMethod keeps a foreign word out of the log.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return method
	}
	return "OTHER"
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter

	status int
}

func (w *recorder) wrote() bool { return w.status != 0 }

// code is the answer's status; net/http sends 200 for a handler that says nothing.
func (w *recorder) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// WriteHeader implements [http.ResponseWriter].
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets an [http.ResponseController] find the server's own writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
