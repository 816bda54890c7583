package zuorasim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Transport is a [http.RoundTripper] that calls a handler in this process:
// no socket, so it works in the virtual time of testing/synctest, where a
// server on a socket would stop the clock. Slow and cut bodies, time-outs and
// hang-ups behave as over a connection. The goroutine of a request ends when its
// context or its body is closed.
type Transport struct {
	Handler http.Handler
	// RemoteAddr is the caller's; 192.0.2.1:1234 when empty.
	RemoteAddr string
}

// Transport is one that leads to the tenant.
func (t *Tenant) Transport() *Transport { return &Transport{Handler: t} }

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	in := req.Clone(ctx)
	in.RequestURI = req.URL.RequestURI()
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.RemoteAddr = t.RemoteAddr; in.RemoteAddr == "" {
		in.RemoteAddr = "192.0.2.1:1234"
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	p := &pipe{
		ctx: ctx, cancel: cancel, header: http.Header{},
		ready: make(chan struct{}), more: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	go p.serve(t.Handler, in)
	select {
	case <-p.ready:
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.code == 0 {
		cancel()
		return nil, fmt.Errorf("call the handler: %w", cmpErr(p.err))
	}
	res := &http.Response{
		Status: strconv.Itoa(p.code) + " " + http.StatusText(p.code), StatusCode: p.code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: p.sent, Body: p, ContentLength: -1, Request: req,
	}
	if n, err := strconv.ParseInt(p.sent.Get("Content-Length"), 10, 64); err == nil {
		res.ContentLength = n
	}
	return res, nil
}

func cmpErr(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxBuffered is how much a handler may write ahead, as a socket's buffers allow.
const maxBuffered = 64 << 10

// pipe is the response writer of the handler and the body of the caller.
type pipe struct {
	ctx        context.Context //nolint:containedctx // one request's, and both ends wait on it
	cancel     context.CancelFunc
	header     http.Header
	ready      chan struct{} // closed when the header is sent or the handler done
	more, room chan struct{}

	mu     sync.Mutex
	code   int
	sent   http.Header
	buf    []byte
	err    error // why there will be no more; io.EOF when all is well
	closed bool
}

func (p *pipe) serve(h http.Handler, r *http.Request) {
	defer func() {
		err := io.EOF
		if v := recover(); v != nil {
			err = io.ErrUnexpectedEOF
			if v != http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares the same way
				panic(v)
			}
		} else {
			p.WriteHeader(http.StatusOK)
		}
		_ = r.Body.Close()
		p.mu.Lock()
		p.err = err
		if p.code == 0 {
			close(p.ready)
		}
		p.mu.Unlock()
		signal(p.more)
	}()
	h.ServeHTTP(p, r)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Header implements [http.ResponseWriter].
func (p *pipe) Header() http.Header { return p.header }

// WriteHeader implements [http.ResponseWriter].
func (p *pipe) WriteHeader(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.code == 0 {
		p.code = code
		p.sent = p.header.Clone()
		close(p.ready)
	}
}

// Flush implements [http.Flusher]; everything is sent as it is written.
func (p *pipe) Flush() { p.WriteHeader(http.StatusOK) }

func (p *pipe) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	for n := 0; ; {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return n, io.ErrClosedPipe
		}
		take := min(len(b)-n, maxBuffered-len(p.buf))
		p.buf = append(p.buf, b[n:n+take]...)
		p.mu.Unlock()
		n += take
		signal(p.more)
		if n == len(b) {
			return n, nil
		}
		select {
		case <-p.room:
		case <-p.ctx.Done():
			return n, p.ctx.Err()
		}
	}
}

// Read implements [io.Reader] for the caller.
func (p *pipe) Read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		n := copy(b, p.buf)
		p.buf = p.buf[:copy(p.buf, p.buf[n:])]
		err, closed := p.err, p.closed
		p.mu.Unlock()
		switch {
		case closed:
			return 0, http.ErrBodyReadAfterClose
		case n > 0 || len(b) == 0:
			signal(p.room)
			return n, nil
		case err != nil:
			if gone := p.ctx.Err(); gone != nil && !errors.Is(err, io.EOF) {
				err = gone // the handler only followed the caller
			}
			return 0, err
		}
		select {
		case <-p.more:
		case <-p.ctx.Done():
			return 0, p.ctx.Err()
		}
	}
}

// Close implements [io.Closer] for the caller: hanging up.
func (p *pipe) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	return nil
}
