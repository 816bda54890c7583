package httpapi

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// streamBatch is how many lines become one transaction.
	streamBatch = 1000
	// streamBuffer holds about as many of the usual size.
	streamBuffer = 64 << 10
)

// stream is one NDJSON request that is answered while it comes in: a line for
// each line. What is answered is durable. Lines are committed together as far
// as they have arrived together; nobody waits for a batch to be full.
type stream struct {
	s     *server
	w     http.ResponseWriter
	in    *bufio.Reader
	line  []byte
	count int
	batch *batch

	tracked int
	begun   bool // an answer is on its way
}

// trackStream answers a stream. It ends with the input, or breaks the
// connection off when the store stops taking jobs: an answer that is cut must
// not look like a whole one.
func (s *server) trackStream(w http.ResponseWriter, r *http.Request) error {
	c := http.NewResponseController(w)
	_ = c.EnableFullDuplex() // HTTP/2 always is, and a test's recorder has read everything before
	t := &stream{s: s, w: w, in: bufio.NewReaderSize(&patient{r.Body, c}, streamBuffer), batch: newBatch(streamBatch)}
	err := t.run(r)
	if t.tracked > 0 {
		s.audit(r, strconv.Itoa(t.tracked)+" jobs tracked")
	}
	if err != nil && t.begun {
		// The connection is broken off: net/http would first read on, for as long
		// as the caller keeps sending nothing.
		_ = c.SetReadDeadline(time.Now())
	}
	return err
}

func (t *stream) run(r *http.Request) error {
	for {
		tooLong, err := t.next()
		if err != nil && !errors.Is(err, io.EOF) {
			// The last line is cut; those before it are whole.
			return errors.Join(t.flush(r), malformed("the body broke off, or did not come in time"))
		}
		t.take(tooLong)
		if err == nil && len(t.batch.results) < streamBatch && t.moreIsHere() {
			continue
		}
		if failed := t.flush(r); failed != nil {
			return failed
		}
		if errors.Is(err, io.EOF) {
			t.begin() // a stream without lines is answered as well
			return nil
		}
	}
}

// next reads one line; of one that is too long nothing is kept. At the end of
// the input it returns io.EOF with the last line, which may lack its newline.
func (t *stream) next() (tooLong bool, err error) {
	t.line = t.line[:0]
	for {
		part, err := t.in.ReadSlice('\n')
		if tooLong = tooLong || len(t.line)+len(part) > maxBody; tooLong {
			t.line = t.line[:0]
		} else {
			t.line = append(t.line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			t.line = bytes.TrimSpace(t.line)
			return tooLong, err
		}
	}
}

// moreIsHere reports whether another whole line has arrived.
func (t *stream) moreIsHere() bool {
	here, _ := t.in.Peek(t.in.Buffered()) // what is buffered can be seen
	return bytes.IndexByte(here, '\n') >= 0
}

// take puts the line into the batch; a bad one is answered like a good one. An
// empty one is counted and left out.
func (t *stream) take(tooLong bool) {
	t.count++
	switch {
	case tooLong:
		t.batch.add(job.Spec{}, "", &problem{Code: codeBodyTooLarge, Detail: "the line has more than 1 MiB"})
	case len(t.line) == 0:
		return
	default:
		t.batch.add(t.s.item(t.line))
	}
	t.batch.results[len(t.batch.results)-1].Line = t.count
}

// flush commits the batch and answers it.
func (t *stream) flush(r *http.Request) error {
	done := t.batch
	t.batch = newBatch(streamBatch)
	err := t.s.commit(r.Context(), done)
	if err != nil {
		if !t.begun {
			return err // as for a list: nothing has been answered
		}
		p := problemOf(err)
		for _, i := range done.at {
			one := &done.results[i]
			one.Result, one.Error, one.Code = resultFailed, p.Detail, p.Code
		}
	}
	t.tracked += done.count(resultTracked)
	if len(done.results) > 0 {
		if written := t.write(done.results); written != nil {
			return written
		}
	}
	return err
}

func (t *stream) write(results []result) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for i := range results {
		if err := enc.Encode(&results[i]); err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
	}
	t.begin()
	writeSoon(t.w)
	if _, err := t.w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	_ = http.NewResponseController(t.w).Flush() // what cannot be flushed comes with the end
	return nil
}

func (t *stream) begin() {
	if !t.begun {
		t.begun = true
		t.w.Header().Set("Content-Type", "application/x-ndjson")
		t.w.WriteHeader(http.StatusOK)
	}
}

// patient gives each read a time limit of its own: a stream may last, but not
// stand still.
type patient struct {
	body io.Reader
	c    *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.c.SetReadDeadline(time.Now().Add(readTimeout))
	n, err := p.body.Read(b)
	if err != nil {
		_ = p.c.SetReadDeadline(time.Time{})
	}
	return n, err
}
