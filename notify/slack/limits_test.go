package slack

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// wire is a message as Slack reads it, decoded apart from the types that made it.
type wire struct {
	Text   string      `json:"text"`
	Blocks []wireBlock `json:"blocks"`
}

type wireBlock struct {
	Type     string     `json:"type"`
	Text     *wireText  `json:"text"`
	Fields   []wireText `json:"fields"`
	Elements []wireText `json:"elements"`
}

type wireText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// breaches says which of Slack's limits the message breaks.
func breaches(m *message) (w wire, all []string) {
	raw, err := encode(m)
	if err != nil {
		return wire{}, []string{err.Error()}
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return wire{}, []string{err.Error()}
	}
	complain := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	units := func(s string) int { return len(utf16.Encode([]rune(s))) }
	if !utf8.Valid(raw) {
		complain("it is not valid UTF-8")
	}
	if n := units(string(raw)); n > maxMessage {
		complain("it is %d characters long in all", n)
	}
	if len(w.Blocks) > maxBlocks {
		complain("%d blocks", len(w.Blocks))
	}
	if strings.TrimSpace(w.Text) == "" || units(w.Text) > 3000 {
		complain("text of %d characters", units(w.Text))
	}
	for i, b := range w.Blocks {
		texts, limit := slices.Concat(b.Fields, b.Elements), 3000
		if len(b.Fields) > 0 {
			limit = 2000
		}
		if b.Text != nil {
			texts = append(texts, *b.Text)
		}
		if b.Type == "header" {
			limit = 150
			if b.Text.Type != "plain_text" {
				complain("block %d: a header in %s", i, b.Text.Type)
			}
		}
		if len(b.Fields) > 10 || len(b.Elements) > 10 || len(texts) == 0 {
			complain("block %d: %d fields, %d elements", i, len(b.Fields), len(b.Elements))
		}
		for _, text := range texts {
			if n := units(text.Text); n > limit || n == 0 {
				complain("block %d: a text of %d characters in a %s", i, n, b.Type)
			}
			if text.Type == "mrkdwn" && strings.Count(text.Text, "`")%2 != 0 {
				complain("block %d: a code span is open", i)
			}
		}
		for _, text := range texts {
			all = append(all, injections(text)...)
		}
	}
	return w, all
}

var (
	entity = regexp.MustCompile(`&(amp|lt|gt);`)
	ours   = regexp.MustCompile(`<!date\^\d+\^\{date_short_pretty\} \{time_secs\}\|[-0-9: ]+ UTC>|<https?://[^<>|]+\|(jobwatcher|See them all|Result file)>`)
	spans  = regexp.MustCompile("```[^`]*```|`[^`]*`")
)

// injections finds markup that is not ours.
func injections(text wireText) (all []string) {
	s := text.Text
	if text.Type == "mrkdwn" {
		s = ours.ReplaceAllString(s, "")
	}
	if strings.ContainsAny(s, "<>") {
		all = append(all, "an unescaped < or > in "+text.Text)
	}
	if strings.Contains(entity.ReplaceAllString(s, ""), "&") {
		all = append(all, "an unescaped or cut & in "+text.Text)
	}
	if text.Type == "mrkdwn" && strings.Contains(spans.ReplaceAllString(s, ""), "evil") {
		all = append(all, "text from elsewhere outside of code in "+text.Text)
	}
	return all
}

func TestLiteralEscapesAndCutsBetweenCharacters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"", 5, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"a", 0, ""},
		{"ab", 1, "…"},
		{"<!channel> & co", 100, "&lt;!channel&gt; &amp; co"},
		{"&&&", 15, "&amp;&amp;&amp;"},
		{"&&&", 14, "&amp;&amp;…"},
		{"&&&", 10, "&amp;…"},
		{"ééé", 3, "ééé"},
		{"éééé", 3, "éé…"},
		{"😀😀", 4, "😀😀"}, // two UTF-16 units each
		{"😀😀", 3, "😀…"},
		{"😀😀", 2, "…"},
		{`""""`, 8, `""""`}, // two characters of JSON each
		{`""""`, 7, `"""…`},
		{"ab cd", 4, "ab…"},
	} {
		got := literal(c.in, c.n)
		if got != c.want || size(got) > c.n {
			t.Errorf("%q to %d: got %q of %d, want %q", c.in, c.n, got, size(got), c.want)
		}
	}
}

