package webui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// accessHeader is how the API says whether the caller may change things.
const accessHeader = "Jobwatcher-Access"

// fault is a refusal of the API.
type fault struct {
	status int
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	ID     string `json:"request_id"`
}

func (f *fault) Error() string { return f.Detail }

func faultOf(err error) *fault {
	if f := (*fault)(nil); errors.As(err, &f) {
		return f
	}
	return &fault{status: http.StatusInternalServerError, Title: "Internal error", Detail: "the page could not be made"}
}

// passed are the request headers by which the API knows who asks, and from where.
var passed = []string{
	"Authorization", "Origin", "Sec-Fetch-Site", "Forwarded", "Via", "X-Real-Ip", "X-Request-Id",
}

// ask makes one call of the API in the name of whoever sent r, and decodes the
// answer into out (nil: it is of no interest). may says whether the caller may
// change things.
func (p *page) ask(r *http.Request, method, target string, body, out any) (may bool, err error) {
	var b []byte
	if body != nil {
		if b, err = json.Marshal(body); err != nil {
			return false, err
		}
	}
	//nolint:gosec // G704: it goes to a handler in this process, and not to an address
	inner, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), method, "http://"+apiHost+target, bytes.NewReader(b))
	if err != nil {
		return false, err
	}
	inner = inner.WithContext(r.Context())
	inner.Host, inner.RemoteAddr, inner.TLS = r.Host, r.RemoteAddr, r.TLS
	for _, name := range passed {
		if v := r.Header.Values(name); len(v) > 0 {
			inner.Header[name] = v
		}
	}
	for name, v := range r.Header {
		if strings.HasPrefix(name, "X-Forwarded-") {
			inner.Header[name] = v
		}
	}
	if b != nil {
		inner.Header.Set("Content-Type", "application/json")
	}
	answer := &memory{header: http.Header{}}
	p.api.ServeHTTP(answer, inner)
	if answer.status() >= http.StatusMultipleChoices {
		f := &fault{status: answer.status()}
		if json.Unmarshal(answer.body.Bytes(), f) != nil || f.Detail == "" {
			f.Detail = "the API refused without saying why"
		}
		return false, f
	}
	may = answer.header.Get(accessHeader) == "write"
	if out == nil || answer.body.Len() == 0 {
		return may, nil
	}
	return may, json.Unmarshal(answer.body.Bytes(), out)
}

// apiHost only makes the URL whole; the Host header is the browser's.
const apiHost = "api.invalid"

// memory is an answer of the API, kept.
type memory struct {
	header http.Header
	body   bytes.Buffer
	code   int
}

func (m *memory) Header() http.Header { return m.header }

func (m *memory) WriteHeader(code int) {
	if m.code == 0 {
		m.code = code
	}
}

func (m *memory) Write(b []byte) (int, error) {
	m.WriteHeader(http.StatusOK)
	return m.body.Write(b)
}

func (m *memory) status() int {
	if m.code == 0 {
		return http.StatusOK
	}
	return m.code
}
