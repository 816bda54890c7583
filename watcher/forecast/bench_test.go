package forecast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// world is a distribution of run times; the n-th run's, for those that drift.
type world struct {
	name string
	draw func(r *rand.Rand, n int) float64
	cdf  func(t float64, n int) float64
	end  func(n int) float64
}

func lognormal(median, sigma float64) func(t float64) float64 {
	return func(t float64) float64 {
		if t <= 0 {
			return 0
		}
		return below((math.Log(t) - math.Log(median)) / sigma)
	}
}

func drawLog(r *rand.Rand, median, sigma float64) float64 {
	return median * math.Exp(sigma*r.NormFloat64())
}

func worlds() []world {
	drift := func(n int) float64 { return 60 * math.Exp2(float64(n)/50) } // doubles in 50 runs
	return []world{
		{
			"log-normal 1.2", func(r *rand.Rand, _ int) float64 { return drawLog(r, 60, 1.2) },
			func(t float64, _ int) float64 { return lognormal(60, 1.2)(t) }, func(int) float64 { return 7200 },
		},
		{
			"heavy tail 2.0", func(r *rand.Rand, _ int) float64 { return min(drawLog(r, 60, 2), 4*3600) },
			func(t float64, _ int) float64 { return lognormal(60, 2)(t) }, func(int) float64 { return 4 * 3600 },
		},
		{"bimodal", func(r *rand.Rand, _ int) float64 {
			if r.Float64() < 0.8 {
				return drawLog(r, 5, 0.3)
			}
			return drawLog(r, 1200, 0.3)
		}, func(t float64, _ int) float64 { return 0.8*lognormal(5, 0.3)(t) + 0.2*lognormal(1200, 0.3)(t) }, func(int) float64 { return 4800 }},
		{
			"narrow", func(r *rand.Rand, _ int) float64 { return drawLog(r, 300, 0.1) },
			func(t float64, _ int) float64 { return lognormal(300, 0.1)(t) }, func(int) float64 { return 600 },
		},
		{
			"drifting", func(r *rand.Rand, n int) float64 { return drawLog(r, drift(n), 0.5) },
			func(t float64, n int) float64 { return lognormal(drift(n), 0.5)(t) }, func(n int) float64 { return drift(n) * 12 },
		},
	}
}

var configured = Backoff{Initial: time.Second, Max: 30 * time.Second, Multiplier: 1.5}

func (p *Plan) schedule(b Backoff) func(at, last float64) float64 {
	return func(at, last float64) float64 {
		if g, ok := p.Next(seconds(at)); ok {
			return g.Seconds()
		}
		return b.after(last)
	}
}

// regret is a schedule's expected calls against those of the best possible
// schedule with the same mean delay, both by the distribution itself.
func (m *Model) regret(gap func(at, last float64) float64) (calls, delay, ratio float64) {
	calls, delay = m.cost(gap)
	best := m.planFor(delay, gridFirst, math.Inf(1))
	if best == nil {
		return calls, delay, math.NaN()
	}
	fewest, d := m.cost(best.gap)
	// The grid has no plan of exactly that delay: what it is off by is paid in calls.
	return calls, delay, calls / (fewest - best.price*(delay-d))
}

// The targets of polling that learns: warm is what 100 past runs must reach,
// against the optimum by dynamic programming for the known distribution;
// worse, how much worse than the backoff a plan may be.
const (
	warm      = 100
	warmRatio = 1.15
	worse     = 1.05
	seeds     = 20
)

// TestPlansAreNearlyAsGoodAsKnowingTheDistribution compares calls for each job
// at the same mean delay; run it with -v for the table of watcher/DESIGN.md.
func TestPlansAreNearlyAsGoodAsKnowingTheDistribution(t *testing.T) {
	for _, w := range worlds() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			truth := tabulate(func(s float64) float64 { return w.cdf(s, warm) }, w.end(warm), 1.5, warm)
			show := func(name string, gap func(at, last float64) float64) float64 {
				calls, delay, ratio := truth.regret(gap)
				t.Logf("%-20s %6.3f of the optimum (%5.2f calls, %5.2f s late)", name, ratio, calls, delay)
				return ratio
			}
			show("fixed 10 s", func(_, _ float64) float64 { return 10 })
			show("proportional 10 %", func(at, _ float64) float64 { return max(at/10, 1) })
			backoff := show("backoff, ours cold", func(_, last float64) float64 { return configured.after(last) })
			for _, past := range []int{planFrom, 50, warm} {
				sum, worst := 0.0, 0.0
				for seed := range uint64(seeds) {
					ratio := backoff
					if h := learn(w.past(seed, past)); h.plan != nil {
						_, _, ratio = truth.regret(h.plan.schedule(configured))
					}
					sum, worst = sum+ratio, max(worst, ratio)
				}
				mean := sum / seeds
				t.Logf("%-20s %6.3f of the optimum, %.3f at worst", fmt.Sprintf("ours after %d runs", past), mean, worst)
				if mean > worse*backoff {
					t.Errorf("after %d runs a plan makes %.3f of the optimum's calls, the backoff %.3f", past, mean, backoff)
				}
				if past == warm && (mean > warmRatio || worst > worse*backoff) {
					t.Errorf("after %d runs: %.3f of the optimum, want at most %.2f; at worst %.3f, want at most the backoff's %.3f and 5 %%",
						past, mean, warmRatio, worst, backoff)
				}
			}
		})
	}
}

// past are the n runs before the one in question.
func (w world) past(seed uint64, n int) []time.Duration {
	r := rand.New(rand.NewPCG(seed, 7))
	runs := make([]time.Duration, n)
	for i := range runs {
		runs[i] = seconds(w.draw(r, warm-n+i))
	}
	return runs
}

func BenchmarkLearn(b *testing.B) {
	for _, w := range worlds() {
		b.Run(w.name, func(b *testing.B) {
			runs := w.past(1, warm)
			for b.Loop() {
				if learn(runs).plan == nil {
					b.Fatal("no plan")
				}
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	p := learn(worlds()[0].past(1, warm))
	for b.Loop() {
		if _, ok := p.Next(42 * time.Second); !ok {
			b.Fatal("no next look")
		}
	}
}
