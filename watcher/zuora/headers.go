package zuora

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is one of the tenant's rate-limit windows as an answer told it.
// Remaining is -1 and Reset zero where the answer did not speak of it: Zuora
// gives both for the window closest to exhaustion only.
type Window struct {
	Name      string // "1m", "1h", "24h", or the span for any other
	Span      time.Duration
	Limit     int64
	Remaining int64
	Reset     time.Time
}

const (
	// maxWait bounds what a header can make us wait: the longest window is a day
	// (zuora-facts.md section 4).
	maxWait = 24 * time.Hour
	// maxWindows and maxPolicy bound what is read of RateLimit-Limit, which has
	// three windows in 60 characters.
	maxWindows = 8
	maxPolicy  = 512
)

// retryAfter reads Retry-After: seconds, or a date, which is read against the
// answer's own Date so that our clock may be wrong. It is at most a day; zero
// when there is none, or it is over, or junk.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if s, ok := amount(text); ok {
		return time.Duration(min(s, maxWait.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date := serverTime(h); !date.IsZero() {
		now = date
	}
	return min(max(at.Sub(now), 0), maxWait)
}

// amount reads a number that is not negative, whole or not: nothing else that
// ParseFloat takes.
func amount(text string) (float64, bool) {
	if text == "" || len(text) > 20 || strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

// serverTime is Zuora's clock when it answered; zero when it did not say.
func serverTime(h http.Header) time.Time {
	text := h.Get("Date")
	if text == "" {
		return time.Time{}
	}
	t, err := http.ParseTime(text)
	if err != nil {
		return time.Time{}
	}
	return credible(t)
}

// remaining reads RateLimit-Remaining; -1 when there is none.
func remaining(h http.Header) int64 {
	n, ok := amount(strings.TrimSpace(h.Get("Ratelimit-Remaining")))
	if !ok || n > 1e15 {
		return -1
	}
	return int64(n)
}

// reset reads RateLimit-Reset; zero when there is none, or it lies further ahead
// than the window is long.
func reset(h http.Header, span time.Duration) time.Duration {
	s, ok := amount(strings.TrimSpace(h.Get("Ratelimit-Reset")))
	if !ok || s > span.Seconds() {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// exhausted is how long the tenant's closest window asks us to wait: until its
// reset when nothing is left, otherwise not at all.
func exhausted(h http.Header) time.Duration {
	if remaining(h) != 0 {
		return 0
	}
	return reset(h, maxWait)
}

// policy is a RateLimit-Limit as it was understood. It is the same in nearly
// every answer, so that it is read once.
type policy struct {
	text    string
	windows []Window // without Remaining and Reset
	closest int64    // the quota of the window closest to exhaustion; -1: not said
}

// parsePolicy reads "2250000, 50000;w=60, …": first the quota of the window
// closest to exhaustion, then every window. What is not understood is left out.
func parsePolicy(text string) *policy {
	p := &policy{text: strings.Clone(text), closest: -1}
	if len(text) > maxPolicy {
		p.text = ""
		return p
	}
	for i, part := range strings.Split(text, ",") {
		quota, rest, _ := strings.Cut(part, ";")
		limit, ok := amount(strings.TrimSpace(quota))
		if !ok || limit > 1e15 {
			continue
		}
		if i == 0 {
			p.closest = int64(limit)
		}
		if span, ok := windowSpan(rest); ok && len(p.windows) < maxWindows {
			p.windows = append(p.windows, Window{Name: windowName(span), Span: span, Limit: int64(limit), Remaining: -1})
		}
	}
	return p
}

// windowSpan finds w=60 among a quota's parameters.
func windowSpan(parameters string) (time.Duration, bool) {
	for p := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.TrimSpace(key) != "w" {
			continue
		}
		s, ok := amount(strings.TrimSpace(value))
		if !ok || s <= 0 || s > maxWait.Seconds() {
			return 0, false
		}
		return time.Duration(s * float64(time.Second)), true
	}
	return 0, false
}

func windowName(span time.Duration) string {
	switch span {
	case time.Minute:
		return "1m"
	case time.Hour:
		return "1h"
	case 24 * time.Hour:
		return "24h"
	default:
		return span.String()
	}
}

// told is the policy with what the answer says of its closest window.
func (p *policy) told(h http.Header, now time.Time) []Window {
	all := slices.Clone(p.windows)
	left := remaining(h)
	if left < 0 {
		return all
	}
	// Of two windows with the same quota it is the first whose span the reset
	// fits into.
	for i := range all {
		w := &all[i]
		if w.Limit != p.closest || left > w.Limit {
			continue
		}
		if in := reset(h, w.Span); in > 0 {
			w.Remaining, w.Reset = left, now.Add(in)
			return all
		}
		if h.Get("Ratelimit-Reset") == "" {
			w.Remaining = left
			return all
		}
	}
	return all
}

// report passes the rate-limit windows of an answer on.
func (c *Client) report(h http.Header, now time.Time) {
	if c.o.Metrics == nil && c.o.OnWindows == nil {
		return
	}
	text := h.Get("Ratelimit-Limit")
	if text == "" {
		return
	}
	p := c.policy.Load()
	if p == nil || p.text != text {
		p = parsePolicy(text)
		c.policy.Store(p)
	}
	if len(p.windows) == 0 {
		return
	}
	all := p.told(h, now)
	for i := range all {
		c.o.Metrics.Window(all[i].Name, all[i].Limit, all[i].Remaining, all[i].Reset)
	}
	if c.o.OnWindows != nil {
		c.o.OnWindows(all)
	}
}
