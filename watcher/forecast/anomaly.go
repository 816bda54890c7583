package forecast

import (
	"math"
	"slices"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// The words of [Anomaly].
const (
	NoRows   = "no_rows"
	FewRows  = "few_rows"
	ManyRows = "many_rows"
	Fast     = "fast"
	Slow     = "slow"
)

const (
	// A value is far outside when it is farther from the median than so many
	// times the usual distance (the median absolute deviation, made comparable to
	// a standard deviation), and by this factor at least: a query that always
	// gives the same number of rows may give some more.
	farOff     = 4
	deviations = 1.4826
	leastRatio = 3
	// usual is the share of past runs that makes an empty result nothing special.
	usual = 0.1
)

// Anomaly says what is unusual about a completed run, given past runs of the
// same query: nothing in most cases. A result of no rows is unusual unless past
// runs had none either; everything else needs [Enough] of them.
func Anomaly(run job.Run, past []job.Run) []string {
	var found []string
	var rows, took []float64
	empty := 0
	for _, p := range past {
		if !p.Completed {
			continue
		}
		if p.Rows != nil && *p.Rows == 0 {
			empty++
		} else if p.Rows != nil {
			rows = append(rows, float64(*p.Rows))
		}
		if p.Processing != nil && *p.Processing > 0 {
			took = append(took, p.Processing.Seconds())
		}
	}
	switch known := len(rows) + empty; {
	case run.Rows == nil:
	case *run.Rows == 0:
		if float64(empty) <= usual*float64(known) {
			found = append(found, NoRows)
		}
	default:
		found = append(found, outside(float64(*run.Rows), rows, FewRows, ManyRows)...)
	}
	if run.Processing != nil && *run.Processing > 0 {
		found = append(found, outside(run.Processing.Seconds(), took, Fast, Slow)...)
	}
	return found
}

// outside compares a positive value with past ones, by ratios.
func outside(value float64, past []float64, below, above string) []string {
	if len(past) < Enough {
		return nil
	}
	logs := make([]float64, len(past))
	for i, p := range past {
		logs[i] = math.Log(p)
	}
	middle := median(logs)
	for i := range logs {
		logs[i] = math.Abs(logs[i] - middle)
	}
	limit := max(farOff*deviations*median(logs), math.Log(leastRatio))
	switch off := math.Log(value) - middle; {
	case off > limit:
		return []string{above}
	case off < -limit:
		return []string{below}
	}
	return nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}
