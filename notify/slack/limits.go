package slack

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	slackgo "github.com/slack-go/slack"
)

// Slack's limits (docs.slack.dev, "Block Kit": message, header, section and
// context blocks). maxMessage is not documented for messages: chat.postMessage
// was seen to answer msg_blocks_too_long from about 13,200 characters of JSON
// on (slackapi/bolt-js issues 2509 and 2867).
const (
	maxBlocks  = 50
	maxHeader  = 150
	maxSection = 3000
	maxField   = 2000
	maxFields  = 10
	maxMessage = 12000
	// maxText keeps the fallback well below what notifications show.
	maxText = 1000
	// envelope is what a message costs beside text and blocks.
	envelope = 150
)

const ellipsis = "…"

// width is how much of a limit the rune takes. Slack does not say what it
// counts, so this is the most that it may be: UTF-16 units of the JSON text.
func width(r rune) int {
	switch {
	case r == '"', r == '\\', r == '\n', r > 0xFFFF:
		return 2
	}
	return 1
}

// size is the width of s.
func size(s string) int {
	n := 0
	for _, r := range s {
		n += width(r)
	}
	return n
}

// control are the characters that begin links, mentions and entities
// (docs.slack.dev, "Formatting message text", "Escaping text").
var control = map[rune]string{'&': "&amp;", '<': "&lt;", '>': "&gt;"}

// literal makes text from elsewhere harmless and at most n wide: escaped, cut
// between characters, never inside an entity.
func literal(s string, n int) string {
	var b strings.Builder
	used, fit := 0, 0 // fit is where a cut leaves room for the ellipsis
	for _, r := range s {
		piece, escaped := control[r]
		if !escaped {
			piece = string(r)
		}
		if used+size(piece) > n {
			if n < 1 {
				return ""
			}
			return strings.TrimRight(b.String()[:fit], " \n") + ellipsis
		}
		b.WriteString(piece)
		if used += size(piece); used < n {
			fit = b.Len()
		}
	}
	return b.String()
}

// maxRaw bounds the work on one text; no limit of Slack's lets half of it through.
const maxRaw = 8 << 10

// lines keeps what people can read; line breaks stay.
func lines(s string) string {
	s = job.Cut(s, maxRaw)
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n").Replace(strings.ToValidUTF8(s, "\uFFFD"))
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r): // Cf: direction marks and their like
			return -1
		}
		return r
	}, s))
}

// line is lines on one line.
func line(s string) string { return strings.Join(strings.Fields(lines(s)), " ") }

// none stands for a value that is not known.
const none = "–"

// code shows text from elsewhere in running mrkdwn: nothing formats inside a
// code span, and a look-alike takes the place of the one character that ends it.
func code(s string, n int) string {
	s = line(strings.ReplaceAll(s, "`", "ˋ"))
	if s == "" {
		return none
	}
	return "`" + literal(s, n-2) + "`"
}

// codeBlock is code on lines of its own.
func codeBlock(s string, n int) string {
	return "```" + literal(lines(strings.ReplaceAll(s, "`", "ˋ")), n-6) + "```"
}

// message is what is posted. It takes blocks only as long as they fit.
type message struct {
	Text string `json:"text"`
	// Mrkdwn false shows Text as it is.
	Mrkdwn      bool            `json:"mrkdwn"`
	UnfurlLinks bool            `json:"unfurl_links"`
	UnfurlMedia bool            `json:"unfurl_media"`
	Blocks      []slackgo.Block `json:"blocks,omitempty"`

	room int // of maxMessage
}

// newMessage begins a message; text must be harmless and not empty.
func newMessage(text string) *message {
	return &message{Text: text, room: maxMessage - envelope - size(text)}
}

// add takes the block unless it would break a limit of the whole.
func (m *message) add(b slackgo.Block) bool {
	cost := cost(b)
	if len(m.Blocks) == maxBlocks || cost > m.room {
		return false
	}
	m.Blocks = append(m.Blocks, b)
	m.room -= cost
	return true
}

// cost is the width of the block's JSON with a comma.
func cost(b slackgo.Block) int {
	text, err := encode(b)
	if err != nil {
		return maxMessage + 1
	}
	n := 1
	for _, r := range string(text) { // already JSON: nothing is quoted again
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// encode writes JSON in which & < > take one character.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func header(text string) slackgo.Block {
	return slackgo.NewHeaderBlock(plain(text, maxHeader))
}

func plain(text string, n int) *slackgo.TextBlockObject {
	return slackgo.NewTextBlockObject(slackgo.PlainTextType, literal(text, n), false, false)
}

// mrkdwn takes text that is harmless already. Verbatim: Slack is not to find
// channel names and addresses in it by itself.
func mrkdwn(text string) *slackgo.TextBlockObject {
	return slackgo.NewTextBlockObject(slackgo.MarkdownType, text, false, true)
}

func section(text *slackgo.TextBlockObject) slackgo.Block {
	return slackgo.NewSectionBlock(text, nil, nil)
}

func footnote(text string) slackgo.Block {
	return slackgo.NewContextBlock("", mrkdwn(text))
}
