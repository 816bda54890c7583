package job

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// The conditions that callers branch on. Every layer wraps them; nobody
// compares texts.
var (
	// ErrNotFound: there is no such job, delivery or destination.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the row is no longer what the caller believed it was.
	ErrConflict = errors.New("conflict")
	// ErrOwnerLost: the replica's claim has ended; it may commit nothing more.
	ErrOwnerLost = errors.New("ownership lost")
	// ErrInvalid: the input is at fault; the text says which field, what it
	// held and what is allowed.
	ErrInvalid = errors.New("invalid")
	// ErrDraining: the daemon is stopping and takes nothing new.
	ErrDraining = errors.New("draining")
)

// InvalidError is an [ErrInvalid] that names the field at fault.
type InvalidError struct {
	Field   string // as the caller spells it, for instance labels["team"]
	Value   string // what was given, cut to a printable length
	Allowed string // what would have been accepted
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%s: %q is not %s", e.Field, e.Value, e.Allowed)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// maxQuoted bounds how much of a rejected value an error repeats.
const maxQuoted = 80

func invalid(field, value, allowed string) error {
	return &InvalidError{Field: field, Value: Cut(value, maxQuoted), Allowed: allowed}
}

// Cut shortens s to at most n bytes, the last of them an ellipsis, without
// splitting a character. Invalid UTF-8 is replaced.
func Cut(s string, n int) string {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	if len(s) <= n {
		return s
	}
	const ellipsis = "…"
	if n < len(ellipsis) {
		return ""
	}
	end := n - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}
