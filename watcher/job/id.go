package job

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// ID names a Zuora Data Query job: a UUID in its 36-character form.
//
// It is kept as 16 bytes so that a million watched jobs cost no pointers.
type ID [16]byte

const idLength = 36

// ParseID reads the 36-character form, in either case. Any other spelling of a
// UUID (braces, urn, no dashes) is refused: Zuora uses none of them.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != idLength || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, invalid("id", s, "a 36-character UUID such as 3a3e85c4-96e7-486b-ae02-827120104301")
	}
	src := make([]byte, 0, 32)
	for _, part := range []string{s[:8], s[9:13], s[14:18], s[19:23], s[24:]} {
		src = append(src, part...)
	}
	if _, err := hex.Decode(id[:], src); err != nil {
		return ID{}, invalid("id", s, "a 36-character UUID such as 3a3e85c4-96e7-486b-ae02-827120104301")
	}
	return id, nil
}

// MustParseID is ParseID for constants and tests; it panics on a bad one.
func MustParseID(s string) ID {
	id, err := ParseID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// String is the canonical lower-case form.
func (id ID) String() string {
	b := make([]byte, idLength)
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:], id[10:])
	return string(b)
}

// Compare orders ids as their canonical texts are ordered.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *ID) UnmarshalText(b []byte) error {
	parsed, err := ParseID(string(b))
	if err != nil {
		return fmt.Errorf("decode job id: %w", err)
	}
	*id = parsed
	return nil
}
