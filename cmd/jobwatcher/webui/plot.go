package webui

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// The plot's size in its own units; it is scaled to the width of the page.
const (
	plotWidth, plotHeight = 720, 220
	plotLeft, plotBottom  = 64, 26
	plotTop, plotRight    = 12, 12
)

// unit writes a value of an axis.
type unit func(v float64) string

func seconds(v float64) string { return secondsText(&v) }

func rows(v float64) string { return number(int64(math.Round(v))) }

// point is one finished job.
type point struct {
	At   time.Time
	ID   string
	Bad  bool
	v    float64
	X, Y float64
	Text string
}

// tick is a line across the plot and what it stands for.
type tick struct {
	At   float64
	Text string
}

// plot is one value over time, on a logarithmic scale: what jobs take and give
// differs by factors.
type plot struct {
	Name   string
	Unit   unit
	Points []point
	Across []tick // values
	Down   []tick // times
	// Median and Most say in words what the picture shows.
	Median, Most string
}

func (p *plot) add(at point, v *float64) {
	if v == nil || at.At.Unix() <= 0 || math.IsNaN(*v) || math.IsInf(*v, 0) {
		return
	}
	at.v = max(*v, 0)
	at.Text = p.Unit(at.v)
	p.Points = append(p.Points, at)
}

// draw places the points and the ticks.
func (p *plot) draw() {
	if len(p.Points) == 0 {
		return
	}
	values := make([]float64, len(p.Points))
	first, last := p.Points[0].At, p.Points[0].At
	for i, one := range p.Points {
		values[i] = one.v
		if one.At.Before(first) {
			first = one.At
		}
		if one.At.After(last) {
			last = one.At
		}
	}
	slices.Sort(values)
	p.Median, p.Most = p.Unit(values[len(values)/2]), p.Unit(values[len(values)-1])
	low, high := decades(values)
	y := func(v float64) float64 {
		share := (math.Log10(max(v, low)) - math.Log10(low)) / (math.Log10(high) - math.Log10(low))
		return round(plotHeight - plotBottom - share*(plotHeight-plotBottom-plotTop))
	}
	x := func(t time.Time) float64 {
		share := 0.5
		if whole := last.Sub(first); whole > 0 {
			share = t.Sub(first).Seconds() / whole.Seconds()
		}
		return round(plotLeft + share*(plotWidth-plotLeft-plotRight))
	}
	for i := range p.Points {
		p.Points[i].X, p.Points[i].Y = x(p.Points[i].At), y(p.Points[i].v)
	}
	slices.SortStableFunc(p.Points, func(a, b point) int { return cmp.Compare(a.X, b.X) })
	for v := low; v <= high*1.001; v *= 10 {
		p.Across = append(p.Across, tick{y(v), p.Unit(v)})
	}
	layout := "15:04"
	if last.Sub(first) > 24*time.Hour {
		layout = "Jan 2"
	}
	p.Down = []tick{{x(first), first.UTC().Format(layout)}}
	if x(last) > x(first) {
		p.Down = append(p.Down, tick{x(last), last.UTC().Format(layout)})
	}
}

// decades are the powers of ten around sorted values; what is next to nothing
// lies on the lower one.
func decades(values []float64) (low, high float64) {
	most := max(values[len(values)-1], 1)
	least := most
	for _, v := range values {
		if v > 0 {
			least = v
			break
		}
	}
	low = math.Pow(10, math.Floor(math.Log10(max(least, most/1e6, 0.01))))
	high = math.Pow(10, math.Ceil(math.Log10(most)))
	if high <= low {
		high = low * 10
	}
	return low, high
}

func round(f float64) float64 { return math.Round(f*10) / 10 }

// ViewBox is the plot's own size.
func (p *plot) ViewBox() string { return fmt.Sprintf("0 0 %d %d", plotWidth, plotHeight) }

// Left, Right and Bottom are the edges of what is drawn.
func (p *plot) Left() string { return strconv.Itoa(plotLeft) }

// Right is the right edge.
func (p *plot) Right() string { return strconv.Itoa(plotWidth - plotRight) }

// Bottom is where times are written.
func (p *plot) Bottom() string { return strconv.Itoa(plotHeight - 6) }
