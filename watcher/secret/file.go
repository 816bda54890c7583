package secret

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds what is read of a secret file; none of the secrets we know is
// longer than a few hundred bytes.
const maxFile = 64 << 10

// Source hands out a secret at the moment it is used, so that one which lives
// in a file can be rotated without a restart.
//
// The zero Source is an absent secret.
type Source struct {
	text Text
	path string
}

// Fixed is a secret given directly, for instance by an environment variable.
func Fixed(t Text) Source { return Source{text: t} }

// File is a secret kept in a file, read again at each use.
func File(path string) Source { return Source{path: path} }

// Empty reports whether no secret was configured at all.
func (s Source) Empty() bool { return s.path == "" && s.text.Empty() }

// Path is the file's name, or "" for a fixed secret.
func (s Source) Path() string { return s.path }

// Get returns the secret in force now. Trailing newlines of a file are trimmed.
// The error names the file and never its content.
func (s Source) Get() (Text, error) {
	if s.path == "" {
		return s.text, nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return Text{}, fmt.Errorf("read secret: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Text{}, fmt.Errorf("read secret: %w", err)
	}
	if len(b) > maxFile {
		return Text{}, fmt.Errorf("read secret: %s is larger than %d bytes", s.path, maxFile)
	}
	return New(strings.TrimRight(string(b), "\r\n")), nil
}
