// Package secret keeps texts that must never be printed: tokens, client
// secrets, webhook URLs and signing keys. Everything that formats, marshals or
// logs a [Text] sees "[redacted]"; the only way out is [Text.Reveal].
//
// Reading order: secret.go (the text), file.go (a secret that is read when it
// is used, so that its file can be rotated).
package secret

import (
	"crypto/subtle"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a secret. Its zero value is an absent secret.
//
// It is a struct and not a string type, so that a conversion such as string(t)
// does not compile; and it holds a pointer, because fmt prints the unexported
// fields of a foreign struct without asking their methods, but does not follow
// pointers there.
type Text struct{ p *string }

// New wraps s.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{p: &s}
}

// Reveal returns the secret itself. A linter rule lists who may call it.
func (t Text) Reveal() string {
	if t.p == nil {
		return ""
	}
	return *t.p
}

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.p == nil }

// String implements [fmt.Stringer]; it never reveals.
func (t Text) String() string {
	if t.p == nil {
		return ""
	}
	return redacted
}

// GoString implements [fmt.GoStringer], for %#v.
func (t Text) GoString() string { return t.String() }

// MarshalText implements [encoding.TextMarshaler]: JSON, YAML and zap.Any.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// LogValue implements [slog.LogValuer], for libraries that log through slog.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// UnmarshalText takes any text, so that a decoder never has a reason to print
// the value it rejected; checks happen later and without printing.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(string(b))
	return nil
}

// Equal compares in constant time, and lets tests compare structs that hold one.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other.Reveal())) == 1
}
