// Package console writes for people at a terminal: tables, colours that
// NO_COLOR turns off, and a block of lines that is redrawn in place. What it
// prints came from elsewhere, so control characters are taken out of it.
//
// Reading order: console.go (what the terminal can do), table.go (rows in
// columns), live.go (the block that is redrawn).
package console

import (
	"io"
	"os"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// Terminal is one output and what it can do.
type Terminal struct {
	io.Writer
	// TTY says that a person looks at it and lines can be redrawn.
	TTY bool
	// Colour says that escape sequences for colour are welcome.
	Colour bool
	fd     int
}

// Detect looks at w. Colour needs a terminal, no NO_COLOR (https://no-color.org:
// set and not empty) and a TERM that is not dumb.
func Detect(w io.Writer, getenv func(string) string) Terminal {
	t := Terminal{Writer: w, fd: -1}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return t
	}
	t.fd = int(f.Fd())
	dumb := getenv("TERM") == "dumb"
	t.TTY = !dumb
	t.Colour = !dumb && getenv("NO_COLOR") == ""
	return t
}

// Size is the terminal's size in cells; 80 by 24 when it does not say.
func (t Terminal) Size() (width, height int) {
	if t.fd >= 0 {
		if w, h, err := term.GetSize(t.fd); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 80, 24
}

// The colours, as SGR parameters.
const (
	Plain  = ""
	Bold   = "1"
	Dim    = "2"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Blue   = "34"
	Cyan   = "36"
)

// Paint wraps s in a colour where colours are welcome.
func (t Terminal) Paint(colour, s string) string {
	if !t.Colour || colour == Plain || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// WordColour is the colour of a status, outcome or delivery state.
func WordColour(word string) string {
	switch word {
	case "completed", "delivered", "tracked", "ready":
		return Green
	case "failed", "lost", "abandoned", "exhausted", "invalid", "false":
		return Red
	case "cancelled", "overdue", "held", "paused":
		return Yellow
	case "in_progress", "sending":
		return Cyan
	}
	return Plain
}

// Clean takes control characters out of a foreign text and folds white space,
// so that it stays on its line and cannot steer the terminal.
func Clean(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unprintable(r):
			return -1
		}
		return r
	}, s))
}

// unprintable also covers the bidirectional controls, which are format
// characters.
func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// Cut shortens s to n cells, the last of them an ellipsis.
func Cut(s string, n int) string {
	if n <= 0 {
		return ""
	}
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}
