package slack

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func numbered(n int) job.ID {
	var id job.ID
	binary.BigEndian.PutUint32(id[:], uint32(n)+1)
	return id
}

// storm is n completed jobs with every tenth failed.
func storm(t testing.TB, n int, fault string) []job.Outgoing {
	t.Helper()
	batch := make([]job.Outgoing, 0, n)
	for i := range n {
		kind := job.EventCompleted
		if i%10 == 3 {
			kind = job.EventFailed
		}
		batch = append(batch, change(t, kind, func(v *job.View) {
			v.ID, v.Labels = numbered(i), job.Labels{"team": fmt.Sprintf("team-%d", i)}
			if kind == job.EventFailed {
				v.Error = fault
			}
		}))
	}
	return batch
}

func TestDigestNamesEveryJob(t *testing.T) {
	t.Parallel()
	r := renderer{page: page(t)}
	for _, n := range []int{2, 3, 30, 75} {
		text := shown(t, r.render(storm(t, n, "line 1:8: no such column"), soon()))
		for i := range n {
			if strings.Count(text, "`"+numbered(i).String()+"`") != 1 || !strings.Contains(text, fmt.Sprintf("`team=team-%d`", i)) {
				t.Errorf("%d jobs: job %d is not there", n, i)
			}
		}
		if strings.Contains(text, "more") {
			t.Errorf("%d jobs: something was left out: %s", n, text)
		}
		if want := (n + 6) / 10; strings.Count(text, "`line 1:8: no such column`") != want {
			t.Errorf("%d jobs: want %d error texts in %s", n, want, text)
		}
	}
}

func TestDigestIsAsItWasAgreed(t *testing.T) {
	t.Parallel()
	r := renderer{page: page(t)}
	var batch []job.Outgoing
	for _, kind := range notifytest.SampleTypes() {
		batch = append(batch, notifytest.Sample(kind))
	}
	m := r.render(batch, soon())
	golden(t, "testdata/digest.json", m)
	shown(t, m)
}

func TestDigestThatCannotNameAllCountsTheRest(t *testing.T) {
	t.Parallel()
	for what, r := range map[string]renderer{"with a page": {page: page(t)}, "without": {}} {
		for _, n := range []int{150, 1000} {
			batch := storm(t, n, strings.Repeat("evil<&> ", 200))
			m := r.render(batch, soon())
			text := shown(t, m)
			named := 0
			for i := range n {
				named += strings.Count(text, "`"+numbered(i).String()+"`")
			}
			if want := fmt.Sprintf("… and %s more: ", count(int64(n-named))); !strings.Contains(text, want) {
				t.Errorf("%s, %d jobs: %d are named, but not %q", what, n, named, want)
			}
			if named < 50 {
				t.Errorf("%s, %d jobs: only %d are named", what, n, named)
			}
			if got := strings.Contains(text, "<https://jobwatcher.example/?a=1&amp;b=2|See them all>"); got != (r.page != nil) {
				t.Errorf("%s: link to the page: %v", what, got)
			}
			if raw, err := encode(m); err != nil || len([]rune(string(raw))) < maxMessage*8/10 {
				t.Errorf("%s, %d jobs: only %d characters are used", what, n, len([]rune(string(raw))))
			}
		}
	}
}

func TestFailuresComeFirstWithTheirErrors(t *testing.T) {
	t.Parallel()
	batch := storm(t, 100, "no such column")
	m := new(renderer).render(batch, soon())
	text := shown(t, m)
	last := 0
	for i, o := range batch {
		at := strings.Index(text, "`"+o.Event.Subject+"`")
		if i%10 == 3 {
			if at < 0 {
				t.Fatalf("failed job %d is not named", i)
			}
			last = max(last, at)
		}
	}
	for i, o := range batch {
		if at := strings.Index(text, "`"+o.Event.Subject+"`"); i%10 != 3 && at >= 0 && at < last {
			t.Errorf("completed job %d stands before a failed one", i)
		}
	}
	if got := strings.Count(text, "`no such column`"); got != 10 {
		t.Errorf("got %d error texts, want 10", got)
	}
	if !strings.HasPrefix(m.Text, "❌ 100 events: 10 failed, 90 completed · ") || !strings.Contains(m.Text, "no such column") {
		t.Errorf("got text %q", m.Text)
	}
}

func TestErrorsInADigestAreAsLongAsThereIsRoom(t *testing.T) {
	t.Parallel()
	fault := strings.Repeat("x", 700)
	for n, want := range map[int]int{20: 600, 120: 80} {
		text := shown(t, new(renderer).render(storm(t, n, fault), soon()))
		longest := 0
		for _, run := range strings.FieldsFunc(text, func(r rune) bool { return r != 'x' }) {
			longest = max(longest, len(run))
		}
		// The fallback text shows one error, too.
		if in := strings.Count(text, "`"+strings.Repeat("x", want-3)+"…`"); in == 0 {
			t.Errorf("%d jobs: no error text is %d wide; the longest run is %d", n, want, longest)
		}
	}
}
