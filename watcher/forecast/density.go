package forecast

import (
	"math"
	"time"
)

const (
	// Enough is the fewest past runs that say anything; below it every query is
	// treated as new.
	Enough = 8
	// Most is how many past runs are used. performance.md: with 100 the schedule
	// is within some per cent of the best possible.
	Most = 128

	// The broad guess that is always mixed in, as heavily as one run among all:
	// no history is so sure that the next run could not be unlike it. Its spread
	// covers a second to hours.
	priorMedian = 60.0 // seconds
	priorSigma  = 2.5
)

// The kernels' widths (in natural logarithms) and the memory (in runs, until a
// past run counts half) that are tried; the history itself decides.
var (
	widths   = [...]float64{0.02, 0.05, 0.1, 0.2, 0.35, 0.6}
	memories = [...]float64{math.Inf(1), 40, 12}
)

// kernels is a mixture of log-normals, one for each past run.
type kernels struct {
	logs   []float64 // of seconds
	weight []float64 // sum to 1 - prior
	width  float64
	prior  float64
}

// density chooses, among a few widths and memories, those that would have
// foretold each of the later runs best from the runs before it.
func density(runs []time.Duration) kernels {
	k := kernels{logs: make([]float64, len(runs)), prior: 1 / float64(len(runs)+2)}
	for i, r := range runs {
		k.logs[i] = math.Log(max(r.Seconds(), 1e-3))
	}
	best, memory := math.Inf(-1), memories[0]
	for _, w := range widths {
		scores := foretold(k.logs, w)
		for i, m := range memories {
			if scores[i] > best {
				best, k.width, memory = scores[i], w, m
			}
		}
	}
	k.weight = weights(len(runs), memory, 1-k.prior)
	return k
}

// weights are those of n runs, the newest last.
func weights(n int, memory, sum float64) []float64 {
	w := make([]float64, n)
	total := 0.0
	for i := range w {
		w[i] = math.Exp2(-float64(n-1-i) / memory)
		total += w[i]
	}
	for i := range w {
		w[i] *= sum / total
	}
	return w
}

// foretold is the log-likelihood of each run given those before it, from the
// second third of the history on, for each memory.
func foretold(logs []float64, width float64) (scores [len(memories)]float64) {
	var fade [len(memories)]float64
	for m := range memories {
		fade[m] = math.Exp2(-1 / memories[m])
	}
	for i := len(logs) / 3; i < len(logs); i++ {
		prior := 1 / float64(i+2)
		broad := prior * normal(logs[i], math.Log(priorMedian), priorSigma)
		var sum, total, weight [len(memories)]float64
		for m := range weight {
			weight[m] = 1
		}
		for j := i - 1; j >= 0; j-- {
			p := normal(logs[i], logs[j], width)
			for m := range memories {
				sum[m] += weight[m] * p
				total[m] += weight[m]
				weight[m] *= fade[m]
			}
		}
		for m := range memories {
			p := broad
			if total[m] > 0 {
				p += (1 - prior) * sum[m] / total[m]
			}
			scores[m] += math.Log(p)
		}
	}
	return scores
}

func normal(x, mean, sigma float64) float64 {
	z := (x - mean) / sigma
	return math.Exp(-z*z/2) / (sigma * math.Sqrt(2*math.Pi))
}

// cdf is the chance that a run has ended after so many seconds.
func (k *kernels) cdf(seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	x := math.Log(seconds)
	p := k.prior * below((x-math.Log(priorMedian))/priorSigma)
	for i, m := range k.logs {
		switch z := (x - m) / k.width; {
		case z > 6:
			p += k.weight[i]
		case z > -6:
			p += k.weight[i] * below(z)
		}
	}
	return p
}

// below is the standard normal distribution.
func below(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// end is the time after which history has nothing more to say.
func (k *kernels) end() float64 {
	last := math.Inf(-1)
	for _, x := range k.logs {
		last = max(last, x)
	}
	return math.Exp(last + 2*k.width)
}
