package slack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// kind is how a type of event is spoken of: an icon, a title for a message of
// its own, a word for lists, and its place there: what somebody must look at
// comes first.
type kind struct {
	icon, title, word string
	rank              int
}

var kinds = map[job.EventType]kind{
	job.EventFailed:            {"❌", "Job failed", "failed", 0},
	job.EventLost:              {"❓", "Job lost", "lost", 1},
	job.EventAbandoned:         {"⌛", "Job abandoned", "abandoned", 2},
	job.EventDeliveryExhausted: {"📭", "Delivery given up", "undelivered", 3},
	job.EventOverdue:           {"⏰", "Job overdue", "overdue", 4},
	job.EventOverdueExpected:   {"⏳", "Job will likely be overdue", "likely overdue", 5},
	job.EventCancelled:         {"🚫", "Job cancelled", "cancelled", 6},
	job.EventGroupFinished:     {"📦", "Group finished", "group finished", 7},
	job.EventCompleted:         {"✅", "Job completed", "completed", 8},
	job.EventTest:              {"👋", "Test message", "test", 9},
}

// kindOf speaks of any type, also of one that a newer replica has stored.
func kindOf(t job.EventType) kind {
	if k, known := kinds[t]; known {
		return k
	}
	return kind{"🔔", "Event " + line(string(t)), "other", len(kinds)}
}

// explanation says in a sentence what an outcome means that is not Zuora's own.
func explanation(t job.EventType) string {
	switch t {
	case job.EventLost:
		return "Zuora kept answering that the job does not exist or may not be seen. How it ended is not known."
	case job.EventAbandoned:
		return "The job had not ended when its time was up. It is not watched any more."
	case job.EventOverdue:
		return "The job has run past its deadline. It is watched on and will be announced when it ends."
	case job.EventOverdueExpected:
		return "By past runs of queries like it the job will very likely run past its deadline. It is watched on."
	case job.EventDeliveryExhausted:
		return "Another destination could not be told in spite of every attempt. The delivery can be replayed."
	case job.EventTest:
		return "Somebody tests this destination. Nothing has happened to any job."
	case job.EventCompleted, job.EventFailed, job.EventCancelled, job.EventGroupFinished:
	}
	return ""
}

// fact is one event with what its data tells.
type fact struct {
	job.Outgoing
	kind kind
	// job is what the data holds; found says that it holds one.
	job   job.View
	found bool
	about aboutDelivery
	group job.GroupView
}

// aboutDelivery is what the data of an exhausted delivery tells.
type aboutDelivery struct {
	ID          string `json:"id"`
	Destination string `json:"destination"`
	JobID       string `json:"job_id"`
	Why         string `json:"why"`
}

func read(o job.Outgoing) fact {
	f := fact{Outgoing: o, kind: kindOf(o.Event.Type)}
	var data struct {
		Job      json.RawMessage `json:"job"`
		Delivery aboutDelivery   `json:"delivery"`
		Group    json.RawMessage `json:"group"`
	}
	// Data that cannot be read leaves a message that names the event.
	if err := json.Unmarshal(o.Event.Data, &data); err == nil {
		f.about = data.Delivery
		if json.Unmarshal(data.Group, &f.group) != nil {
			f.group = job.GroupView{}
		}
		f.found = json.Unmarshal(data.Job, &f.job) == nil && f.job.ID != job.ID{}
	}
	return f
}

// subject names what the event is about.
func (f *fact) subject() string {
	switch {
	case f.found:
		return f.job.ID.String()
	case f.Event.JobID != job.ID{}:
		return f.Event.JobID.String()
	}
	return f.Event.Subject
}

// took is how long the job ran: by Zuora, else as far as we saw; "" unknown.
func (f *fact) took() string {
	switch {
	case !f.found:
		return ""
	case f.job.ProcessingSeconds != nil:
		return duration(time.Duration(*f.job.ProcessingSeconds * float64(time.Second)))
	}
	until := f.job.FinishedAt
	if until.IsZero() {
		until = f.Event.Time
	}
	if until.IsZero() || f.job.TrackedAt.IsZero() || until < f.job.TrackedAt {
		return ""
	}
	return duration(until.Sub(f.job.TrackedAt)) + " watched"
}

func (f *fact) rows() string {
	if !f.found || f.job.OutputRows == nil {
		return ""
	}
	return count(*f.job.OutputRows)
}

// labels are the job's, "team=finance report=aging", not yet harmless.
func (f *fact) labels() string {
	var b []string
	for _, k := range f.job.Labels.Keys() {
		b = append(b, k+"="+f.job.Labels[k])
	}
	return strings.Join(b, " ")
}

// fault is the error text; a failed job that came with none says so.
func (f *fact) fault() string {
	if f.Event.Type == job.EventDeliveryExhausted {
		return f.about.Why
	}
	if len(f.group.Members) > 0 && f.group.Failed > 0 {
		m := &f.group.Members[0] // those that did not complete come first
		return strings.TrimSuffix(m.ID.String()+" "+string(m.Outcome)+": "+m.Error, ": ")
	}
	if f.job.Error == "" && f.Event.Type == job.EventFailed {
		return "Zuora gave no error text."
	}
	return f.job.Error
}

// late is how long after its event the message goes out, or "".
func late(created job.Instant, now time.Time) string {
	if d := notify.Late(created, now); d > 0 {
		return duration(d)
	}
	return ""
}

// duration in words of at most two units.
func duration(d time.Duration) string {
	d = max(d, 0)
	two := func(big time.Duration, bigName string, small time.Duration, smallName string) string {
		d = d.Round(small)
		if rest := d % big; rest > 0 {
			return fmt.Sprintf("%d %s %d %s", d/big, bigName, rest/small, smallName)
		}
		return fmt.Sprintf("%d %s", d/big, bigName)
	}
	const day = 24 * time.Hour
	switch {
	case d < 9950*time.Millisecond: // rounds to at most 9.9
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 59500*time.Millisecond:
		return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
	case d < time.Hour-time.Second/2:
		return two(time.Minute, "min", time.Second, "s")
	case d < 2*day-time.Minute/2:
		return two(time.Hour, "h", time.Minute, "min")
	}
	return two(day, "d", time.Hour, "h")
}

// count with commas.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// tally is "2 failed, 9 completed", what matters first.
func tally(facts []fact) string {
	counts := map[kind]int64{}
	for i := range facts {
		counts[facts[i].kind]++
	}
	order := make([]kind, 0, len(counts))
	for k := range counts {
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.word, b.word))
	})
	parts := make([]string, 0, len(order))
	for _, k := range order {
		parts = append(parts, count(counts[k])+" "+k.word)
	}
	return strings.Join(parts, ", ")
}

// instant in the reader's own time zone, with UTC for clients that cannot.
func instant(i job.Instant) string {
	t := i.Time()
	return fmt.Sprintf("<!date^%d^{date_short_pretty} {time_secs}|%s UTC>", t.Unix(), t.Format(time.DateTime))
}
