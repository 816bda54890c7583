package watcher

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// BudgetPolicy is how much of the tenant's rate limits may be ours (ZUORA_BUDGET).
type BudgetPolicy struct {
	// Share is the part of each window that the tenant has, above 0 and at most
	// 1; 0 with Limits.
	Share float64
	// Limits are fixed, by window; the tenant's own are heeded all the same.
	Limits map[time.Duration]int64
}

const (
	// burst is the part of a window's share that may be spent at once; the rest
	// comes evenly. Together they never exceed the share in any span of time that
	// is as long as the window.
	burst = 0.25
	// reserved is the part of a tenant's window that is left to others whatever
	// our share: we stop when no more remains.
	reserved = 0.05
	// short is the part of a tenant's window below which what remains is spread
	// evenly over the time until it begins anew.
	short = 0.25
	// maxBudgetWindows bounds what an upstream that invents windows makes us keep.
	maxBudgetWindows = 8
)

// budget is a token bucket for each window, and what the tenant said remains.
// It has no clock: every method takes the time.
type budget struct {
	policy BudgetPolicy

	mu       sync.Mutex
	replicas int
	windows  []*budgetWindow // by span
	last     time.Time       // when the last request was let through
	sum      int64           // requests let through
}

type budgetWindow struct {
	span  time.Duration
	limit int64 // the tenant's; 0: not told
	level float64
	at    time.Time // of level
	// spent counts our requests since the window's beginning, by our clock.
	spent int64
	since time.Time
	// What an answer told: how much remained, when it begins anew, and how many
	// requests have gone out since.
	told      bool
	remaining int64
	reset     time.Time
	sent      int64
}

func newBudget(p BudgetPolicy, now time.Time) *budget {
	b := &budget{policy: p, replicas: 1}
	for span := range p.Limits {
		b.add(span, 0, now)
	}
	return b
}

// restore takes over what was known before a restart.
func (b *budget) restore(saved []job.BudgetState, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range saved {
		w := b.find(s.Span)
		if w == nil {
			w = b.add(s.Span, 0, now)
		}
		if at := s.At.Time(); w != nil && !at.After(now) {
			w.level, w.at = s.Level, at
			w.spent, w.since = s.Spent, s.Since.Time()
		}
	}
}

func (b *budget) find(span time.Duration) *budgetWindow {
	for _, w := range b.windows {
		if w.span == span {
			return w
		}
	}
	return nil
}

// add makes a window; its bucket is full, as far as the limit is known.
func (b *budget) add(span time.Duration, limit int64, now time.Time) *budgetWindow {
	if len(b.windows) >= maxBudgetWindows || span <= 0 {
		return nil
	}
	w := &budgetWindow{span: span, limit: limit, at: now, since: now.Truncate(span), level: math.Inf(1)}
	b.windows = append(b.windows, w)
	slices.SortFunc(b.windows, func(a, c *budgetWindow) int { return int(a.span - c.span) })
	return w
}

// ours is how many requests this replica may make in the window; infinite as
// long as nobody has said what the window's limit is.
func (b *budget) ours(w *budgetWindow) float64 {
	n := float64(max(b.replicas, 1))
	if fixed, ok := b.policy.Limits[w.span]; ok {
		return max(float64(fixed)/n, 1)
	}
	if w.limit == 0 || b.policy.Share == 0 {
		return math.Inf(1)
	}
	return max(float64(w.limit)*b.policy.Share/n, 1)
}

// bucket is how much may be spent at once, and how fast it fills, a second.
func bucket(ours float64, span time.Duration) (size, rate float64) {
	size = max(ours*burst, 1)
	// A share of one or two requests must not starve for the one that may go at once.
	return size, max(ours-size, ours/2) / span.Seconds()
}

// fill brings a bucket up to date.
func (b *budget) fill(w *budgetWindow, now time.Time) {
	size, rate := bucket(b.ours(w), w.span)
	if !math.IsInf(rate, 1) { // else nobody has said yet how large it is
		if passed := now.Sub(w.at); passed > 0 {
			w.level += passed.Seconds() * rate
		}
		w.level, w.at = min(w.level, size), now
	}
	if start := now.Truncate(w.span); start.After(w.since) {
		w.spent, w.since = 0, start
	}
	if w.told && !now.Before(w.reset) {
		w.told = false // what remained of a window that is over says nothing
	}
}

// opens is when the next request may go out: now, or later. It changes nothing
// but what time changes.
func (b *budget) opens(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next(now)
}

