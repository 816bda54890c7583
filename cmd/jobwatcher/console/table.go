package console

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Table is rows in columns under a heading. The last column may be cut to the
// terminal's width; the others are shown whole, because ids are copied from
// them.
type Table struct {
	heading []string
	rows    [][]string
}

// NewTable begins a table with its heading.
func NewTable(heading ...string) *Table { return &Table{heading: heading} }

// Row adds one row; missing cells are empty.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.heading))
	for i := range row {
		if i < len(cells) {
			row[i] = Clean(cells[i])
		}
		if row[i] == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// Len is the number of rows.
func (t *Table) Len() int { return len(t.rows) }

const gap = 2 // cells between columns

// Write prints the table. Words that stand for a state are coloured where the
// terminal likes it.
func (t *Table) Write(out Terminal) error {
	limit := 0
	if out.TTY {
		limit, _ = out.Size()
	}
	for _, line := range t.Lines(out, limit) {
		if _, err := io.WriteString(out, line+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// Lines is the table as text; limit is the width to keep to, 0 for none.
func (t *Table) Lines(out Terminal, limit int) []string {
	widths := make([]int, len(t.heading))
	for _, row := range append([][]string{t.heading}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := []string{t.line(out, t.heading, widths, limit, true)}
	for _, row := range t.rows {
		lines = append(lines, t.line(out, row, widths, limit, false))
	}
	return lines
}

func (t *Table) line(out Terminal, cells []string, widths []int, limit int, heading bool) string {
	var b strings.Builder
	used := 0
	last := len(cells) - 1
	for i, cell := range cells {
		if i == last && limit > 0 && used+utf8.RuneCountInString(cell) > limit {
			cell = Cut(cell, max(limit-used, 12))
		}
		colour := WordColour(cell)
		if heading {
			colour = Bold
		}
		b.WriteString(out.Paint(colour, cell))
		if i < last {
			pad := widths[i] - utf8.RuneCountInString(cell) + gap
			b.WriteString(strings.Repeat(" ", pad))
			used += widths[i] + gap
		}
	}
	return b.String()
}
