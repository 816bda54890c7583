package zuora

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON in one pass and without building anything: a look that
// finds nothing new is what the daemon does all day, and most of its bytes are a
// query text that is only copied. encoding/json would go over them three times.
//
// It is strict about structure, so that an answer that was cut short is never
// taken for a whole one, and lenient inside texts (raw control characters,
// unknown escapes), where a sloppy server does no harm.
type scanner struct {
	b []byte
	i int
}

// maxDepth bounds nesting; a job has a depth of two.
const maxDepth = 64

// next is the next byte that is no white space, without taking it; 0 at the end.
func (s *scanner) next() byte {
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// take takes the next byte if it is c.
func (s *scanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.i++
	return true
}

// text takes a text, quotes included.
func (s *scanner) text() (raw []byte, ok bool) {
	b := s.b[s.i:]
	for from := 1; ; {
		n := bytes.IndexByte(b[min(from, len(b)):], '"')
		if n < 0 {
			return nil, false
		}
		end := from + n
		back := end
		for b[back-1] == '\\' {
			back--
		}
		if (end-back)%2 == 0 { // not escaped
			s.i += end + 1
			return b[:end+1], true
		}
		from = end + 1
	}
}

// value takes any value and returns it as it stands.
func (s *scanner) value(depth int) (raw []byte, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	switch s.next() {
	case '"':
		return s.text()
	case '{':
		from := s.i
		ok = s.object(func([]byte) bool {
			_, ok := s.value(depth + 1)
			return ok
		})
		return s.b[from:s.i], ok
	case '[':
		from := s.i
		ok = s.array(depth)
		return s.b[from:s.i], ok
	default:
		return s.word()
	}
}

// object takes an object; field must take the value of each key.
func (s *scanner) object(field func(key []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		if s.next() != '"' {
			return false
		}
		raw, ok := s.text()
		if !ok || !s.take(':') {
			return false
		}
		key := raw[1 : len(raw)-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = []byte(unescape(key))
		}
		if !field(key) {
			return false
		}
		switch {
		case s.take(','):
		case s.take('}'):
			return true
		default:
			return false
		}
	}
}

func (s *scanner) array(depth int) bool {
	if !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		if _, ok := s.value(depth + 1); !ok {
			return false
		}
		switch {
		case s.take(','):
		case s.take(']'):
			return true
		default:
			return false
		}
	}
}

// word takes a number, true, false or null.
func (s *scanner) word() (raw []byte, ok bool) {
	from := s.i
	for ; s.i < len(s.b); s.i++ {
		c := s.b[s.i]
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '-' || c == '+' || c == '.' || c == 'E' {
			continue
		}
		break
	}
	raw = s.b[from:s.i]
	if len(raw) == 0 {
		return nil, false
	}
	if c := raw[0]; c == '-' || c >= '0' && c <= '9' {
		return raw, true
	}
	switch string(raw) {
	case "true", "false", "null":
		return raw, true
	}
	return nil, false
}

// unquote is the content of a text that stands in raw, cut to about limit bytes
// before it is copied; "" when raw is no text. It never holds a NUL, which
// PostgreSQL refuses, nor anything that is not UTF-8: U+FFFD stands there
// instead. It does not share memory with raw.
func unquote(raw []byte, limit int) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	raw = raw[1 : len(raw)-1]
	// Six bytes make one character at most where they are escaped.
	if most := 6 * (limit + utf8.UTFMax); len(raw) > most {
		raw = raw[:most]
	}
	if bytes.IndexByte(raw, '\\') < 0 && bytes.IndexByte(raw, 0) < 0 && utf8.Valid(raw) {
		return string(raw)
	}
	return unescape(raw)
}

// escapes are the two-character ones.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func unescape(raw []byte) string {
	var out strings.Builder
	out.Grow(len(raw))
	for len(raw) > 0 {
		// As far as there is nothing to translate, as it is.
		if n := plain(raw); n > 0 {
			out.Write(raw[:n])
			raw = raw[n:]
			continue
		}
		r, size := utf8.DecodeRune(raw)
		if raw[0] == '\\' {
			r, size = escaped(raw)
		}
		if r == 0 {
			r = utf8.RuneError
		}
		out.WriteRune(r)
		raw = raw[size:]
	}
	return out.String()
}

// plain is how many leading bytes mean themselves.
func plain(raw []byte) int {
	for i, c := range raw {
		if c == '\\' || c == 0 || c >= utf8.RuneSelf {
			return i
		}
	}
	return len(raw)
}

// escaped reads one escape; what is none counts as one bad character.
func escaped(raw []byte) (r rune, size int) {
	if len(raw) < 2 {
		return utf8.RuneError, len(raw)
	}
	if c := escapes[raw[1]]; c != 0 {
		return rune(c), 2
	}
	r, ok := hex4(raw)
	if !ok {
		return utf8.RuneError, 1
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if second, ok := hex4(raw[6:]); ok {
		if both := utf16.DecodeRune(r, second); both != utf8.RuneError {
			return both, 12
		}
	}
	return utf8.RuneError, 6
}

// hex4 reads \u and four digits.
func hex4(raw []byte) (r rune, ok bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	for _, c := range raw[2:6] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c - 'a' + 10)
		case c >= 'A' && c <= 'F':
			r |= rune(c - 'A' + 10)
		default:
			return 0, false
		}
	}
	return r, true
}
