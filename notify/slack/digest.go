package slack

import (
	"cmp"
	"slices"
	"strings"
	"time"

	slackgo "github.com/slack-go/slack"
)

// In a digest all lines share one message, so each has to be short.
const maxLineLabels = 120

// faultWidths are tried in order: error texts are as long as the whole leaves
// room for, and never shorter than the last.
var faultWidths = []int{600, 300, 200, 120, 80}

// digest is the message about many events. What somebody must look at comes
// first; what does not fit is counted, with a link to the page.
func (r *renderer) digest(facts []fact, now time.Time) *message {
	slices.SortStableFunc(facts, func(a, b fact) int {
		return cmp.Or(cmp.Compare(a.kind.rank, b.kind.rank), cmp.Compare(a.Event.Time, b.Event.Time))
	})
	title := count(int64(len(facts))) + " events: " + tally(facts)
	m := newMessage(literal(facts[0].kind.icon+" "+title+worst(facts), maxText))
	m.add(header(facts[0].kind.icon + " " + title))
	if lateness := oldest(facts, now); lateness != "" {
		m.add(footnote("⏳ Sent up to " + lateness + " late: it could not be delivered before."))
	}

	// The line about what is left out may be needed; its longest form is kept free.
	foot := footnote(r.foot(&facts[0], false))
	reserve := cost(r.more(facts)) + cost(foot)
	m.room -= reserve
	var texts []string
	for _, width := range faultWidths {
		if texts = listed(facts, width); fitting(texts, m.room) == len(texts) {
			break
		}
	}
	named := 0
	for _, p := range packed(texts[:fitting(texts, m.room)]) {
		if !m.add(section(mrkdwn(p.text))) {
			break
		}
		named += p.entries
	}
	m.room += reserve
	if named < len(facts) {
		m.add(r.more(facts[named:]))
	}
	m.add(foot)
	return m
}

// worst is the first failure's error, for the fallback.
func worst(facts []fact) string {
	for i := range facts {
		if fault := line(facts[i].fault()); fault != "" {
			return " · " + line(facts[i].subject()) + ": " + fault
		}
	}
	return ""
}

// oldest is how late the latest of them is.
func oldest(facts []fact, now time.Time) string {
	first := facts[0].Event.CreatedAt
	for i := range facts {
		if at := facts[i].Event.CreatedAt; first.IsZero() || !at.IsZero() && at < first {
			first = at
		}
	}
	return late(first, now)
}

// listed is one entry for each event: icon, id, word, duration, rows, labels,
// and below it the error text, at most so wide.
func listed(facts []fact, faultWidth int) []string {
	texts := make([]string, 0, len(facts))
	for i := range facts {
		f := &facts[i]
		parts := []string{f.kind.icon + " " + code(f.subject(), maxSubject) + " " + literal(line(f.kind.word), maxName)}
		if f.about.Destination != "" {
			parts = append(parts, "destination "+code(f.about.Destination, maxName))
		}
		if took := f.took(); took != "" {
			parts = append(parts, took)
		}
		if rows := f.rows(); rows != "" {
			parts = append(parts, rows+" rows")
		}
		if labels := f.labels(); labels != "" {
			parts = append(parts, code(labels, maxLineLabels))
		}
		text := strings.Join(parts, " · ")
		if fault := f.fault(); fault != "" {
			text += "\n        " + code(fault, faultWidth)
		}
		texts = append(texts, text)
	}
	return texts
}

// pack is the text of one section and how many entries it holds.
type pack struct {
	text    string
	entries int
}

// packed joins entries into sections.
func packed(entries []string) []pack {
	var all []pack
	for _, e := range entries {
		last := len(all) - 1
		if last >= 0 && size(all[last].text)+size("\n")+size(e) <= maxSection {
			all[last].text += "\n" + e
			all[last].entries++
			continue
		}
		all = append(all, pack{e, 1})
	}
	return all
}

// fitting is how many of the entries fit the room, packed.
func fitting(entries []string, room int) int {
	frame := cost(section(mrkdwn("")))
	used, inSection, sections := 0, 0, 0
	for i, e := range entries {
		w := size(e)
		if sections > 0 && inSection+size("\n")+w <= maxSection {
			w += size("\n")
			inSection += w
		} else {
			sections++
			inSection = w
			used += frame
		}
		// Besides: header, lateness, what is left out, small print.
		if used += w; used > room || sections > maxBlocks-4 {
			return i
		}
	}
	return len(entries)
}

// more counts what is left out.
func (r *renderer) more(left []fact) slackgo.Block {
	text := "… and " + count(int64(len(left))) + " more: " + literal(tally(left), maxSubject) + ". "
	if r.page != nil {
		text += link(r.page.String(), "See them all")
	} else {
		text += "`jobwatcher deliveries` lists them all."
	}
	return section(mrkdwn(text))
}
