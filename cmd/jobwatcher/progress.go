package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// sight is what `watch` shows of one job at one moment.
type sight struct {
	id      job.ID
	word    string // status, or outcome once it has ended
	started job.Instant
	ended   job.Instant // zero while it runs
	next    job.Instant
	rows    *int64
	took    *time.Duration
	note    string // overdue, why looks fail, Zuora's error
}

// progress shows jobs while they are watched: a block that is redrawn on a
// terminal, a line for each change elsewhere. What is logged meanwhile passes
// through it, so that it does not tear the block.
type progress struct {
	out  console.Terminal
	live *console.Live
	mu   sync.Mutex
	last map[job.ID]string
	held bytes.Buffer // the beginning of a log line whose end has not come yet
}

func newProgress(out console.Terminal) *progress {
	return &progress{out: out, live: console.NewLive(out), last: map[job.ID]string{}}
}

// show brings the display up to date.
func (p *progress) show(sights []sight, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out.TTY {
		p.live.Draw(p.block(sights, now))
		return
	}
	for i := range sights {
		s := &sights[i]
		line := s.word
		if s.note != "" {
			line += "  " + s.note
		}
		if p.last[s.id] == line || s.word == "" {
			continue
		}
		p.last[s.id] = line
		parts := []string{now.Format("15:04:05"), s.id.String(), console.Clean(s.word), "after " + ago(s.elapsed(now))}
		if s.rows != nil {
			parts = append(parts, countRows(s.rows))
		}
		if s.note != "" {
			parts = append(parts, console.Clean(s.note))
		}
		fmt.Fprintln(p.out, strings.Join(parts, "  "))
	}
}

func (s *sight) elapsed(now time.Time) time.Duration {
	if !s.ended.IsZero() {
		return max(s.ended.Sub(s.started), 0)
	}
	return now.Sub(s.started.Time())
}

// block is a table that fits the terminal, jobs that still run first, with a
// line that counts beneath.
func (p *progress) block(sights []sight, now time.Time) []string {
	width, height := p.out.Size()
	width-- // a full line makes some terminals wrap
	order := make([]*sight, 0, len(sights))
	ended, failed := 0, 0
	for i := range sights {
		if sights[i].ended.IsZero() {
			order = append(order, &sights[i])
		}
	}
	for i := range sights {
		if s := &sights[i]; !s.ended.IsZero() {
			order = append(order, s)
			ended++
			if s.word != string(job.OutcomeCompleted) {
				failed++
			}
		}
	}
	const around = 4 // heading, "more", the count, and the cursor's own line
	hidden := max(len(order)-max(height-around, 1), 0)
	t := console.NewTable("ID", "STATUS", "ELAPSED", "NEXT LOOK", "ROWS", "")
	for _, s := range order[:len(order)-hidden] {
		next := nextLook(s.next, now)
		if !s.ended.IsZero() {
			next = "ended"
		}
		t.Row(s.id.String(), s.word, ago(s.elapsed(now)), next, rowsText(s.rows), s.note)
	}
	lines := t.Lines(p.out, width)
	if hidden > 0 {
		lines = append(lines, p.out.Paint(console.Dim, fmt.Sprintf("… and %d more", hidden)))
	}
	sum := fmt.Sprintf("%d of %d ended", ended, len(sights))
	if failed > 0 {
		sum += fmt.Sprintf(", %d of them not completed", failed)
	}
	return append(lines, p.out.Paint(console.Bold, sum))
}

// clear takes the block away before the final table.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out.TTY {
		p.live.Clear()
	}
}

// Write lets a logger write above the block, whole lines at a time.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.out.TTY {
		return p.out.Write(b)
	}
	p.held.Write(b)
	if end := bytes.LastIndexByte(p.held.Bytes(), '\n'); end >= 0 {
		p.live.Print(string(p.held.Next(end + 1)))
	}
	return len(b), nil
}