func TestCodeCannotBeLeft(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                         "–",
		" \n\t":                    "–",
		"a":                        "`a`",
		"a`b``c```":                "`aˋbˋˋcˋˋˋ`",
		"two\nlines":               "`two lines`",
		"<!here> *bold* _it_ ~no~": "`&lt;!here&gt; *bold* _it_ ~no~`",
		"\x1b[31m\u202eevil\u2066": "`[31mevil`",
		"bad \xff":                 "`bad �`",
		strings.Repeat("x", 5000):  "`" + strings.Repeat("x", 97) + "…`",
	} {
		if got := code(in, 100); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	if got := codeBlock("a\n```\nb", 100); got != "```a\nˋˋˋ\nb```" {
		t.Errorf("got %q", got)
	}
}

func TestMessageTakesNothingBeyondItsLimits(t *testing.T) {
	t.Parallel()
	m := newMessage("x")
	for range 60 {
		m.add(section(mrkdwn("x")))
	}
	if len(m.Blocks) != maxBlocks {
		t.Errorf("got %d blocks", len(m.Blocks))
	}
	m = newMessage("x")
	for range 10 {
		m.add(section(mrkdwn(strings.Repeat("x", maxSection))))
	}
	if len(m.Blocks) != 3 {
		t.Errorf("got %d blocks of 3,000 characters", len(m.Blocks))
	}
	raw, err := encode(m)
	if err != nil || len(raw) > maxMessage {
		t.Errorf("got %d bytes, %v", len(raw), err)
	}
	m.Blocks = nil
	if raw, _ = encode(m); len(raw) > envelope {
		t.Errorf("an empty message is %d bytes, more than the %d allowed for", len(raw), envelope)
	}
}

func FuzzMessagesStayInsideTheLimits(f *testing.F) {
	for _, s := range []string{
		"", "evil", "evil<!channel>", "`evil", "&amp;evil", "evil\x00\xff\u202e", strings.Repeat("evil&", 4000),
		strings.Repeat("\"", 9000), strings.Repeat("😀evil", 3000), strings.Repeat("é\n", 5000), "```", "<https://evil|x>", "*evil*_evil_~evil~",
	} {
		f.Add(s, s, s, s, uint8(1), true)
		f.Add(s, "", "evil", "k", uint8(120), false)
	}
	f.Fuzz(func(t *testing.T, fault, query, label, tenant string, n uint8, late bool) {
		r := renderer{query: true, dataFile: true}
		now := soon()
		if late {
			now = now.AddDate(0, 0, 40)
		}
		var batch []job.Outgoing
		types := notifytest.SampleTypes()
		for i := range int(n) {
			o := notifytest.SampleOf(types[i%len(types)], job.ID{byte(i), 1})
			if types[i%len(types)] != job.EventGroupFinished && types[i%len(types)] != job.EventTest && types[i%len(types)] != job.EventDeliveryExhausted {
				o = change(t, types[i%len(types)], func(v *job.View) {
					v.ID, v.Error, v.Status, v.Group = job.ID{byte(i), 1}, fault, job.Status(label), label
					v.Labels = job.Labels{label: fault, "evil": label}
				})
			}
			o.Event.Tenant, o.Query, o.DataFile = tenant, query, secret.New("https://evil.example/?"+query)
			if i%11 == 10 {
				o.Event.Type, o.Event.Subject, o.Event.ID = job.EventType(label), fault, query
			}
			batch = append(batch, o)
		}
		if len(batch) == 0 {
			return
		}
		if _, all := breaches(r.render(batch, now)); len(all) > 0 {
			t.Error(strings.Join(all, "\n"))
		}
	})
}
