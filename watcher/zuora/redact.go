package zuora

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// maxMessage bounds how much of Zuora's own words an error repeats.
	maxMessage = 300
	// maxCode bounds a code; the longest we know has eight digits.
	maxCode = 64
	// minSecret is the shortest text that is taken out as a secret: shorter ones
	// would tear holes into ordinary words.
	minSecret = 6
	redacted  = "[redacted]"
	ellipsis  = "…" // how job.Cut marks a cut
)

var (
	anyURL = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>\\]+`)
	// urlQuery is the part of a URL that holds a presigned link's secret.
	urlQuery = regexp.MustCompile(`(://[^\s"'<>?]*)\?[^\s"'<>]+`)
)

// clean makes foreign text fit for one line of at most limit bytes.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	return job.Cut(strings.TrimSpace(s), limit)
}

// withoutURLs replaces every URL: one may hold a password, or a presigned link's
// signature.
func withoutURLs(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	return anyURL.ReplaceAllString(s, "[url]")
}

// withoutQueries takes the query part out of every URL in a job's error text:
// a failed export may name the presigned link it was to write to.
func withoutQueries(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	return urlQuery.ReplaceAllString(s, "$1?"+redacted)
}

// withoutSecrets takes secrets out, as they are and as a form or URL writes them.
func withoutSecrets(s string, secrets ...string) string {
	for _, x := range secrets {
		for _, form := range [...]string{x, url.QueryEscape(x), url.PathEscape(x)} {
			if len(form) >= minSecret {
				s = withoutHalf(strings.ReplaceAll(s, form, redacted), form)
			}
		}
	}
	return s
}

// withoutHalf takes the beginning of a secret out of the end of a text that was
// cut there.
func withoutHalf(s, form string) string {
	kept, wasCut := strings.CutSuffix(s, ellipsis)
	for n := min(len(form)-1, len(kept)); wasCut && n >= minSecret; n-- {
		if kept, ok := strings.CutSuffix(kept, form[:n]); ok {
			return kept + redacted
		}
	}
	return s
}

// secrets are what must be told by nothing, besides the one that was sent.
func (c *Client) secrets(sent string) []string {
	all := []string{sent, c.o.ClientID}
	if text, err := c.o.ClientSecret.Get(); err == nil {
		all = append(all, text.Reveal())
	}
	return all
}

// redact takes secrets out of everything an error repeats.
func (e *Error) redact(secrets ...string) {
	e.Message = withoutSecrets(e.Message, secrets...)
	e.Code = withoutSecrets(e.Code, secrets...)
	if c, ok := e.Err.(*cause); ok { //nolint:errorlint // only our own wrapper has a text to clean
		c.text = withoutSecrets(c.text, secrets...)
	}
}

// cause is an error of a lower level with a text that is fit to be shown. What
// is inside is for errors.Is and errors.As only.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string { return c.text }
func (c *cause) Unwrap() error { return c.err }

func newCause(err error) *cause {
	return &cause{text: clean(withoutURLs(err.Error()), maxMessage), err: err}
}

// requestID is Zuora's id of the exchange, if it looks like one.
func requestID(h http.Header) string {
	id := h.Get("Zuora-Request-Id")
	if len(id) > maxCode || strings.IndexFunc(id, func(r rune) bool { return !tokenRune(r) }) >= 0 {
		return ""
	}
	return id
}

func tokenRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}
