package console

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

func TestColumnsLineUpWithAndWithoutColour(t *testing.T) {
	t.Parallel()
	table := NewTable("ID", "STATUS", "NOTES")
	table.Row("1", "completed", "fine")
	table.Row("22", "failed", "Column 'x'\ncannot be\x1b[31m resolved")
	table.Row("333", "", "")
	want := []string{
		"ID   STATUS     NOTES",
		"1    completed  fine",
		"22   failed     Column 'x' cannot be[31m resolved",
		"333  -          -",
	}
	if diff := cmp.Diff(want, table.Lines(Terminal{}, 0)); diff != "" {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
	coloured := table.Lines(Terminal{Colour: true}, 0)
	if diff := cmp.Diff("1    \x1b[32mcompleted\x1b[0m  fine", coloured[1]); diff != "" {
		t.Errorf("coloured (-want +got):\n%s", diff)
	}
}

func TestLastColumnIsCutToTheTerminal(t *testing.T) {
	t.Parallel()
	table := NewTable("ID", "NOTES")
	table.Row("1", strings.Repeat("é", 100))
	for _, line := range table.Lines(Terminal{}, 40) {
		if n := len([]rune(line)); n > 40 {
			t.Errorf("%q has %d cells", line, n)
		}
	}
}

func TestNoColourAwayFromTerminals(t *testing.T) {
	t.Parallel()
	out := Detect(&bytes.Buffer{}, func(string) string { return "" })
	if out.TTY || out.Colour {
		t.Errorf("a buffer is taken for a terminal: %+v", out)
	}
	if got := out.Paint(Red, "x"); got != "x" {
		t.Errorf("Paint = %q, want x", got)
	}
}

func TestLiveBlockIsRedrawnInPlace(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	live := NewLive(Terminal{Writer: &b, TTY: true})
	live.Draw([]string{"one", "two"})
	live.Draw([]string{"three"})
	live.Clear()
	want := "\r\x1b[Jone\ntwo\n" + "\x1b[2A\r\x1b[Jthree\n" + "\x1b[1A\r\x1b[J"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"plain", "a\x1b[2Jb", "tab\tline\n", "\u202ereversed", "\xff", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Clean(s) {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				t.Errorf("Clean(%q) keeps %U", s, r)
			}
		}
		if n := len([]rune(Cut(Clean(s), 10))); n > 10 {
			t.Errorf("Cut(%q) has %d cells", s, n)
		}
	})
}
