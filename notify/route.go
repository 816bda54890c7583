package notify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// announced are the events that a destination is told about when it does not
// say which: every way a job can end, overdue, and
// expected to be (when that is asked for).
var announced = []string{"completed", "failed", "cancelled", "lost", "abandoned", "overdue", "overdue_expected"}

// onWords lists every word that `on` may hold.
func onWords() []string {
	words := make([]string, 0, len(job.EventTypes()))
	for _, t := range job.EventTypes() {
		if t != job.EventTest {
			words = append(words, t.Short())
		}
	}
	return words
}

// wants reports whether the destination is told about events of the type at all.
func (d *Destination) wants(t job.EventType) bool {
	if len(d.On) == 0 {
		return slices.Contains(announced, t.Short())
	}
	return slices.Contains(d.On, t.Short())
}

// serves says whether the destination is told about the job, and why. A job
// that names its destinations is not matched: whoever named them knew.
func (d *Destination) serves(j *job.Job) (bool, string) {
	if len(j.Destinations) > 0 {
		if slices.Contains(j.Destinations, d.Name) {
			return true, "the job names it"
		}
		return false, "the job names other destinations: " + strings.Join(j.Destinations, ", ")
	}
	return d.matches(j)
}

// matches says whether the job is what the destination asks for, and why.
func (d *Destination) matches(j *job.Job) (bool, string) {
	for i := range d.Match {
		if m := &d.Match[i]; !m.matches(j.Labels) {
			return false, m.why(j.Labels)
		}
	}
	if len(d.Match) == 0 {
		return true, "it takes every job"
	}
	return true, "the job's labels match"
}

// why says why the labels do not match.
func (m *Matcher) why(labels job.Labels) string {
	value, found := labels[m.Label]
	switch {
	case m.Absent:
		return fmt.Sprintf("the job has the label %s", m.Label)
	case !found:
		return fmt.Sprintf("the job has no label %s", m.Label)
	}
	return fmt.Sprintf("the label %s is %q, wanted is %s", m.Label, value, strings.Join(m.In, " or "))
}

// route names the destinations that the event owes.
func route(all []Destination, e *job.Event) []string {
	var names []string
	for i := range all {
		d := &all[i]
		if !d.wants(e.Type) {
			continue
		}
		if e.Job != nil {
			serves := d.serves
			if e.Type == job.EventDeliveryExhausted {
				// The destinations that a job names are told about the job. Who looks
				// after the others' failures is nobody's to name.
				serves = d.matches
			}
			if ok, _ := serves(e.Job); !ok {
				continue
			}
			if d.When != nil && e.Type != job.EventGroupFinished { // of a job's end, not of a set's
				if ok, _ := d.When.holds(e.Job, max(e.Time, 1)); !ok {
					continue
				}
			}
		}
		names = append(names, d.Name)
	}
	return names
}

// explainRoute says of every destination whether it is told about the job.
func explainRoute(all []Destination, j *job.Job) []job.RouteReason {
	reasons := make([]job.RouteReason, 0, len(all))
	known := make([]string, 0, len(all))
	for i := range all {
		d := &all[i]
		known = append(known, d.Name)
		r := job.RouteReason{Destination: d.Name, On: d.On}
		if len(r.On) == 0 {
			r.On = slices.Clone(announced)
		}
		r.Matches, r.Why = d.serves(j)
		if r.Matches && d.When != nil && !d.When.IsZero() {
			explainWhen(&r, j, d.When)
		}
		reasons = append(reasons, r)
	}
	for _, name := range j.Destinations {
		if !slices.Contains(known, name) {
			reasons = append(reasons, job.RouteReason{Destination: name, Why: "the job names it, and it is not configured"})
		}
	}
	return reasons
}

// explainWhen adds what the destination asks for beyond labels. Of a job that
// has not ended, only the tenant is known.
func explainWhen(r *job.RouteReason, j *job.Job, w *When) {
	at := job.Instant(0)
	if j.State == job.Finished {
		at = max(j.FinishedAt, 1)
	}
	ok, why := w.holds(j, at)
	switch {
	case !ok:
		r.Matches, r.Why = false, why
	case at == 0:
		var asks []string
		for name, text := range w.shown() {
			if name != "tenant" {
				asks = append(asks, name+" "+text)
			}
		}
		if slices.Sort(asks); len(asks) > 0 {
			r.Why += "; it depends on how it ends: " + strings.Join(asks, ", ")
		}
	}
}

// keepsDataFile reports whether some destination that serves the job asks for
// the result link.
func keepsDataFile(all []Destination, j *job.Job) bool {
	for i := range all {
		d := &all[i]
		if !d.Includes(IncludeDataFile) || !d.wants(job.EventCompleted) {
			continue
		}
		if d.When != nil {
			if ok, _ := d.When.holds(j, max(j.FinishedAt, 1)); !ok {
				continue
			}
		}
		if ok, _ := d.serves(j); ok {
			return true
		}
	}
	return false
}
