package zuorasim

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window allows Limit requests in each span of Per. Windows begin at whole
// multiples of Per (the full minute, hour and UTC day); where Zuora's begin is
// not documented.
type Window struct {
	Limit int64         `json:"limit"`
	Per   time.Duration `json:"-"`
}

// Plan is a tenant's set of windows, shortest first.
type Plan struct {
	Name    string
	Windows []Window
}

const day = 24 * time.Hour

// Production is also the plan of a Central Sandbox (facts section 4).
func Production() Plan {
	return Plan{"production", []Window{{50_000, time.Minute}, {2_250_000, time.Hour}, {27_000_000, day}}}
}

// DeveloperSandbox allows 50,000 requests a day.
func DeveloperSandbox() Plan {
	return Plan{"developer-sandbox", []Window{{12_500, time.Minute}, {25_000, time.Hour}, {50_000, day}}}
}

// APISandbox allows 10,000 requests a day: less than one job polled every 5 s.
func APISandbox() Plan {
	return Plan{"api-sandbox", []Window{{2500, time.Minute}, {5000, time.Hour}, {10_000, day}}}
}

// Unlimited has no windows; its answers carry no ratelimit headers.
func Unlimited() Plan { return Plan{Name: "unlimited"} }

// ParsePlan reads production, central-sandbox, developer-sandbox, api-sandbox,
// unlimited, or windows as in 300/1m,5000/1h,50000/24h.
func ParsePlan(s string) (Plan, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "production":
		return Production(), nil
	case "central-sandbox":
		p := Production()
		p.Name = "central-sandbox"
		return p, nil
	case "developer-sandbox":
		return DeveloperSandbox(), nil
	case "api-sandbox":
		return APISandbox(), nil
	case "unlimited":
		return Unlimited(), nil
	}
	p := Plan{Name: s}
	for item := range strings.SplitSeq(s, ",") {
		limit, per, _ := strings.Cut(strings.TrimSpace(item), "/")
		n, err := strconv.ParseInt(limit, 10, 64)
		d, perErr := time.ParseDuration(per)
		if err != nil || perErr != nil {
			return Plan{}, fmt.Errorf("plan %q is not production, central-sandbox, developer-sandbox, api-sandbox, "+
				"unlimited or windows such as 300/1m,5000/1h,50000/24h", s)
		}
		p.Windows = append(p.Windows, Window{n, d})
	}
	slices.SortStableFunc(p.Windows, func(a, b Window) int { return int(a.Per/time.Second) - int(b.Per/time.Second) })
	return p, p.check()
}

func (p Plan) check() error {
	for _, w := range p.Windows {
		if w.Limit <= 0 || w.Per < time.Second || w.Per > 366*day {
			return fmt.Errorf("plan %s: window %d/%s is out of range (1 or more in 1s to 366 days)", p.Name, w.Limit, w.Per)
		}
	}
	return nil
}

// meter counts requests in every window of one plan.
type meter struct {
	windows []gauge
	// rate is what others spend in a minute, accounted for up to since.
	rate  float64
	since time.Time
}

type gauge struct {
	Window
	begin  time.Time
	used   int64
	others float64
}

func newMeter(now time.Time, windows []Window) *meter {
	m := &meter{since: now}
	for _, w := range windows {
		m.windows = append(m.windows, gauge{Window: w, begin: now.Truncate(w.Per)})
	}
	return m
}

// roll begins new windows and lets the others spend what is due until now.
func (m *meter) roll(now time.Time) {
	for i := range m.windows {
		g := &m.windows[i]
		if begin := now.Truncate(g.Per); !begin.Equal(g.begin) {
			g.begin, g.used, g.others = begin, 0, 0
		}
		from := m.since
		if from.Before(g.begin) {
			from = g.begin
		}
		if span := now.Sub(from); span > 0 {
			g.others += m.rate * span.Minutes()
		}
	}
	m.since = now
}

// take counts one request and reports whether every window had room for it.
// Refused requests count too: "unsuccessful requests count".
func (m *meter) take(now time.Time) bool {
	m.roll(now)
	ok := true
	for i := range m.windows {
		ok = ok && m.windows[i].left() > 0
		m.windows[i].used++
	}
	return ok
}

// spend is take for others, n at a time.
func (m *meter) spend(now time.Time, n int64) {
	m.roll(now)
	for i := range m.windows {
		m.windows[i].others += float64(n)
	}
}

func (g *gauge) left() int64 { return max(0, g.Limit-g.used-int64(g.others)) }

// resetIn is how many whole seconds the window still runs, at least one.
func (g *gauge) resetIn(now time.Time) int64 {
	return max(1, int64(math.Ceil(g.begin.Add(g.Per).Sub(now).Seconds())))
}

// tightest is the window closest to exhaustion: the smallest share left, and of
// equals the one that takes longer to reset.
func (m *meter) tightest() *gauge {
	var best *gauge
	for i := range m.windows {
		g := &m.windows[i]
		if best == nil || g.left()*best.Limit <= best.left()*g.Limit {
			best = g
		}
	}
	return best
}

// headers writes the three of the rate-limit guide: the limit of the window
// closest to exhaustion, then the whole policy.
func (m *meter) headers(h http.Header, now time.Time) {
	g := m.tightest()
	if g == nil {
		return
	}
	var policy strings.Builder
	policy.WriteString(strconv.FormatInt(g.Limit, 10))
	for i := range m.windows {
		w := m.windows[i].Window
		fmt.Fprintf(&policy, ", %d;w=%d", w.Limit, int64(w.Per/time.Second))
	}
	h.Set("Ratelimit-Limit", policy.String())
	h.Set("Ratelimit-Remaining", strconv.FormatInt(g.left(), 10))
	h.Set("Ratelimit-Reset", strconv.FormatInt(g.resetIn(now), 10))
}

// WindowState is how far one window is spent.
type WindowState struct {
	Window
	Name    string `json:"window"`
	Used    int64  `json:"used"`
	Others  int64  `json:"others"`
	Left    int64  `json:"left"`
	ResetIn int64  `json:"reset_in_seconds"`
}

func (m *meter) states(now time.Time) []WindowState {
	m.roll(now)
	all := make([]WindowState, 0, len(m.windows))
	for i := range m.windows {
		g := &m.windows[i]
		all = append(all, WindowState{
			Window: g.Window, Name: g.Per.String(), Used: g.used, Others: int64(g.others),
			Left: g.left(), ResetIn: g.resetIn(now),
		})
	}
	return all
}
