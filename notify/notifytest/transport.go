package notifytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// Transport is an [http.RoundTripper] that calls a handler instead of a
// network. Unlike an httptest.Server it lets the clock of a testing/synctest
// bubble go on.
type Transport struct {
	handler http.Handler
	read    atomic.Int64
}

// InProcess makes a Transport of h.
func InProcess(h http.Handler) *Transport { return &Transport{handler: h} }

// BodyRead counts the bytes of answers' bodies that were taken.
func (t *Transport) BodyRead() int64 { return t.read.Load() }

// RoundTrip implements [http.RoundTripper]. As on a network, the handler's
// context ends when the client closes the body or gives up.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent []byte
	if req.Body != nil {
		var err error
		if sent, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		_ = req.Body.Close()
	}
	if err := context.Cause(req.Context()); err != nil {
		return nil, err // below, a quick handler might answer first
	}
	ctx, cancel := context.WithCancel(req.Context())
	arrived := req.Clone(ctx)
	arrived.Body = io.NopCloser(bytes.NewReader(sent))
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: pw, begun: make(chan struct{}), read: &t.read}
	// The reader of a real connection notices that the context has ended.
	stop := context.AfterFunc(req.Context(), func() { _ = pr.CloseWithError(context.Cause(req.Context())) })
	go t.serve(w, arrived)
	select {
	case <-w.begun:
	case <-req.Context().Done():
		cancel()
		return nil, context.Cause(req.Context())
	}
	if w.failed != nil {
		cancel()
		return nil, w.failed
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &pipeBody{PipeReader: pr, done: func() { stop(); cancel() }},
		ContentLength: -1, Request: req,
	}, nil
}

func (t *Transport) serve(w *pipeWriter, req *http.Request) {
	defer func() {
		switch fault := recover(); {
		case fault == nil:
			w.begin(http.StatusOK, nil)
			// nil, the usual end, unless the client gave up.
			_ = w.body.CloseWithError(req.Context().Err())
		case fault == any(http.ErrAbortHandler):
			w.begin(0, io.ErrUnexpectedEOF)
			_ = w.body.CloseWithError(io.ErrUnexpectedEOF)
		default:
			panic(fault)
		}
	}()
	t.handler.ServeHTTP(w, req)
}

type pipeWriter struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{}
	read   *atomic.Int64

	// Written once before begun is closed.
	status int
	sent   http.Header
	failed error
}

func (w *pipeWriter) begin(status int, err error) {
	w.once.Do(func() {
		w.status, w.sent, w.failed = status, w.header.Clone(), err
		close(w.begun)
	})
}

// Header implements [http.ResponseWriter].
func (w *pipeWriter) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *pipeWriter) WriteHeader(status int) { w.begin(status, nil) }

// Flush implements [http.Flusher].
func (w *pipeWriter) Flush() { w.begin(http.StatusOK, nil) }

// Write implements [io.Writer].
func (w *pipeWriter) Write(b []byte) (int, error) {
	w.begin(http.StatusOK, nil)
	n, err := w.body.Write(b)
	w.read.Add(int64(n))
	if errors.Is(err, io.ErrClosedPipe) {
		return n, http.ErrAbortHandler
	}
	return n, err
}

type pipeBody struct {
	*io.PipeReader
	done func()
}

// Close implements [io.Closer].
func (b *pipeBody) Close() error {
	err := b.PipeReader.Close()
	b.done()
	return err
}
