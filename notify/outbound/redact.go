package outbound

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const redacted = "[redacted]"

// maxError bounds an error's text.
const maxError = 300

// Shorter texts would blank out ordinary words: parts of a URL that may be
// secret, and texts that the caller or the URL calls secret.
const (
	minSecret = 6
	minGiven  = 4
)

// routeWords are path segments that say nothing and appear in honest answers.
var routeWords = []string{
	"callback", "callbacks", "deliveries", "incoming", "integrations", "messages", "notifications",
	"notify", "receiver", "services", "triggers", "webhook", "webhooks", "workflows", "workspace",
}

// patterns are texts that are secret whoever wrote them.
var patterns = []*regexp.Regexp{
	regexp.MustCompile(`whs(?:ec|k|pk)_[A-Za-z0-9+/=_-]+`),                // Standard Webhooks keys
	regexp.MustCompile(`xox[a-z]-[A-Za-z0-9-]+`),                          // Slack tokens
	regexp.MustCompile(`(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/=._~-]{6,}`), // Authorization
	regexp.MustCompile(`(?i)hooks\.slack(?:-gov)?\.com(?:\\?/[^\s"'<>]*)`),
}

// anyURL finds URLs, also with the slashes that JSON may escape.
var anyURL = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*:(?:\\?/){2}[^\s"'<>]+`)

// knownSecrets lists what a request holds that must not come out again,
// longest first. The host is not among it: it is what an operator needs to read
// in "no such host".
func knownSecrets(target *url.URL, more []string) []string {
	var known []string
	add := func(least int, texts ...string) {
		for _, s := range texts {
			if len(s) >= least {
				known = append(known, printable(s), printable(jsonQuoted(s, true)), printable(jsonQuoted(s, false)))
			}
		}
	}
	add(minGiven, more...)
	add(minSecret, target.String(), target.RequestURI(), target.EscapedPath(), target.Path, target.RawQuery)
	for _, path := range []string{target.EscapedPath(), target.Path} {
		for segment := range strings.SplitSeq(path, "/") {
			if len(segment) > minSecret && !slices.Contains(routeWords, strings.ToLower(segment)) {
				add(minSecret, segment)
			}
		}
	}
	for _, values := range target.Query() {
		add(minSecret, values...)
	}
	if target.User != nil {
		password, _ := target.User.Password()
		add(minGiven, password, target.User.String())
	}
	known = slices.DeleteFunc(known, func(s string) bool { return s == "" })
	slices.SortFunc(known, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	return slices.Compact(known)
}

// jsonQuoted is s as a receiver would echo it inside JSON.
func jsonQuoted(s string, escapeHTML bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(escapeHTML)
	if err := enc.Encode(s); err != nil {
		return s
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

// redact blanks the known secrets and whatever looks like one.
func redact(s string, known []string) string {
	for _, k := range known {
		s = strings.ReplaceAll(s, k, redacted)
	}
	for _, p := range patterns {
		s = p.ReplaceAllString(s, redacted)
	}
	return anyURL.ReplaceAllStringFunc(s, shortURL)
}

// shortURL leaves scheme and host of a URL.
func shortURL(text string) string {
	u, err := url.Parse(strings.ReplaceAll(text, `\/`, "/"))
	if err != nil || u.Host == "" {
		return redacted
	}
	if u.User == nil && u.RawQuery == "" && u.Fragment == "" && (u.Path == "" || u.Path == "/") {
		return text
	}
	return u.Scheme + "://" + u.Host + "/" + redacted
}

// Error is why a receiver gave no answer. Its text and what it unwraps to hold
// neither URL nor secret.
type Error struct {
	text    string
	timeout bool
	causes  []error
}

// harmless are the causes that callers branch on. Anything else in the chain
// stays behind: an error of the HTTP library may quote the URL or the answer.
var harmless = []error{
	ErrBlocked, context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF,
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
}

// lateError is the cause of a Post that ran out of its own time.
type lateError struct{ after time.Duration }

func (e lateError) Error() string { return "no answer within " + e.after.String() }

// Clean rewrites the error of a library that brought a client of its own: what
// is known as secret is taken out, and so is whatever looks like it.
func Clean(ctx context.Context, err error, secrets []string) error {
	var known []string
	for _, s := range secrets {
		if len(s) >= minGiven {
			known = append(known, printable(s), url.QueryEscape(s), url.PathEscape(s))
		}
	}
	slices.SortFunc(known, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return newError(ctx, err, known)
}

// newError rewrites err.
func newError(ctx context.Context, err error, known []string) *Error {
	e := &Error{}
	for _, cause := range harmless {
		if errors.Is(err, cause) {
			e.causes = append(e.causes, cause)
		}
	}
	var quoting *url.Error
	for errors.As(err, &quoting) {
		err = quoting.Err
	}
	e.text = job.Cut(redact(printable(err.Error()), known), maxError)
	var network net.Error
	var late lateError
	switch {
	case errors.As(context.Cause(ctx), &late):
		e.timeout = true
		e.text = late.Error()
		e.causes = []error{context.DeadlineExceeded}
	case errors.Is(ctx.Err(), context.Canceled):
		e.text = "cancelled while waiting for the receiver"
		e.causes = []error{context.Canceled}
	case errors.As(err, &network):
		e.timeout = network.Timeout()
	}
	return e
}

func (e *Error) Error() string { return e.text }

// Unwrap gives the causes that can be branched on.
func (e *Error) Unwrap() []error { return e.causes }

// Timeout reports whether time ran out; with Temporary it makes a [net.Error].
func (e *Error) Timeout() bool { return e.timeout }

// Temporary is true of everything but a refused address.
func (e *Error) Temporary() bool { return !e.Blocked() }

// Blocked reports whether the guard refused the address.
func (e *Error) Blocked() bool { return slices.Contains(e.causes, ErrBlocked) }

// GoString keeps %#v from printing more than Error does.
func (e *Error) GoString() string { return fmt.Sprintf("outbound.Error(%q)", e.text) }
