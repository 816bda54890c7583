package slack

import (
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// message is what is posted about the batch: one event in the words of the
// destination's template, if it has one. Digests always have our own form. A
// template that fails costs nobody the event: the plain form goes out instead
// and says so, and note says it to log and ledger.
func (s *Sender) message(batch []job.Outgoing, now time.Time) (m *message, note string) {
	t := s.dest.Slack.Template
	if t == nil || len(batch) != 1 {
		return s.renderer.render(batch, now), ""
	}
	out := &batch[0]
	data := s.dest.Data(out, now)
	if s.renderer.dataFile {
		data.Job.DataFile = out.DataFile.Reveal()
	}
	// What comes from elsewhere is made harmless before the template sees it: the
	// operator's own text may format, mention and link, a job's error may not.
	text, err := t.Execute(data.Escaped(func(text string) string { return literal(lines(text), maxSection) }))
	if err == nil {
		return s.renderer.templated(out, strings.TrimSpace(text), now), ""
	}
	fault := t.Fault(err, &data)
	m = s.renderer.render(batch, now)
	m.add(footnote("⚠️ The template of this destination failed: " + code(fault, maxSubject)))
	return m, "the template failed and the plain form is sent: " + fault
}

// templated is the message about one event in the operator's words.
func (r *renderer) templated(out *job.Outgoing, text string, now time.Time) *message {
	f := read(*out)
	lateness := late(f.Event.CreatedAt, now)
	text = cutMarkup(lines(text), maxSection)
	m := newMessage(cutMarkup(text, maxText))
	m.Mrkdwn = true // should the blocks be refused, the text stands alone
	if lateness != "" {
		m.add(footnote("⏳ Sent " + lateness + " late: it could not be delivered before."))
	}
	m.add(section(mrkdwn(text)))
	m.add(footnote(r.foot(&f, true)))
	return m
}

// cutMarkup cuts text that is mrkdwn already to at most n wide: not inside an
// entity, a link or a mention.
func cutMarkup(s string, n int) string {
	if size(s) <= n {
		return s
	}
	used, end := 0, 0
	for i, r := range s {
		if used+width(r) > n-1 {
			break
		}
		used += width(r)
		end = i + len(string(r))
	}
	s = s[:end]
	if open := strings.LastIndexAny(s, "&<"); open >= 0 && !strings.ContainsAny(s[open:], ";>") {
		s = s[:open]
	}
	return strings.TrimRight(s, " \n") + ellipsis
}
