package zuora

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// listing reads {"data":[…]} from a stream and holds one job at a time. One that
// is too large is passed over without being held; json.Decoder would have to
// hold it.
type listing struct {
	in   *bufio.Reader
	keep *buffer
	most int // jobs that may be yielded
	// leftOut counts jobs that are too large or not understood.
	leftOut int
	yielded int
	found   bool // there is a list
	stopped bool // enough, or yield said so
	said    said
}

var streams = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

func newListing(body io.Reader, most int) *listing {
	in, _ := streams.Get().(*bufio.Reader)
	in.Reset(&capped{body, maxListBytes})
	keep, _ := buffers.Get().(*buffer)
	return &listing{in: in, keep: keep, most: most}
}

func (l *listing) free() {
	l.in.Reset(nil)
	streams.Put(l.in)
	l.keep.free()
}

// read reads the whole answer, or until yield has had enough.
func (l *listing) read(yield func(job.Observation) bool) error {
	if err := l.expect('{', "the answer is not JSON"); err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := l.next()
		switch {
		case err != nil:
			return err
		case c == '}':
			return l.done()
		case first:
		case c != ',':
			return errList()
		default:
			l.skip()
		}
		if err := l.field(yield); err != nil || l.stopped {
			return err
		}
	}
}

// done is what a list means that has come to its end.
func (l *listing) done() error {
	switch {
	case isFalse(l.said.Success) || !l.found:
		return insideError(&l.said)
	case l.leftOut > 0 && l.yielded == 0:
		return malformed("no job of the list is understood")
	}
	return nil
}

// field takes one field of the answer.
func (l *listing) field(yield func(job.Observation) bool) error {
	if c, err := l.next(); err != nil || c != '"' {
		return either(err, errList())
	}
	whole, err := l.value(maxCode)
	if err != nil {
		return err
	}
	key := ""
	if whole {
		key = unquote(l.keep.b, maxCode)
	}
	if err := l.expect(':', "the list is not JSON"); err != nil {
		return err
	}
	c, err := l.next()
	if err != nil {
		return err
	}
	if key == "data" && c == '[' {
		l.found = true
		return l.jobs(yield)
	}
	if whole, err = l.value(maxErrorBytes); err != nil || !whole {
		return err
	}
	if place := l.said.field(key); place != nil {
		*place = append([]byte(nil), l.keep.b...)
	}
	return nil
}

// jobs takes the list itself.
func (l *listing) jobs(yield func(job.Observation) bool) error {
	l.skip()
	for first := true; ; first = false {
		c, err := l.next()
		switch {
		case err != nil:
			return err
		case c == ']':
			l.skip()
			return nil
		case first:
		case c != ',':
			return errList()
		default:
			l.skip()
			if _, err := l.next(); err != nil {
				return err
			}
		}
		if l.yielded+l.leftOut >= l.most {
			l.stopped = true // more than was asked for
			return nil
		}
		whole, err := l.value(maxJobBytes)
		if err != nil {
			return err
		}
		o, ok := l.job(whole)
		if !ok {
			l.leftOut++
			continue
		}
		l.yielded++
		if !yield(o) {
			l.stopped = true
			return nil
		}
	}
}

// job understands the job that has just been taken.
func (l *listing) job(whole bool) (o job.Observation, ok bool) {
	var w wireJob
	if !whole || !w.element(l.keep.b) {
		return o, false
	}
	id, err := job.ParseID(unquote(w.id, maxWord))
	if err != nil {
		return o, false
	}
	o = w.observation(id)
	return o, o.Status != job.Unseen
}

// errList is a list that is no JSON: nothing behind that place can be trusted.
func errList() error { return malformed("the list is not JSON") }

func either(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// next is the next byte that is no white space, without taking it.
func (l *listing) next() (byte, error) {
	for {
		b, err := l.in.Peek(1)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = malformed("the list was cut short")
			}
			return 0, err
		}
		switch b[0] {
		case ' ', '\t', '\r', '\n':
			l.skip()
		default:
			return b[0], nil
		}
	}
}

// skip takes the byte that next showed.
func (l *listing) skip() { _, _ = l.in.Discard(1) }

func (l *listing) expect(want byte, otherwise string) error {
	c, err := l.next()
	if err != nil {
		return err
	}
	if c != want {
		return malformed(otherwise)
	}
	l.skip()
	return nil
}

// value takes the value that begins here into keep, as far as limit allows;
// whole reports whether it did.
func (l *listing) value(limit int) (whole bool, err error) {
	l.keep.b = l.keep.b[:0]
	whole = true
	var f frame
	for {
		if _, err := l.in.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = malformed("the list was cut short")
			}
			return false, err
		}
		chunk, _ := l.in.Peek(l.in.Buffered())
		n, ended := f.feed(chunk)
		if whole = whole && len(l.keep.b)+n <= limit; whole {
			l.keep.b = append(l.keep.b, chunk[:n]...)
		}
		_, _ = l.in.Discard(n)
		switch {
		case !ended:
		case n == 0 && len(l.keep.b) == 0 && whole:
			return false, errList() // a delimiter in place of a value
		default:
			return whole, nil
		}
	}
}

// frame finds the end of a value by its brackets and quotes alone. Whether what
// is between them is JSON is for [scanner] to say.
type frame struct {
	depth   int
	quoted  bool
	escaped bool
	word    bool // a number, true, false or null
}

// feed says how many bytes of b belong to the value, and whether it ends there.
func (f *frame) feed(b []byte) (n int, ended bool) {
	for i, c := range b {
		switch {
		case f.escaped:
			f.escaped = false
		case f.quoted && c == '\\':
			f.escaped = true
		case c == '"' && f.word:
			return i, true
		case c == '"':
			f.quoted = !f.quoted
			if !f.quoted && f.depth == 0 {
				return i + 1, true
			}
		case f.quoted:
		case c == '{', c == '[':
			f.depth++
		case c == '}', c == ']':
			if f.depth == 0 {
				return i, true // the end of what the value is in
			}
			if f.depth--; f.depth == 0 {
				return i + 1, true
			}
		case f.depth > 0:
		case c == ',', c == ':', c == ' ', c == '\t', c == '\r', c == '\n':
			return i, true
		default:
			f.word = true
		}
	}
	return len(b), false
}
