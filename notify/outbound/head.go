package outbound

import (
	"io"
	"strings"
	"unicode"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	maxRead = 4 << 10 // of an answer's body
	maxKept = 512     // of it in the ledger, in bytes
)

// readHead reads at most 4 KiB and reports whether that was all. A body that
// breaks or stalls is cut there: the status was heard, and it decides.
func readHead(body io.Reader) (head []byte, whole bool) {
	head, err := io.ReadAll(io.LimitReader(body, maxRead+1))
	if len(head) > maxRead {
		return head[:maxRead], false
	}
	return head, err == nil
}

// cleanHead makes a stranger's bytes fit for a ledger, a log and a terminal.
func cleanHead(body []byte, whole bool, known func() []string) string {
	text := printable(string(body))
	if len(text) < minGiven { // most answers: "ok" holds no secret
		return text
	}
	secrets := known()
	text = redact(text, secrets)
	if !whole {
		text = dropBegun(text, secrets)
	}
	return job.Cut(text, maxKept)
}

// printable keeps what people can read, on one line.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r): // Cf: direction marks and their like
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return strings.Join(strings.Fields(s), " ")
}

// minBegun is the shortest beginning of a secret worth taking off the end of a
// text that was cut.
const minBegun = 4

// dropBegun takes off the end of s where it is the beginning of a known secret:
// the cap may have cut in the middle of one.
func dropBegun(s string, known []string) string {
	longest := 0
	for _, k := range known {
		for n := min(len(k)-1, len(s)); n >= minBegun && n > longest; n-- {
			if strings.HasSuffix(s, k[:n]) {
				longest = n
			}
		}
	}
	return strings.ToValidUTF8(s[:len(s)-longest], "")
}
