package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

var (
	id1 = job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104301")
	id2 = job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104302")
)

func TestPlainProgressIsALineForEachChangeAndNoMore(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := newProgress(console.Terminal{Writer: &b})
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	rows := int64(24516)
	one := sight{id: id1, word: "in_progress", started: job.At(start)}
	p.show([]sight{one, {id: id2, started: job.At(start)}}, start.Add(time.Second))
	p.show([]sight{one}, start.Add(2*time.Second))
	one.note = "looks fail: server"
	p.show([]sight{one}, start.Add(3*time.Second))
	one = sight{id: id1, word: "completed", started: job.At(start), ended: job.At(start.Add(4 * time.Second)), rows: &rows}
	p.show([]sight{one}, start.Add(5*time.Second))
	want := []string{
		"12:00:01  " + id1.String() + "  in_progress  after 1s",
		"12:00:03  " + id1.String() + "  in_progress  after 3s  looks fail: server",
		"12:00:05  " + id1.String() + "  completed  after 4s  24,516 rows",
		"",
	}
	if diff := cmp.Diff(want, strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBlockFitsTheTerminalAndShowsRunningJobsFirst(t *testing.T) {
	t.Parallel()
	p := newProgress(console.Terminal{Writer: &bytes.Buffer{}}) // 80 by 24
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	sights := []sight{{id: id1, word: "failed", started: job.At(now), ended: job.At(now), note: strings.Repeat("long error ", 20)}}
	for range 40 {
		sights = append(sights, sight{id: id2, word: "in_progress", started: job.At(now), next: job.At(now.Add(1500 * time.Millisecond))})
	}
	lines := p.block(sights, now)
	if len(lines) > 23 {
		t.Errorf("%d lines on a terminal of 24", len(lines))
	}
	for _, line := range lines {
		if n := len([]rune(line)); n > 79 {
			t.Errorf("%d cells: %s", n, line)
		}
	}
	if !strings.HasPrefix(lines[1], id2.String()) || !strings.Contains(lines[1], "in 1.5s") {
		t.Errorf("first job = %q, want one that runs, with its next look", lines[1])
	}
	if got, want := lines[len(lines)-2], "… and 21 more"; got != want {
		t.Errorf("rest = %q, want %q", got, want)
	}
	if got, want := lines[len(lines)-1], "1 of 41 ended, 1 of them not completed"; got != want {
		t.Errorf("sum = %q, want %q", got, want)
	}
}

func TestLogLinesGoAboveTheBlockWhole(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	p := newProgress(console.Terminal{Writer: &b, TTY: true})
	p.live.Draw([]string{"block"})
	b.Reset()
	for _, part := range []string{"half a ", "line\nand"} {
		if n, err := p.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if got, want := b.String(), "\x1b[1A\r\x1b[Jhalf a line\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
