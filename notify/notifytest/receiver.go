package notifytest

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Step is what a Receiver does with one request. The zero Step answers 200 "ok".
type Step struct {
	Status int // 0: 200
	Header map[string]string
	Body   string // "" with Status 0: "ok"

	Delay time.Duration // before it answers
	Hang  bool          // never answers
	Cut   bool          // breaks the connection instead of answering

	HangBody bool // stops after status and Body, for ever
	CutBody  bool // breaks the connection after status and Body
	Flood    int  // bytes that follow Body
	Echo     bool // the body is everything that came in: URL, headers, body
}

// Received is a request as it came in.
type Received struct {
	At     time.Time
	Method string
	URL    string
	Header http.Header
	Body   []byte
}

// Receiver is an http.Handler that works through a script and remembers what
// it was sent. It serves an httptest.Server as well as an [InProcess] transport.
type Receiver struct {
	mu       sync.Mutex
	script   []Step
	after    Step
	received []Received
	arrivals chan struct{}
}

// NewReceiver answers one request for each step, in order, and then 200 "ok".
func NewReceiver(script ...Step) *Receiver {
	return &Receiver{script: script, arrivals: make(chan struct{}, 1)}
}

// Always is a Receiver that does the same with every request.
func Always(s Step) *Receiver {
	r := NewReceiver()
	r.after = s
	return r
}

// Then sets what follows the present script.
func (r *Receiver) Then(s Step) *Receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = s
	return r
}

// Script replaces what is left of the script.
func (r *Receiver) Script(script ...Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.script = script
}

// Received is what came in so far, also what was not answered.
func (r *Receiver) Received() []Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Received(nil), r.received...)
}

// Arrivals gets a value after a request has come in; several may share one.
func (r *Receiver) Arrivals() <-chan struct{} { return r.arrivals }

func (r *Receiver) next(got Received) Step {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.received = append(r.received, got)
	select {
	case r.arrivals <- struct{}{}:
	default:
	}
	if len(r.script) == 0 {
		return r.after
	}
	step := r.script[0]
	r.script = r.script[1:]
	return step
}

// ServeHTTP implements [http.Handler].
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	got := Received{
		At: time.Now(), Method: req.Method, URL: req.URL.String(),
		Header: maps.Clone(req.Header), Body: body,
	}
	step := r.next(got)
	gone := req.Context().Done()
	if step.Delay > 0 {
		delay := time.NewTimer(step.Delay)
		defer delay.Stop()
		select {
		case <-delay.C:
		case <-gone:
			return
		}
	}
	switch {
	case step.Hang:
		<-gone
		return
	case step.Cut:
		panic(http.ErrAbortHandler)
	}
	answer(w, step, got)
	if step.HangBody {
		<-gone
	}
	if step.CutBody {
		panic(http.ErrAbortHandler)
	}
}

func answer(w http.ResponseWriter, s Step, got Received) {
	for k, v := range s.Header {
		w.Header().Set(k, v)
	}
	body := s.Body
	switch {
	case s.Echo:
		body = echo(got)
	case s.Status == 0 && body == "":
		body = "ok"
	}
	if s.Status == 0 {
		s.Status = http.StatusOK
	}
	if s.CutBody { // promises more than will come
		w.Header().Set("Content-Length", "100000")
	}
	w.WriteHeader(s.Status)
	_, _ = io.WriteString(w, body)
	const chunk = 4 << 10
	for left := s.Flood; left > 0; left -= chunk {
		if _, err := io.WriteString(w, strings.Repeat("x", min(left, chunk))); err != nil {
			return
		}
	}
	_ = http.NewResponseController(w).Flush()
}

func echo(got Received) string {
	var b strings.Builder
	_, _ = io.WriteString(&b, got.Method+" "+got.URL+"\n")
	_ = got.Header.Write(&b)
	_, _ = b.Write(got.Body)
	return b.String()
}
