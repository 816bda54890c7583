package console

import (
	"fmt"
	"strings"
)

// Live is a block of lines at the bottom of a terminal that is drawn again and
// again in place.
type Live struct {
	out   Terminal
	drawn int
}

// NewLive begins a block on a terminal.
func NewLive(out Terminal) *Live { return &Live{out: out} }

// Draw replaces the block. Lines must not be wider than the terminal (what is
// painted counts by its cells), and there must be fewer of them than it has
// rows: a block that scrolls cannot be redrawn.
func (l *Live) Draw(lines []string) {
	var b strings.Builder
	if l.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", l.drawn)
	}
	b.WriteString("\r\x1b[J")
	for _, line := range lines {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	l.drawn = len(lines)
	fmt.Fprint(l.out, b.String())
}

// Print writes lines above the block, which the next Draw puts below them.
func (l *Live) Print(text string) {
	l.Clear()
	fmt.Fprint(l.out, text)
}

// Clear takes the block away.
func (l *Live) Clear() {
	l.Draw(nil)
}
