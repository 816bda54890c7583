package zuora

import (
	"math"
	"net/http"
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

// maxWait bounds what a header can make us wait: the longest window is a day.
const maxWait = 24 * time.Hour

// retryAfter reads Retry-After in seconds or as a date (against the answer's own
// Date, so that our clock may be wrong). Zero when there is none or it is junk.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if s, ok := seconds(text); ok {
		return s
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

// seconds reads a number of seconds, whole or not, that is not negative.
func seconds(text string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < 0 {
		return 0, false
	}
	if f > maxWait.Seconds() {
		return maxWait, true
	}
	return time.Duration(f * float64(time.Second)), true
}

// serverTime is Zuora's clock when it answered; zero when it did not say.
func serverTime(h http.Header) time.Time {
	t, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// windows reads RateLimit-Limit ("2250000, 50000;w=60, …": first the quota of
// the window closest to exhaustion, then every window) with RateLimit-Remaining
// and RateLimit-Reset, which speak of the first.
func windows(h http.Header, now time.Time) []Window {
	text := h.Get("RateLimit-Limit")
	if text == "" || len(text) > 1024 {
		return nil
	}
	var all []Window
	closest := int64(-1)
	for i, part := range strings.Split(text, ",") {
		quota, rest, hasSpan := strings.Cut(strings.TrimSpace(part), ";")
		limit, err := strconv.ParseInt(strings.TrimSpace(quota), 10, 64)
		if err != nil || limit < 0 {
			continue
		}
		if !hasSpan {
			if i == 0 {
				closest = limit
			}
			continue
		}
		key, value, _ := strings.Cut(strings.TrimSpace(rest), "=")
		span, ok := seconds(strings.TrimSpace(value))
		if strings.TrimSpace(key) != "w" || !ok || span <= 0 {
			continue
		}
		all = append(all, Window{Name: windowName(span), Span: span, Limit: limit, Remaining: -1})
	}
	remaining, err := strconv.ParseInt(strings.TrimSpace(h.Get("RateLimit-Remaining")), 10, 64)
	if err != nil || remaining < 0 {
		return all
	}
	for i := range all {
		if all[i].Limit == closest {
			all[i].Remaining = remaining
			if reset, ok := seconds(strings.TrimSpace(h.Get("RateLimit-Reset"))); ok {
				all[i].Reset = now.Add(reset)
			}
			break
		}
	}
	return all
}

func windowName(span time.Duration) string {
	switch span {
	case time.Minute:
		return "1m"
	case time.Hour:
		return "1h"
	case 24 * time.Hour:
		return "24h"
	}
	return span.String()
}

// exhausted is how long the tenant's closest window asks us to wait: until its
// reset when nothing is left, otherwise not at all.
func exhausted(h http.Header) time.Duration {
	if strings.TrimSpace(h.Get("RateLimit-Remaining")) != "0" {
		return 0
	}
	reset, _ := seconds(strings.TrimSpace(h.Get("RateLimit-Reset")))
	return reset
}
