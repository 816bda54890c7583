package slack

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

func page(t testing.TB) *url.URL {
	t.Helper()
	u, err := url.Parse("https://jobwatcher.example/?a=1&b=2")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// shown is all that a message shows, in reading order.
func shown(t testing.TB, m *message) string {
	t.Helper()
	w, all := breaches(m)
	for _, b := range all {
		t.Error(b)
	}
	parts := []string{w.Text}
	for _, b := range w.Blocks {
		if b.Text != nil {
			parts = append(parts, b.Text.Text)
		}
		for _, f := range append(b.Fields, b.Elements...) {
			parts = append(parts, f.Text)
		}
	}
	return strings.Join(parts, "\n")
}

func TestMessageAboutEachKindOfEvent(t *testing.T) {
	t.Parallel()
	r := renderer{page: page(t)}
	for _, kind := range notifytest.SampleTypes() {
		m := r.render([]job.Outgoing{notifytest.Sample(kind)}, soon())
		golden(t, "testdata/"+kind.Short()+".json", m)
		text := shown(t, m)
		notifytest.NoCanary(t, string(kind), text, notifytest.CanaryQuery)
	}
}

func TestQueryAndResultLinkAreShownOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	r := renderer{page: page(t), query: true, dataFile: true}
	m := r.render([]job.Outgoing{notifytest.Sample(job.EventCompleted)}, soon())
	golden(t, "testdata/completed_all.json", m)
	text := shown(t, m)
	for _, want := range []string{"```SELECT accountnumber FROM account WHERE note = 'canary-query-7f3a91' AND a &lt; 3 &amp; b```", "<" + notifytest.CanaryDataFile + "|Result file>"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	for _, file := range []string{"", "s3://bucket/x", "javascript:alert(1)", "https://x/" + strings.Repeat("y", 5000)} {
		o := notifytest.Sample(job.EventCompleted)
		o.DataFile = secret.New(file)
		if text := shown(t, r.render([]job.Outgoing{o}, soon())); strings.Contains(text, "Result file") {
			t.Errorf("%.20s became a link", file)
		}
	}
}

func TestFailedJobAlwaysShowsItsErrorText(t *testing.T) {
	t.Parallel()
	r := renderer{query: true, dataFile: true}
	long := strings.Repeat("ä<&>\"\\ ", 5000)
	for what, c := range map[string]struct{ err, want string }{
		"short":   {"line 1:8: no such column", "line 1:8: no such column"},
		"none":    {"", "Zuora gave no error text."},
		"several": {"one\r\ntwo", "one\ntwo"},
		"mention": {"<!channel> & <@U1>", "&lt;!channel&gt; &amp; &lt;@U1&gt;"},
		"long":    {long, "ä&lt;&amp;&gt;\"\\ ä&lt;"},
	} {
		o := change(t, job.EventFailed, func(v *job.View) {
			v.Error = c.err
			for i := range 64 {
				v.Labels[strings.Repeat("k", 200)+string(rune('a'+i%26))+string(rune('a'+i/26))] = strings.Repeat("v", 63)
			}
		})
		o.Query, o.DataFile = long, secret.New("https://x.example/?"+strings.Repeat("y", 2900))
		m := r.render([]job.Outgoing{o}, soon())
		if text := shown(t, m); !strings.Contains(text, c.want) {
			t.Errorf("%s: %q is missing in %s", what, c.want, text)
		}
		if what == "long" {
			w, _ := breaches(m)
			for _, b := range w.Blocks {
				if b.Text != nil && strings.HasPrefix(b.Text.Text, "ä") && (b.Text.Type != "plain_text" || !strings.HasSuffix(b.Text.Text, "…") || len(b.Text.Text) < 2000) {
					t.Errorf("got %s of %d bytes", b.Text.Type, len(b.Text.Text))
				}
			}
		}
	}
}

func TestLateMessagesSayHowLate(t *testing.T) {
	t.Parallel()
	o := notifytest.Sample(job.EventFailed)
	other := notifytest.SampleOf(job.EventCompleted, job.ID{1})
	other.Event.CreatedAt = other.Event.CreatedAt.Add(time.Hour)
	created := o.Event.CreatedAt.Time()
	for after, want := range map[time.Duration]string{
		0: "", 5 * time.Minute: "", 5*time.Minute + time.Second: "5 min 1 s late",
		2*time.Hour + 14*time.Minute: "2 h 14 min late", 30 * time.Hour: "30 h late", 75 * time.Hour: "3 d 3 h late", -time.Hour: "",
	} {
		for _, batch := range [][]job.Outgoing{{o}, {other, o}} {
			w, _ := breaches(new(renderer).render(batch, created.Add(after)))
			var blocks strings.Builder
			for _, b := range w.Blocks {
				for _, e := range b.Elements {
					blocks.WriteString(e.Text)
				}
			}
			if want == "" && strings.Contains(blocks.String()+w.Text, "late") || !strings.Contains(blocks.String(), want) {
				t.Errorf("%s after: want %q in %q", after, want, blocks.String())
			}
			if len(batch) == 1 && !strings.Contains(w.Text, want) {
				t.Errorf("%s after: want %q in %q", after, want, w.Text)
			}
		}
	}
}

func TestUnknownValuesAreNotMadeUp(t *testing.T) {
	t.Parallel()
	o := change(t, job.EventCompleted, func(v *job.View) {
		v.OutputRows, v.ProcessingSeconds, v.Labels = nil, nil, nil
	})
	text := shown(t, new(renderer).render([]job.Outgoing{o}, soon()))
	if !strings.Contains(text, "*Rows*\n–") || !strings.Contains(text, "*Duration*\n2 min watched") || strings.Contains(text, "Labels") {
		t.Error(text)
	}
	zero := int64(0)
	o = change(t, job.EventCompleted, func(v *job.View) { v.OutputRows = &zero })
	if text := shown(t, new(renderer).render([]job.Outgoing{o}, soon())); !strings.Contains(text, "*Rows*\n0") {
		t.Error(text)
	}
}

func TestDataThatCannotBeReadStillNamesTheEvent(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "junk", "[]", `{"job":7}`, `{"job":{"id":"x"}}`, `{"job":{}}`} {
		o := notifytest.Sample(job.EventFailed)
		o.Event.Data = json.RawMessage(data)
		text := shown(t, new(renderer).render([]job.Outgoing{o}, soon()))
		if !strings.Contains(text, "Job failed") || !strings.Contains(text, o.Event.Subject) {
			t.Errorf("%q: %s", data, text)
		}
	}
	o := notifytest.Sample(job.EventFailed)
	o.Event.Type, o.Event.Data = "dev.example.new_thing<", nil
	if text := shown(t, new(renderer).render([]job.Outgoing{o}, soon())); !strings.Contains(text, "Event dev.example.new_thing&lt;") {
		t.Error(text)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	got := map[string]string{}
	for _, d := range []time.Duration{
		-time.Second, 0, 440 * time.Millisecond, 9212 * time.Millisecond, 9949 * time.Millisecond, 9950 * time.Millisecond, 42 * time.Second, 59600 * time.Millisecond,
		245 * time.Second, time.Hour - 400*time.Millisecond, 134 * time.Minute, 2*time.Hour - time.Second, 48*time.Hour - time.Second, 76 * time.Hour,
	} {
		got[d.String()] = duration(d)
	}
	want := map[string]string{
		"-1s": "0.0 s", "0s": "0.0 s", "440ms": "0.4 s", "9.212s": "9.2 s", "9.949s": "9.9 s", "9.95s": "10 s", "42s": "42 s", "59.6s": "1 min",
		"4m5s": "4 min 5 s", "59m59.6s": "1 h", "2h14m0s": "2 h 14 min", "1h59m59s": "2 h", "47h59m59s": "2 d", "76h0m0s": "3 d 4 h",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 24516: "24,516", 50000000: "50,000,000", -1234: "-1,234", -123: "-123"} {
		if got := count(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
