package job

import (
	"hash/fnv"
	"strings"
	"unicode"
)

// Shape names what queries have in common that are alike but for their values:
// a fingerprint of the SQL text, normalised, and of where it runs. Zero when
// the text is not known. It tells nothing about the text to somebody who does
// not have it.
type Shape int64

// ShapeOf fingerprints a query. Two texts have one shape when they differ only
// in white space, comments, letter case outside of quoted names, literals
// (numbers, strings, and how many of them a list has), and a closing semicolon.
func ShapeOf(query, sourceData string) Shape {
	if strings.TrimSpace(query) == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(strings.ToUpper(sourceData) + "\x00")) // a hash never fails
	var last string
	for rest := query; rest != ""; {
		var word string
		word, rest = sqlWord(rest)
		// A list of literals counts as one: "?" swallows what follows ", ".
		if word == "" || word == ";" || word == "?" && last == "?," {
			if word == "?" {
				last = "?"
			}
			continue
		}
		if word == "," && last == "?" {
			last = "?,"
			continue
		}
		if last == "?," {
			_, _ = h.Write([]byte(",\x00"))
		}
		_, _ = h.Write([]byte(word + "\x00"))
		last = word
	}
	if sum := Shape(h.Sum64()); sum != 0 {
		return sum
	}
	return 1
}

// sqlWord is the first word of a text and what follows it: "" for white space
// and comments, "?" for a literal. It takes any text, and always takes some of it.
func sqlWord(s string) (word, rest string) {
	switch c := s[0]; {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		return "", strings.TrimLeft(s, " \t\r\n")
	case strings.HasPrefix(s, "--"):
		_, rest, _ = strings.Cut(s, "\n")
		return "", rest
	case strings.HasPrefix(s, "/*"):
		_, rest, _ = strings.Cut(s[2:], "*/")
		return "", rest
	case c == '\'':
		return "?", s[quoted(s, '\''):]
	case c == '"' || c == '`':
		n := quoted(s, c)
		return s[:n], s[n:]
	case c >= '0' && c <= '9':
		n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '_' })
		if n < 0 {
			n = len(s)
		}
		return "?", s[n:]
	}
	n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '$' })
	switch {
	case n < 0:
		n = len(s)
	case n == 0:
		n = 1
		for n < len(s) && s[n]&0xC0 == 0x80 { // the rest of a character
			n++
		}
	}
	return strings.ToLower(s[:n]), s[n:]
}

// quoted is the length of a quoted text at the start of s; a doubled quote is
// part of it, and one that never ends goes to the end.
func quoted(s string, quote byte) int {
	for i := 1; i < len(s); i++ {
		if s[i] != quote {
			continue
		}
		if i+1 < len(s) && s[i+1] == quote {
			i++
			continue
		}
		return i + 1
	}
	return len(s)
}
