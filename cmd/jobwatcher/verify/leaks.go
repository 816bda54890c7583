package verify

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// leakSearch is where the daemon's log goes: each line is searched for secrets,
// and the last ones are kept for whoever has to find out what went wrong.
type leakSearch struct {
	secrets func() []string

	mu    sync.Mutex
	rest  []byte
	tail  []string
	found []string
	lines int
}

const tailLines = 200

// Write implements io.Writer.
func (l *leakSearch) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		l.line(string(line))
		l.rest = rest
	}
}

func (l *leakSearch) line(text string) {
	l.lines++
	l.tail = append(l.tail, text)
	if len(l.tail) > 2*tailLines {
		l.tail = slices.Clone(l.tail[tailLines:])
	}
	for _, s := range holds(text, append(l.secrets(), canaryQuery)) {
		l.found = append(l.found, "the log: "+s)
	}
}

// results are the leaks, and the end of the log.
func (l *leakSearch) results() (found, tail []string, lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.found), slices.Clone(l.tail), l.lines
}

// holds names the secrets that a text contains, as they are or as a URL or form
// writes them. A signing secret is also what its base64 stands for.
func holds(text string, secrets []string) []string {
	var found []string
	for _, s := range secrets {
		s = strings.TrimPrefix(s, "whsec_")
		if s != "" && (strings.Contains(text, s) || strings.Contains(text, url.QueryEscape(s))) {
			found = append(found, s[:min(len(s), 12)]+"… in "+clip(text))
		}
	}
	return found
}

func clip(s string) string {
	if len(s) > 160 {
		return s[:160] + "…"
	}
	return s
}
