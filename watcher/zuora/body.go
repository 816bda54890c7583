package zuora

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

const (
	// maxJobBytes bounds one job, unfolded: a query has at most 1,000,000
	// characters (zuora-facts.md section 2), six bytes each when escaped.
	maxJobBytes = 8 << 20
	// maxListBytes bounds a whole list, unfolded, of which we hold one job at a
	// time: 1,000 jobs with the longest query each.
	maxListBytes = 1 << 30
	// maxErrorBytes bounds what is read of an answer that is no success.
	maxErrorBytes = 64 << 10
	// maxDrain is what is read for nothing to keep a connection, less than
	// a new TLS handshake costs.
	maxDrain = 64 << 10
	// maxPooled bounds the buffers that are kept: one giant must not stay.
	maxPooled = 256 << 10
)

var (
	errTooLarge = errors.New("the answer is larger than allowed")
	errEncoding = errors.New("the answer has an encoding that nobody asked for")
	errNoGzip   = errors.New("the answer says gzip and is not")
)

// unzipper is a gzip reader with the buffer in front of it, so that neither is
// made anew for each answer.
type unzipper struct {
	in  *bufio.Reader
	out gzip.Reader
}

var unzippers = sync.Pool{New: func() any { return &unzipper{in: bufio.NewReader(nil)} }}

// unfold undoes the answer's encoding; done must be called when the body has
// been read. The error is one for [bodyError].
func unfold(resp *http.Response) (body io.Reader, done func(), err error) {
	encoding := resp.Header.Get("Content-Encoding")
	if encoding == "" {
		return resp.Body, nothing, nil
	}
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "identity", "":
		return resp.Body, nothing, nil
	case "gzip", "x-gzip": // the same: RFC 9110 section 8.4.1.3
	default:
		return nil, nil, errEncoding
	}
	z, _ := unzippers.Get().(*unzipper)
	z.in.Reset(resp.Body)
	if err := z.out.Reset(z.in); err != nil {
		unzippers.Put(z)
		if errors.Is(err, io.EOF) {
			err = errNoGzip
		}
		return nil, nil, err
	}
	return &z.out, func() {
		z.in.Reset(nil) // lets go of the connection
		unzippers.Put(z)
	}, nil
}

func nothing() {}

// bodyError sorts what went wrong with a successful answer's body: what it says
// is not understood, or it never came whole.
func bodyError(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errEncoding), errors.Is(err, errNoGzip):
		return malformed(err.Error())
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), corrupt:
		return malformed(errNoGzip.Error())
	}
	e := transportError(err)
	e.Status = http.StatusOK
	return e
}

// buffer holds one job.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 4<<10)} }}

func (b *buffer) free() {
	if cap(b.b) <= maxPooled {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// fill reads everything, at most limit bytes.
func (b *buffer) fill(r io.Reader, limit int) error {
	b.b = b.b[:0]
	for {
		if len(b.b) == cap(b.b) {
			// Doubled, where append would copy a large one many times.
			b.b = append(make([]byte, 0, min(max(2*len(b.b), 4<<10), limit+1)), b.b...)
		}
		n, err := r.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		switch {
		case len(b.b) > limit:
			return errTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// capped reads at most left bytes and fails beyond, where io.LimitReader would
// pretend that the answer had ended.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	return n, err
}
