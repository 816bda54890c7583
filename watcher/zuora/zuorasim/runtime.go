package zuorasim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// The shapes of a RunTime.
const (
	ShapeFixed     = "fixed"
	ShapeLogNormal = "lognormal"
	ShapeBimodal   = "bimodal"
	ShapeHeavy     = "heavy"
)

// bimodalSigma is the log-normal spread of each of the two modes.
const bimodalSigma = 0.3

// maxRunTime bounds what a distribution may be given; drawn run times are
// bounded by Zuora's own four hours besides.
const maxRunTime = 7 * 24 * time.Hour

// RunTime is a distribution of run times. Make one with Fixed, LogNormal,
// Bimodal, HeavyTail or ParseRunTime.
type RunTime struct {
	// Shape is one of the Shape constants.
	Shape string
	// Median of all, and for two modes of the short one.
	Median time.Duration
	// Long is the median of the long mode.
	Long time.Duration
	// Param is sigma, the share of the long mode, or the tail index.
	Param float64
}

// Fixed gives every job the same run time.
func Fixed(d time.Duration) RunTime { return RunTime{Shape: ShapeFixed, Median: d} }

// LogNormal is the usual shape of query times: sigma is that of the logarithm.
func LogNormal(median time.Duration, sigma float64) RunTime {
	return RunTime{Shape: ShapeLogNormal, Median: median, Param: sigma}
}

// Bimodal mixes short and long jobs, each spread a little; share are the long.
func Bimodal(short, long time.Duration, share float64) RunTime {
	return RunTime{Shape: ShapeBimodal, Median: short, Long: long, Param: share}
}

// HeavyTail is a Pareto distribution: with an index of 1 or less it has no mean.
func HeavyTail(median time.Duration, index float64) RunTime {
	return RunTime{Shape: ShapeHeavy, Median: median, Param: index}
}

// ParseRunTime reads fixed:20s, lognormal:20s:1.2, bimodal:5s:20m:0.3 (the share
// may be left out and is then a half) or heavy:10s:1.1.
func ParseRunTime(s string) (RunTime, error) {
	part := strings.Split(s, ":")
	bad := func() (RunTime, error) {
		return RunTime{}, fmt.Errorf(
			"run time %q is not fixed:20s, lognormal:20s:1.2, bimodal:5s:20m:0.3 or heavy:10s:1.1 (each 1ns to %s)", s, maxRunTime)
	}
	if part[0] == ShapeBimodal && len(part) == 3 {
		part = append(part, "0.5")
	}
	count := map[string]int{ShapeFixed: 2, ShapeLogNormal: 3, ShapeBimodal: 4, ShapeHeavy: 3}[part[0]]
	if count == 0 || len(part) != count {
		return bad()
	}
	r := RunTime{Shape: part[0]}
	var err error
	if r.Median, err = time.ParseDuration(part[1]); err != nil {
		return bad()
	}
	if r.Shape == ShapeBimodal {
		if r.Long, err = time.ParseDuration(part[2]); err != nil {
			return bad()
		}
	}
	if r.Shape != ShapeFixed {
		if r.Param, err = strconv.ParseFloat(part[count-1], 64); err != nil {
			return bad()
		}
	}
	if r.check() != nil {
		return bad()
	}
	return r, nil
}

func (r RunTime) check() error {
	within := func(d time.Duration) bool { return d > 0 && d <= maxRunTime }
	ok := within(r.Median)
	switch r.Shape {
	case ShapeFixed:
	case ShapeLogNormal:
		ok = ok && r.Param >= 0 && r.Param <= 10
	case ShapeBimodal:
		ok = ok && within(r.Long) && r.Param >= 0 && r.Param <= 1
	case ShapeHeavy:
		ok = ok && r.Param >= 0.1 && r.Param <= 100 // below, powers overflow
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("run time %s is out of range", r)
	}
	return nil
}

// String is what ParseRunTime reads.
func (r RunTime) String() string {
	param := strconv.FormatFloat(r.Param, 'g', -1, 64)
	switch r.Shape {
	case ShapeFixed:
		return r.Shape + ":" + r.Median.String()
	case ShapeBimodal:
		return r.Shape + ":" + r.Median.String() + ":" + r.Long.String() + ":" + param
	}
	return r.Shape + ":" + r.Median.String() + ":" + param
}

// Draw takes one run time, at least a nanosecond and at most maxRunTime.
func (r RunTime) Draw(dice *rand.Rand) time.Duration {
	var x float64
	switch r.Shape {
	case ShapeLogNormal:
		x = logNormal(dice, float64(r.Median), r.Param)
	case ShapeBimodal:
		median := r.Median
		if dice.Float64() < r.Param {
			median = r.Long
		}
		x = logNormal(dice, float64(median), bimodalSigma)
	case ShapeHeavy:
		// The median of a Pareto distribution is scale·2^(1/index).
		scale := float64(r.Median) / math.Exp2(1/r.Param)
		x = scale * math.Pow(1-dice.Float64(), -1/r.Param)
	default:
		x = float64(r.Median)
	}
	return time.Duration(min(max(x, 1), float64(maxRunTime)))
}

func logNormal(dice *rand.Rand, median, sigma float64) float64 {
	return median * math.Exp(sigma*dice.NormFloat64())
}

// Rows is the distribution of outputRows: log-normal, with a share of empty
// results, cut at Zuora's limits (500,000 for LIVE, 50,000,000 for WAREHOUSE).
type Rows struct {
	Median int64
	Sigma  float64
	Zero   float64 // share of results without a row
}

func (r Rows) check() error {
	if r.Median < 0 || !(r.Sigma >= 0) || !(r.Zero >= 0 && r.Zero <= 1) {
		return fmt.Errorf("rows %+v: median and sigma must not be negative, zero is a share from 0 to 1", r)
	}
	return nil
}

// Draw takes one row count.
func (r Rows) Draw(dice *rand.Rand, limit int64) int64 {
	empty, x := dice.Float64() < r.Zero, logNormal(dice, float64(r.Median), r.Sigma)
	if empty {
		return 0
	}
	return int64(min(x, float64(limit)))
}
