package zuorasim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// answer is what goes back, before it is packed and possibly spoiled.
type answer struct {
	code   int
	header [][2]string
	// body, or stream for what may be too large to hold.
	body   []byte
	stream func(io.Writer) error
	// shown are the ended jobs the answer tells of.
	shown []job.ID
}

func (a *answer) with(name, value string) *answer {
	a.header = append(a.header, [2]string{name, value})
	return a
}

// encode is JSON as Zuora's samples write it: no escaped angle brackets.
func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func jsonAnswer(code int, v any) *answer {
	var b bytes.Buffer
	if err := encode(&b, v); err != nil {
		return &answer{code: http.StatusInternalServerError}
	}
	return &answer{code: code, body: bytes.TrimRight(b.Bytes(), "\n")}
}

// failure is Data Query's own error shape (facts section 4, shape 1).
func failure(status, code int, message string) *answer {
	return jsonAnswer(status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{code, message})
}

// signInAgain is the gateway's 401 (shape 2).
func signInAgain(message string) *answer {
	a := jsonAnswer(http.StatusUnauthorized, struct {
		Message string `json:"message"`
	}{message})
	return a.with("WWW-Authenticate", "Basic realm=Zuora API, ZSession realm=Zuora API, Bearer realm=Zuora API")
}

type reason struct {
	Code    any    `json:"code"`
	Message string `json:"message"`
}

// reasons is the /v1 shape (3), without success when that is nil (4).
func reasons(status int, success *bool, processID string, all ...reason) *answer {
	return jsonAnswer(status, struct {
		Success   *bool    `json:"success,omitempty"`
		ProcessID string   `json:"processId,omitempty"`
		Reasons   []reason `json:"reasons"`
	}{success, processID, all})
}

// refuse is the 429 of an exceeded limit. Its body is not documented for this
// API; the code's last two digits are those of "limit exceeded".
func (x *exchange) refuse() *answer {
	a := reasons(http.StatusTooManyRequests, nil, "", reason{"50000070", "Request limit exceeded: " + string(x.over)})
	if x.over == LimitWindow && x.options.RetryAfter {
		x.mu.Lock()
		defer x.mu.Unlock()
		a.with("Retry-After", strconv.FormatInt(x.api.tightest().resetIn(x.at), 10))
	}
	return a
}

// send writes the answer with the headers that every answer has.
func (x *exchange) send(a *answer) {
	if f := x.mis.cut; f != nil && f.Kind == KindDrop {
		panic(http.ErrAbortHandler) // done, but nobody is told
	}
	h := x.w.Header()
	x.headers(h)
	h.Set("Content-Type", "application/json")
	for _, pair := range a.header {
		h.Set(pair[0], pair[1])
	}
	p := &packer{
		w: x.w, out: x.spoiled(), code: a.code,
		gzip: strings.Contains(x.r.Header.Get("Accept-Encoding"), "gzip"),
	}
	var err error
	if a.stream != nil {
		err = a.stream(p)
	} else {
		_, err = p.Write(a.body)
	}
	if err == nil {
		err = p.Close()
	}
	x.mu.Lock()
	x.log.Code = a.code
	if x.log.Gone = err != nil; err == nil {
		x.book.sighted(x.options.Now(), a.shown)
	}
	x.mu.Unlock()
	if errors.Is(err, errCut) {
		_ = http.NewResponseController(x.w).Flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // cut by us, or the caller has gone
	}
}

// headers are those of every answer: request id, track id, clock and windows.
func (x *exchange) headers(h http.Header) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.options.Now()
	h.Set("Date", now.Add(x.book.skew).UTC().Format(http.TimeFormat))
	h.Set("Zuora-Request-Id", x.id)
	if id := x.r.Header.Get("Zuora-Track-Id"); id != "" {
		h.Set("Zuora-Track-Id", id)
	}
	if x.log.Endpoint == EndpointToken {
		x.accounts.headers(h, x.at, host(x.r.RemoteAddr))
		return
	}
	x.api.headers(h, x.at)
}

// gzipFrom is the size above which Zuora compresses ("over 1000 bytes").
const gzipFrom = 1000

var gzips = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// packer holds a body back until it is clear whether it is worth compressing.
type packer struct {
	w    http.ResponseWriter
	out  io.Writer
	code int
	gzip bool
	head []byte
	open bool // the header is written
	zip  *gzip.Writer
}

func (p *packer) Write(b []byte) (int, error) {
	if !p.open {
		if len(p.head)+len(b) <= gzipFrom {
			p.head = append(p.head, b...)
			return len(b), nil
		}
		if err := p.start(); err != nil {
			return 0, err
		}
	}
	if p.zip != nil {
		return p.zip.Write(b)
	}
	return p.out.Write(b)
}

// start writes the header and what was held back.
func (p *packer) start() error {
	p.open = true
	if p.gzip {
		p.w.Header().Set("Content-Encoding", "gzip")
	}
	p.w.WriteHeader(p.code)
	out := p.out
	if p.gzip {
		p.zip, _ = gzips.Get().(*gzip.Writer)
		p.zip.Reset(out)
		out = p.zip
	}
	_, err := out.Write(p.head)
	return err
}

// Close sends what is left.
func (p *packer) Close() error {
	if p.zip != nil {
		defer gzips.Put(p.zip)
		if err := p.zip.Close(); err != nil {
			return err
		}
	}
	if p.open {
		return finish(p.out)
	}
	p.w.Header().Set("Content-Length", strconv.Itoa(len(p.head)))
	p.w.WriteHeader(p.code)
	if len(p.head) == 0 {
		return finish(p.out)
	}
	if c, ok := p.out.(*cutter); ok && c.left == cutHalf {
		c.left = len(p.head) / 2
	}
	if _, err := p.out.Write(p.head); err != nil {
		return err
	}
	return finish(p.out)
}

// zuoraTime is ISO 8601 in UTC with one to three fraction digits, trailing
// zeros dropped, as in the samples (19.17Z, 38.855Z).
func zuoraTime(t time.Time) string {
	s := t.UTC().Format("2006-01-02T15:04:05.000")
	for i := 0; i < 2 && s[len(s)-1] == '0'; i++ {
		s = s[:len(s)-1]
	}
	return s + "Z"
}
