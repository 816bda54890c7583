package webui

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// words are what templates may say.
func (p *page) words() template.FuncMap {
	return template.FuncMap{
		"word":     word,
		"tone":     tone,
		"elapsed":  func(v *job.View) string { return span(elapsedOf(v, p.now())) },
		"span":     func(s float64) string { return span(time.Duration(s * float64(time.Second))) },
		"instant":  instant,
		"iso":      func(i job.Instant) string { return i.Time().UTC().Format(time.RFC3339) },
		"until":    func(i job.Instant) string { return until(i.Time().Sub(p.now())) },
		"number":   number,
		"seconds":  secondsText,
		"short":    func(id job.ID) string { return id.String()[:8] },
		"plain":    func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
		"pairs":    pairs,
		"outcomes": job.Outcomes,
		"what":     func(t job.EventType) string { return strings.ReplaceAll(t.Short(), "_", " ") },
		"share":    share,
		"last":     lastOf,
		"jobTone":  func(v *job.View) string { return tone(word(v)) },
		"deref":    func(f *float64) float64 { return *f },
		"percent":  func(f *float64) string { return strconv.FormatFloat(*f*100, 'f', -1, 64) + " %" },
		"attempt":  func(a job.AttemptView) string { return attemptText(&a) },
		"timeline": timelineText,
	}
}

func lastOf(a []job.AttemptView) *job.AttemptView {
	if len(a) == 0 {
		return nil
	}
	return &a[len(a)-1]
}

// word is the one word that says how a job stands.
func word(v *job.View) string {
	switch {
	case v.State == job.Finished:
		return string(v.Outcome)
	case v.Overdue:
		return "overdue"
	case v.Status == job.Unseen:
		return "not looked at yet"
	}
	return strings.ReplaceAll(string(v.Status), "_", " ")
}

// tone is the class of a word: its colour, which never says anything alone.
func tone(word string) string {
	switch word {
	case "completed", "delivered", "ok":
		return "good"
	case "failed", "lost", "abandoned", "exhausted":
		return "bad"
	case "cancelled", "overdue", "held", "paused":
		return "warn"
	case "in progress", "sending":
		return "busy"
	}
	return "calm"
}

func elapsedOf(v *job.View, now time.Time) time.Duration {
	end := v.FinishedAt
	if end.IsZero() {
		return max(now.Sub(v.TrackedAt.Time()), 0)
	}
	return max(end.Sub(v.TrackedAt), 0)
}

// span is a duration with its two largest units.
func span(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 1:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case s < 60:
		return fmt.Sprintf("%.0f s", math.Floor(s))
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
	case s < 86400:
		return fmt.Sprintf("%d h %02d min", int(s)/3600, int(s)%3600/60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

func until(d time.Duration) string {
	switch {
	case d < -time.Minute:
		return span(-d) + " ago"
	case d < time.Second:
		return "now"
	}
	return "in " + span(d)
}

func instant(i job.Instant) string { return i.Time().UTC().Format("2006-01-02 15:04:05") }

// number has its thousands apart; "–" when there is none.
func number(n any) string {
	var text string
	switch v := n.(type) {
	case *int64:
		if v == nil {
			return "–"
		}
		text = strconv.FormatInt(*v, 10)
	case int64:
		text = strconv.FormatInt(v, 10)
	case int:
		text = strconv.Itoa(v)
	default:
		return fmt.Sprint(n)
	}
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func secondsText(s *float64) string {
	if s == nil {
		return "–"
	}
	if *s < 1 {
		return strconv.FormatFloat(math.Round(*s*1e4)/10, 'f', -1, 64) + " ms"
	}
	if *s < 60 {
		return strconv.FormatFloat(math.Round(*s*100)/100, 'f', -1, 64) + " s"
	}
	return span(time.Duration(*s * float64(time.Second)))
}

// pairs are labels in order.
func pairs(labels job.Labels) []string {
	all := make([]string, 0, len(labels))
	for _, k := range labels.Keys() {
		all = append(all, k+"="+labels[k])
	}
	return all
}

// share is a part of a whole in hundredths of the width of a bar, 0 to 100.
func share(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return math.Round(min(max(float64(part)/float64(whole), 0), 1)*10000) / 100
}

func attemptText(a *job.AttemptView) string {
	one := job.Attempt{Code: a.Code, Reason: a.Reason, Answer: a.Answer}
	if text := one.Text(); text != "" {
		return text
	}
	return "taken"
}

// timelineText says what happened, in words.
func timelineText(e job.TimelineEntry) string {
	plain := func(s string) string { return strings.ReplaceAll(s, "_", " ") }
	switch e.Kind {
	case job.KindTracked:
		return "Watching began"
	case job.KindStatus:
		return "Zuora says: " + plain(string(e.Status)) + polls(e.Polls)
	case job.KindOverdue:
		return "Past its deadline" + polls(e.Polls)
	case job.KindWarned:
		return "Will likely be overdue" + polls(e.Polls)
	case job.KindFinished:
		return "Ended: " + string(e.Outcome) + polls(e.Polls)
	case "delivery":
		return "“" + plain(e.Event) + "” owed to " + e.Destination
	case "attempt":
		a := job.AttemptView{Code: e.Code, Reason: e.Reason, Answer: e.Answer}
		text := "“" + plain(e.Event) + "” to " + e.Destination + ": " + attemptText(&a)
		if e.Took != nil {
			text += ", " + secondsText(e.Took)
		}
		return text
	}
	return plain(e.Kind)
}

func polls(n int64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", after 1 look"
	}
	return ", after " + number(n) + " looks"
}
