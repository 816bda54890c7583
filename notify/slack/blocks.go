package slack

import (
	"net/url"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	slackgo "github.com/slack-go/slack"
)

// Widths of what comes from elsewhere, inside Slack's own limits.
const (
	maxSubject = 200
	maxLabels  = 1500
	maxName    = 120
)

// renderer makes messages. It has no clock.
type renderer struct {
	page     *url.URL // the page, nil when none is configured
	query    bool     // the destination asks for the query
	dataFile bool     // the destination asks for the result link
}

// render makes one message of one or many events.
func (r *renderer) render(batch []job.Outgoing, now time.Time) *message {
	facts := make([]fact, 0, len(batch))
	for i := range batch {
		facts = append(facts, read(batch[i]))
	}
	if len(facts) == 1 {
		return r.one(&facts[0], now)
	}
	return r.digest(facts, now)
}

// one is the message about one event.
func (r *renderer) one(f *fact, now time.Time) *message {
	lateness := late(f.Event.CreatedAt, now)
	m := newMessage(oneText(f, lateness))
	foot := footnote(r.foot(f, true))
	m.room -= cost(foot) // it comes last and must fit

	m.add(header(f.kind.icon + " " + f.kind.title))
	if lateness != "" {
		m.add(footnote("⏳ Sent " + lateness + " late: it could not be delivered before."))
	}
	if sentence := explanation(f.Event.Type); sentence != "" {
		m.add(section(mrkdwn(sentence)))
	}
	m.add(slackgo.NewSectionBlock(nil, fields(f), nil))
	if text := lines(f.fault()); text != "" {
		m.add(section(plain(text, maxSection)))
	}
	if target := f.DataFile.Reveal(); r.dataFile && target != "" {
		if to := link(target, "Result file"); to != "" && size(to) <= maxSection {
			m.add(section(mrkdwn(to)))
		}
	}
	if r.query && lines(f.Query) != "" {
		// What is left; a context block's overhead is more than a section's.
		if n := min(maxSection, m.room-cost(footnote(""))); n > maxName {
			m.add(section(mrkdwn(codeBlock(f.Query, n))))
		}
	}

	m.room += cost(foot)
	m.add(foot)
	return m
}

// oneText is the fallback: one line that says it all.
func oneText(f *fact, lateness string) string {
	parts := []string{f.kind.icon + " " + f.kind.title + ": " + line(f.subject())}
	if f.about.Destination != "" {
		parts = append(parts, "destination "+line(f.about.Destination))
	}
	if took := f.took(); took != "" {
		parts = append(parts, took)
	}
	if rows := f.rows(); rows != "" {
		parts = append(parts, rows+" rows")
	}
	if lateness != "" {
		parts = append(parts, lateness+" late")
	}
	if labels := line(f.labels()); labels != "" {
		parts = append(parts, labels)
	}
	if fault := line(f.fault()); fault != "" {
		parts = append(parts, fault)
	}
	return literal(strings.Join(parts, " · "), maxText)
}

// fields are what is known, at most ten.
func fields(f *fact) []*slackgo.TextBlockObject {
	var all []*slackgo.TextBlockObject
	add := func(name, value string) {
		if value != "" && len(all) < maxFields {
			all = append(all, mrkdwn("*"+name+"*\n"+value))
		}
	}
	switch {
	case f.Event.Type == job.EventDeliveryExhausted:
		add("Delivery", code(f.Event.Subject, maxSubject))
		add("Destination", code(f.about.Destination, maxName))
		if f.about.JobID != "" {
			add("Job", code(f.about.JobID, maxName))
		}
	case f.Event.Type == job.EventGroupFinished:
		add("Group", code(f.Event.Subject, maxSubject))
		if g := &f.group; g.Jobs > 0 {
			add("Jobs", count(int64(g.Jobs)))
			add("Did not complete", count(int64(g.Failed)))
			if open := g.Jobs - g.Finished; open > 0 {
				add("Go on", count(int64(open)))
			}
		}
	case f.Event.Type == job.EventTest:
		add("Destination", code(f.Event.Subject, maxSubject))
	case !f.found:
		add("Job", code(f.subject(), maxSubject))
	default:
		add("Job", code(f.subject(), maxSubject))
		add("Status", code(string(f.job.Status), maxName))
		add("Duration", orNone(f.took()))
		add("Rows", orNone(f.rows()))
		if (f.Event.Type == job.EventOverdue || f.Event.Type == job.EventOverdueExpected) && !f.job.DeadlineAt.IsZero() {
			add("Deadline", instant(f.job.DeadlineAt))
		}
		if len(f.job.Anomaly) > 0 {
			add("Unusual", code(strings.ReplaceAll(strings.Join(f.job.Anomaly, ", "), "_", " "), maxName))
		}
		if f.job.Group != "" {
			add("Group", code(f.job.Group, maxName))
		}
		if labels := f.labels(); labels != "" {
			add("Labels", code(labels, maxLabels))
		}
	}
	return all
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

// foot is the small print: tenant, and with event its time and id.
func (r *renderer) foot(f *fact, event bool) string {
	parts := []string{code(f.Event.Tenant, maxName)}
	if event {
		if at := f.Event.Time; !at.IsZero() {
			parts = append(parts, instant(at))
		}
		parts = append(parts, code(f.Event.ID, maxName))
	}
	if r.page != nil {
		parts = append(parts, link(r.page.String(), "jobwatcher"))
	}
	return strings.Join(parts, " · ")
}

// link is a link in mrkdwn, or "" for what is none. The name is our own.
func link(target, name string) string {
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	target = strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C", "`", "%60", "\n", "", "\r", "").Replace(u.String())
	return "<" + target + "|" + name + ">"
}
