package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Breach is an invariant of contract section 9 (0: another promise of the
// contract) that did not hold.
type Breach struct {
	Invariant int    `json:"invariant"`
	JobID     string `json:"job_id,omitempty"`
	Text      string `json:"text"`
}

func (b Breach) String() string {
	text := b.Text
	if b.JobID != "" {
		text = "job " + b.JobID + ": " + text
	}
	if b.Invariant == 0 {
		return text
	}
	return fmt.Sprintf("invariant %d: %s", b.Invariant, text)
}

const (
	// sendsInFlight is how many messages a destination may have in the air, each
	// of which one disturbance can repeat.
	sendsInFlight = 8
	// clockGrain is how far the event's time may be from Zuora's own: its
	// fractions have one to three digits.
	clockGrain = 150 * time.Millisecond
)

// judge says what the evidence means. Repeats are what the third invariant
// allows, and counted.
type judge struct {
	e        *Evidence
	breaches []Breach
	repeats  int
	allowed  int
	worst    time.Duration // from a job's end to the last destination's yes
}

func (j *judge) breachf(invariant int, id job.ID, format string, args ...any) {
	b := Breach{Invariant: invariant, Text: fmt.Sprintf(format, args...)}
	if id != (job.ID{}) {
		b.JobID = id.String()
	}
	j.breaches = append(j.breaches, b)
}

// all checks everything.
func (j *judge) all() {
	bySubject := map[string][]Reception{}
	known := map[string]bool{}
	for _, r := range j.e.Receptions {
		bySubject[r.Subject] = append(bySubject[r.Subject], r)
	}
	for i := range j.e.Jobs {
		w := &j.e.Jobs[i]
		known[w.ID.String()] = true
		j.job(w, bySubject[w.ID.String()])
	}
	for _, r := range j.e.Receptions {
		j.message(&r, known)
	}
	j.repeated()
	for _, id := range j.e.Overlaps {
		j.breachf(4, job.MustParseID(id), "was asked for twice at a time")
	}
	for _, id := range j.e.PolledAfter {
		j.breachf(4, job.MustParseID(id), "was asked for after its end had been announced")
	}
	for _, text := range j.e.Leaks {
		j.breachf(6, job.ID{}, "%s", text)
	}
	if j.e.SelfMade > 0 {
		j.breachf(0, job.ID{}, "%d answers of 429 that no fault made up", j.e.SelfMade)
	}
	for _, l := range j.e.Lives {
		if err := l.fault(j.disturbed(FullDisk, l.Began, l.Over)); err != nil {
			j.breachf(0, job.ID{}, "the daemon: %v", err)
		}
	}
}

// outcome is what the daemon has to say of a job, by what the tenant knows.
func (w *Watched) outcome() job.Outcome {
	if w.Planned.Erased {
		return job.OutcomeLost
	}
	return w.Truth.Status.Outcome()
}

// job checks that a job was kept, ended as it did, and was announced.
func (j *judge) job(w *Watched, told []Reception) {
	if !w.Acknowledged {
		j.breachf(0, w.ID, "could not be tracked, although the daemon was up again")
		return
	}
	want := w.outcome()
	if w.View == nil {
		j.breachf(1, w.ID, "was acknowledged and is forgotten")
		return
	}
	if w.View.State != job.Finished || w.View.Outcome != want {
		j.breachf(1, w.ID, "is %s %q, ended as %q", w.View.State, w.View.Outcome, want)
		return
	}
	if want == job.OutcomeCompleted && (w.View.OutputRows == nil || w.Truth.Rows == nil || *w.View.OutputRows != *w.Truth.Rows) {
		j.breachf(0, w.ID, "has other rows than Zuora says")
	}
	owed := int64(3)
	if w.View.Overdue {
		owed *= 2
	}
	if d := w.View.Deliveries; d.Delivered != owed || d.Pending+d.Held+d.Exhausted != 0 {
		j.breachf(2, w.ID, "owes %d deliveries, has %+v", owed, d)
	}
	j.announced(w, want.EventType(), told)
	if w.View.Overdue {
		j.announced(w, job.EventOverdue, told)
	}
}

// announced checks that an event reached each of the webhooks and the chat.
func (j *judge) announced(w *Watched, what job.EventType, told []Reception) {
	id := job.EventID(j.e.Tenant, w.ID.String(), what)
	for _, destination := range []string{"loader", "audit"} {
		at := time.Time{}
		for _, r := range told {
			if r.Destination == destination && r.Taken && r.Type == what {
				if r.EventID != id {
					j.breachf(3, w.ID, "%s went to %s under another webhook-id than %s", what, destination, id)
				}
				if at.IsZero() {
					at = r.At
				}
			}
		}
		if at.IsZero() {
			j.breachf(3, w.ID, "%s never reached %s", what, destination)
			continue
		}
		if what != job.EventOverdue && !w.Truth.EndedAt.IsZero() {
			from := w.Truth.EndedAt
			if w.AckedAt.After(from) {
				from = w.AckedAt // nobody had asked before
			}
			j.worst = max(j.worst, at.Sub(from))
		}
	}
	named := func(r Reception) bool {
		return r.Destination == "chat" && r.Taken && strings.Contains(r.Body, w.ID.String())
	}
	if !slices.ContainsFunc(j.e.Receptions, named) {
		j.breachf(3, w.ID, "no message to chat names it")
	}
}

// message checks one message by itself.
func (j *judge) message(r *Reception, known map[string]bool) {
	if r.Fault != "" {
		j.breachf(0, job.ID{}, "%s got a message that %s", r.Destination, r.Fault)
		return
	}
	if !j.e.Calm.IsZero() && r.At.After(j.e.Calm) {
		j.breachf(3, job.ID{}, "%s got %s %s although everything had been delivered and recorded", r.Destination, r.Type, r.Subject)
	}
	if r.Destination == "chat" {
		return
	}
	if !known[r.Subject] {
		j.breachf(0, job.ID{}, "%s got an event about %q, which nobody tracked", r.Destination, r.Subject)
		return
	}
	i := slices.IndexFunc(j.e.Jobs, func(w Watched) bool { return w.ID.String() == r.Subject })
	w := &j.e.Jobs[i]
	if want := w.outcome().EventType(); r.Type != want && r.Type != job.EventOverdue {
		j.breachf(1, w.ID, "%s was told %s, true is %s", r.Destination, r.Type, want)
	}
	if r.Type == w.Truth.Status.Outcome().EventType() && !w.Planned.Erased {
		off := r.Time.Sub(w.Truth.UpdatedOn).Abs()
		if off > clockGrain && !during(j.e.Jumps, "", w.Truth.EndedAt, r.At) {
			j.breachf(5, w.ID, "the event's time is %s from Zuora's own", off)
		}
	}
}

// repeated counts messages that were taken more than once. Each repeat needs a
// disturbance between the two, and a disturbance repeats what was in the air.
func (j *judge) repeated() {
	type key struct{ event, destination string }
	taken := map[key][]time.Time{}
	for _, r := range j.e.Receptions {
		if r.Taken && r.EventID != "" {
			k := key{r.EventID, r.Destination}
			taken[k] = append(taken[k], r.At)
		}
	}
	for k, times := range taken {
		for i := 1; i < len(times); i++ {
			j.repeats++
			if !j.disturbed("", times[i-1], times[i]) {
				j.breachf(3, job.ID{}, "%s took event %s twice, and nothing had come between sending and recording", k.destination, k.event)
			}
		}
	}
	j.allowed = sendsInFlight * 2 * len(j.e.Disturbances)
	if j.repeats > j.allowed {
		j.breachf(3, job.ID{}, "%d repeats; %d disturbances with at most %d messages in the air explain %d", j.repeats, len(j.e.Disturbances), 2*sendsInFlight, j.allowed)
	}
}

func (j *judge) disturbed(kind Kind, from, to time.Time) bool {
	return during(j.e.Disturbances, kind, from, to)
}

// during reports whether there was one of that kind (any: "") between two instants.
func during(all []Disturbance, kind Kind, from, to time.Time) bool {
	return slices.ContainsFunc(all, func(d Disturbance) bool {
		return (kind == "" || d.Kind == kind) && !d.To.Before(from) && !d.From.After(to)
	})
}
