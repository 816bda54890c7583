package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// lines decodes an NDJSON answer, each line of which must be a Result of the document.
func lines(t *testing.T, c *client, b []byte) []result {
	t.Helper()
	var all []result
	schema := c.spec.doc.Components.Schemas["Result"].Value
	for line := range strings.Lines(string(b)) {
		var v any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if err := schema.VisitJSON(v); err != nil {
			t.Errorf("line %q: %v", line, err)
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		var one result
		if err := d.Decode(&one); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

func item(n int) string { return `{"id":"` + id(n).String() + `"}` }

func TestAStreamIsAnsweredLineByLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(2)})
	c := newClient(t, w, nil).with("Content-Type", "application/x-ndjson")
	in := strings.Join([]string{
		item(1), item(2), "", "  ", `{"half":`, item(1), strings.Repeat("x", maxBody+1), item(3) + "\r", `{"id":"nonsense"}`, item(4),
	}, "\n") // the last line has no newline
	a := c.do("POST", "/v1/jobs", in).want(200, "")
	if got := a.header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("content type: got %q", got)
	}
	got := lines(t, c, a.body)
	for i := range got {
		got[i].Error = ""
	}
	want := []result{
		{ID: id(1).String(), Result: "tracked", Line: 1},
		{ID: id(2).String(), Result: "already_tracked", Line: 2},
		{Result: "invalid", Code: codeMalformedJSON, Line: 5},
		{ID: id(1).String(), Result: "already_tracked", Line: 6},
		{Result: "invalid", Code: codeBodyTooLarge, Line: 7},
		{ID: id(3).String(), Result: "tracked", Line: 8},
		{ID: "nonsense", Result: "invalid", Code: codeInvalidJobID, Line: 9},
		{ID: id(4).String(), Result: "tracked", Line: 10},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestAStreamHasNoLimit(t *testing.T) {
	t.Parallel()
	const n = 25_000 // above what a list may have, in more than 1 MiB
	w := newWorld(t)
	c := newClient(t, w, nil).with("Content-Type", "application/x-ndjson")
	var b strings.Builder
	for i := range n {
		b.WriteString(item(i) + "\n")
	}
	got := lines(t, c, c.do("POST", "/v1/jobs", b.String()).want(200, "").body)
	tracked := 0
	for i := range got {
		if got[i].Result == resultTracked && got[i].ID == id(i).String() {
			tracked++
		}
	}
	if tracked != n || len(got) != n {
		t.Errorf("tracked, in the order of the input: got %d of %d lines, want %d", tracked, len(got), n)
	}
	for _, one := range w.tracked {
		if len(one) > streamBatch {
			t.Errorf("one transaction of %d jobs, want at most %d", len(one), streamBatch)
		}
	}
	if len(w.tracked) > n/streamBatch*2 {
		t.Errorf("transactions: got %d for %d lines that were all there", len(w.tracked), n)
	}
}

func TestAnEmptyStreamIsAnswered(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil).with("Content-Type", "application/ndjson")
	c.lenient = true // the document knows one name of the type, and a body
	if a := c.do("POST", "/v1/jobs", "\n\n").want(200, ""); len(a.body) != 0 {
		t.Errorf("body: got %q, want none", a.body)
	}
}

// open starts a stream to a real server: what is written to in is sent.
func openStream(t *testing.T, c *client) (in *io.PipeWriter, out *bufio.Reader, done func()) {
	t.Helper()
	server := liveServer(t, c.h)
	r, w := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v1/jobs", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	answers := make(chan *http.Response, 1)
	go func() {
		defer close(answers)
		answer, err := server.Client().Do(req)
		if err != nil {
			t.Errorf("stream: %v", err)
			_ = r.CloseWithError(err)
			return
		}
		answers <- answer
	}()
	if _, err := io.WriteString(w, item(1)+"\n"); err != nil { // nothing is answered before the first line
		t.Fatal(err)
	}
	answer := <-answers
	if answer == nil {
		t.FailNow()
	}
	return w, bufio.NewReader(answer.Body), func() {
		_ = w.Close()
		_ = answer.Body.Close()
		cancel()
	}
}

// Nobody waits for a batch to be full: a line is durable and answered before
// the next one is sent.
func TestAStreamIsAnsweredWhileItIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, out, done := openStream(t, newClient(t, w, nil))
	defer done()
	send := func(text string) {
		if _, err := io.WriteString(in, text); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(n int) {
		t.Helper()
		line, err := out.ReadString('\n')
		if err != nil || !strings.Contains(line, id(n).String()) || !strings.Contains(line, `"tracked"`) {
			t.Fatalf("answer to line %d: got %q (%v)", n, line, err)
		}
	}
	expect(1)
	send(item(2) + "\n" + item(3)[:20]) // half a line holds nothing up
	expect(2)
	send(item(3)[20:] + "\n")
	expect(3)
	send(item(4)) // the end of the input ends a line as well
	_ = in.Close()
	expect(4)
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
		t.Errorf("after the last line: got %q (%v), want a good end", rest, err)
	}
}

// An answer that is cut must not look like a whole one.
func TestAStreamBreaksOffWhenTheStoreFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fail, w.failAfter = errors.New("disk on fire"), 1
	c := newClient(t, w, nil)
	in, out, done := openStream(t, c)
	defer done()
	if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, `"tracked"`) {
		t.Fatalf("the first line: got %q (%v)", line, err)
	}
	if _, err := io.WriteString(in, item(2)+"\n"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err == nil {
		t.Errorf("the answer ended well: %q", rest)
	}
	got := lines(t, c, rest)
	if len(got) != 1 || got[0].Result != resultFailed || got[0].Code != codeInternal || got[0].ID != id(2).String() {
		t.Errorf("the second line: got %+v, want failed", got)
	}
}

func TestAStreamThatFailsAtOnceIsAProblem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newClient(t, w, nil).with("Content-Type", "application/x-ndjson")
	w.fail = job.ErrDraining
	c.do("POST", "/v1/jobs", item(1)+"\n").want(503, codeNotReady)
}

// What came whole before the line broke is kept.
func TestABrokenStreamKeepsItsWholeLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, out, done := openStream(t, newClient(t, w, nil))
	defer done()
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, item(2)+"\n"+item(3)[:20]); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); err != nil || !strings.Contains(line, id(2).String()) {
		t.Fatalf("the second line: got %q (%v)", line, err)
	}
	_ = in.CloseWithError(errors.New("the caller's cable"))
	_, _ = io.ReadAll(out)
	done()
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, half := w.jobs[id(3)]; half || len(w.jobs) != 2 {
		t.Errorf("jobs: got %d (half a line among them: %t), want the two whole ones", len(w.jobs), half)
	}
}
