package job

import (
	"strings"
	"testing"
)

func TestQueriesThatDifferInValuesHaveOneShape(t *testing.T) {
	const base = `SELECT a.Name, SUM(i.Amount) FROM account a JOIN invoice i ON i.accountid = a.id
		WHERE i.Status = 'Posted' AND i.Amount > 100 AND a.Id IN ('x', 'y') GROUP BY 1`
	for _, same := range []string{
		`select a.name, sum(i.amount) from account a join invoice i on i.accountid = a.id where i.status = 'Draft' and i.amount > 2.5e3 and a.id in ('z') group by 1;`,
		"SELECT a.Name, SUM(i.Amount) -- the sum\nFROM account a /* all\nof them */ JOIN invoice i ON i.accountid = a.id WHERE i.Status='It''s' AND i.Amount>7 AND a.Id IN ('x','y','z', 'w') GROUP BY 1",
	} {
		if ShapeOf(same, "LIVE") != ShapeOf(base, "live") {
			t.Errorf("another shape: %s", same)
		}
	}
	for _, other := range []string{
		strings.Replace(base, "SUM", "AVG", 1),
		strings.Replace(base, "i.Amount > 100", "i.Amount < 100", 1),
		strings.Replace(base, "AND a.Id IN ('x', 'y')", "", 1),
		strings.Replace(base, "a.Name, ", "", 1),
		strings.Replace(base, "invoice i", `"Invoice" i`, 1),
		base + ", 'x', a.Name",
	} {
		if ShapeOf(other, "LIVE") == ShapeOf(base, "LIVE") {
			t.Errorf("the same shape: %s", other)
		}
	}
	if ShapeOf(base, "WAREHOUSE") == ShapeOf(base, "LIVE") {
		t.Error("where a query runs makes no difference")
	}
	if ShapeOf(" \n", "LIVE") != 0 {
		t.Error("no text has a shape")
	}
	if ShapeOf(`SELECT "A"`, "") == ShapeOf(`SELECT "a"`, "") {
		t.Error("the case of quoted names makes no difference")
	}
}

func FuzzShape(f *testing.F) {
	for _, s := range []string{"SELECT 1", "'", "\"", "/*", "--", "é'é", "1,2,,3", "a\x80b", "?,?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		shape := ShapeOf(query, "LIVE")
		if shape == 0 && strings.TrimSpace(query) != "" {
			t.Error("a text has no shape")
		}
		if shape != 0 && ShapeOf(" "+query+"\n", "LIVE") != shape && !strings.ContainsAny(query, "'\"`-/") {
			t.Error("white space around a text changes its shape")
		}
	})
}