func (b *budget) next(now time.Time) time.Time {
	at := now
	for _, w := range b.windows {
		b.fill(w, now)
		if next := b.nextOf(w, now); next.After(at) {
			at = next
		}
	}
	return at
}

// nextOf is when one window lets the next request through.
func (b *budget) nextOf(w *budgetWindow, now time.Time) time.Time {
	at := now
	if w.level < 1 {
		_, rate := bucket(b.ours(w), w.span)
		at = now.Add(time.Duration(math.Ceil((1 - w.level) / rate * float64(time.Second))))
	}
	if !w.told || w.limit == 0 {
		return at
	}
	left := float64(w.remaining-w.sent) - reserved*float64(w.limit)
	switch {
	case left < 1:
		// The tenant's window is used up, by whomever: others need what is left.
		at = later(at, w.reset)
	case float64(w.remaining-w.sent) < short*float64(w.limit):
		// Others spend a lot: what may be ours of the rest comes evenly.
		mine := max(left*max(b.policy.Share, 0.1)/float64(max(b.replicas, 1)), 1)
		at = later(at, b.last.Add(time.Duration(float64(w.reset.Sub(b.last))/(mine+1))))
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// admit lets one request through, or says when to ask again.
func (b *budget) admit(now time.Time) (next time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if next = b.next(now); next.After(now) {
		return next, false
	}
	for _, w := range b.windows {
		w.level--
		w.spent++
		w.sent++
	}
	b.last, b.sum = now, b.sum+1
	return now, true
}

// learn takes what an answer told of the tenant's windows.
func (b *budget) learn(told []job.BudgetWindow, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range told {
		if t.Limit <= 0 {
			continue
		}
		w := b.find(t.Span)
		if w == nil {
			if w = b.add(t.Span, t.Limit, now); w == nil {
				continue
			}
		}
		w.limit = t.Limit
		if t.Remaining >= 0 && t.Reset.After(now) {
			// Answers come in any order: of one window's, the least is the newest.
			if !w.told || t.Remaining < w.remaining || t.Reset.Sub(w.reset) > w.span/2 {
				w.sent = 0
			}
			w.told, w.remaining, w.reset = true, t.Remaining, t.Reset
		}
		b.fill(w, now)
	}
}

// share tells how many replicas are alive: each has its part.
func (b *budget) share(replicas int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replicas = max(replicas, 1)
}

// total is how many requests have been let through.
func (b *budget) total() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sum
}

// states is what outlives a restart.
func (b *budget) states(now time.Time) []job.BudgetState {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []job.BudgetState
	for _, w := range b.windows {
		b.fill(w, now)
		if math.IsInf(w.level, 0) {
			continue
		}
		all = append(all, job.BudgetState{Span: w.span, Level: w.level, Spent: w.spent, Since: job.At(w.since), At: job.At(now)})
	}
	return all
}

// view is the budget for people.
func (b *budget) view(tenant string, late time.Duration, now time.Time) job.BudgetView {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := job.BudgetView{Tenant: tenant, LateSeconds: late.Seconds(), Windows: []job.BudgetWindowView{}}
	if b.policy.Share > 0 {
		v.Share = &b.policy.Share
	}
	for _, w := range b.windows {
		b.fill(w, now)
		ours := b.ours(w)
		if math.IsInf(ours, 1) {
			continue
		}
		one := job.BudgetWindowView{
			Window: shortSpan(w.span), Limit: w.limit, Ours: int64(ours), Spent: w.spent,
			Used: w.spent, ResetsAt: job.At(w.since.Add(w.span)), NextAt: job.At(b.nextOf(w, now)),
		}
		if one.Limit == 0 {
			one.Limit = int64(ours)
		}
		if w.told {
			one.Used, one.ResetsAt = max(w.limit-w.remaining+w.sent, 0), job.At(w.reset)
		}
		one.Left = max(one.Limit-one.Used, 0)
		if passed := now.Sub(w.since); passed > w.span/100 && w.spent > 0 {
			if lasts := float64(passed) * ours / float64(w.spent); lasts < float64(w.span) {
				one.SpentAt = job.At(w.since.Add(time.Duration(lasts)))
			}
		}
		v.Windows = append(v.Windows, one)
	}
	return v
}

// shortSpan is a window's name in metrics and API.
func shortSpan(d time.Duration) string {
	names := map[time.Duration]string{time.Minute: "1m", time.Hour: "1h", 24 * time.Hour: "24h"}
	if name, ok := names[d]; ok {
		return name
	}
	return d.String()
}
