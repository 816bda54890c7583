package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// auth says who may do what.
//
//   - With a token configured, a caller shows one: the write token does
//     everything, the read token only reads. Where there is only a read token,
//     nobody writes, this machine included.
//   - Without any, only this machine is answered, and it may do everything. A
//     proxy on this machine is not this machine: its caller may be anybody.
//   - A page in a browser on this machine is not this machine either. One that
//     got a name of its own to resolve to 127.0.0.1 (DNS rebinding) is told by
//     its Host header; one that merely sends us requests, by Origin and
//     Sec-Fetch-Site.
type auth struct {
	write, read secret.Source
	hosts       map[string]bool
	origins     *http.CrossOriginProtection
}

// The names under which the audit log speaks of callers.
const (
	byWriteToken = "write token"
	byReadToken  = "read token"
	byLoopback   = "loopback"
)

// access is what a caller may do, for clients that show only what may be done:
// "read" or "write".
func access(who string) string {
	if who == byReadToken {
		return "read"
	}
	return "write"
}

func newAuth(write, read secret.Source, hosts []string) auth {
	a := auth{write: write, read: read, hosts: map[string]bool{"localhost": true}, origins: http.NewCrossOriginProtection()}
	for _, h := range hosts {
		a.hosts[strings.ToLower(h)] = true
	}
	return a
}

// check says who calls, or why he is refused.
func (a *auth) check(r *http.Request) (who string, err error) {
	if err := a.origins.Check(r); err != nil {
		return "", forbidden("this change was asked for by a page of another site")
	}
	if a.write.Empty() && a.read.Empty() {
		return byLoopback, a.local(r)
	}
	shown, ok := presented(r)
	if !ok {
		return "", unauthorized("a token is needed: Authorization: Bearer, or Basic with the token as password")
	}
	// Both are always compared, so that time does not tell which one it was.
	isWrite, err := matches(a.write, shown)
	if err != nil {
		return "", err
	}
	isRead, err := matches(a.read, shown)
	if err != nil {
		return "", err
	}
	switch {
	case isWrite:
		return byWriteToken, nil
	case !isRead:
		return "", unauthorized("this token is not known here")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return "", forbidden("the read token may not change anything")
	}
	return byReadToken, nil
}

// matches compares in constant time. Hashing makes both sides equally long, so
// that not even the length shows. An empty secret matches nothing.
func matches(s secret.Source, shown [sha256.Size]byte) (bool, error) {
	t, err := s.Get()
	if err != nil {
		return false, fmt.Errorf("check the API token: %w", err)
	}
	want := sha256.Sum256([]byte(t.Reveal()))
	return subtle.ConstantTimeCompare(want[:], shown[:]) == 1 && !t.Empty(), nil
}

// presented is the hash of the token that a request shows: a bearer token, or
// the password of Basic with any user name, which is what a browser can send.
func presented(r *http.Request) (hash [sha256.Size]byte, ok bool) {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer") && rest != "":
		return sha256.Sum256([]byte(rest)), true
	case strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return hash, false
		}
		_, password, _ := strings.Cut(string(b), ":")
		return sha256.Sum256([]byte(password)), password != ""
	}
	return hash, false
}

// local refuses everybody but this machine.
func (a *auth) local(r *http.Request) error {
	const way = "; without a token only this machine is answered: set JOBWATCHER_API_TOKEN"
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return forbidden("you do not call from this machine" + way)
	}
	for name := range r.Header {
		if name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			return forbidden("you call through a proxy" + way)
		}
	}
	if !a.knownHost(r.Host) {
		return forbidden("you call this machine by a name that is not its own" + way)
	}
	return nil
}

// knownHost reports whether a Host header is a name of this machine.
func (a *auth) knownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback() || a.hosts[host]
	}
	return a.hosts[strings.TrimSuffix(host, ".")]
}

func forbidden(detail string) error {
	return &problem{Status: http.StatusForbidden, Code: codeForbidden, Detail: detail}
}

func unauthorized(detail string) error {
	return &problem{Status: http.StatusUnauthorized, Code: codeUnauthorized, Detail: detail}
}
