package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func target(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := ParseURL(secret.New(text))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func list(known []string) func() []string { return func() []string { return known } }

func TestErrorsOfTheLibraryLoseURLAndSecrets(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{
		context.Canceled,
		syscall.ECONNREFUSED,
		fmt.Errorf("malformed HTTP status code %q", "canarySECRET-9"),
		fmt.Errorf("failed to parse Location header %q", hook),
		&net.DNSError{Err: "no such host", Name: "receiver.example", IsNotFound: true},
		&url.Error{Op: "Post", URL: hook, Err: io.ErrUnexpectedEOF},
	} {
		quoting := fmt.Errorf("send: %w", &url.Error{Op: "Post", URL: hook, Err: cause})
		c := New(Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, quoting })})
		r := request(hook)
		r.Secrets = []string{"canarySECRET-9"}
		_, err := c.Post(t.Context(), r)
		if err == nil {
			t.Fatal("no error")
		}
		encoded, encodeErr := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()).EncodeEntry(zapcore.Entry{}, []zapcore.Field{zap.Error(err)})
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		shown := fmt.Sprintf("%v %+v %#v %s", err, err, err, encoded.String())
		if list, ok := err.(interface{ Unwrap() []error }); ok { // and what it unwraps to
			shown += fmt.Sprintf("%v", errors.Join(list.Unwrap()...))
		}
		for _, canary := range []string{"T0CANARY99", "canaryQUERY", "canarySECRET-9", "/services/"} {
			if strings.Contains(shown, canary) {
				t.Errorf("%v: %s", cause, shown)
			}
		}
	}
}

func TestErrorsKeepWhatAnOperatorNeeds(t *testing.T) {
	t.Parallel()
	fail := func(err error) error {
		c := New(Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })})
		_, got := c.Post(t.Context(), request(hook))
		return got
	}
	got := []string{
		fail(&net.DNSError{Err: "no such host", Name: "receiver.example", IsNotFound: true}).Error(),
		fail(&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 443}, Err: syscall.ECONNREFUSED}).Error(),
	}
	want := []string{"lookup receiver.example: no such host", "dial tcp 8.8.8.8:443: connection refused"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
	if err := fail(syscall.ECONNREFUSED); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v lost its cause", err)
	}
	if err := fail(&net.DNSError{Err: "i/o timeout", IsTimeout: true}); !isTimeout(err) {
		t.Errorf("%v is no timeout any more", err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestAnswersAreCleaned(t *testing.T) {
	t.Parallel()
	known := knownSecrets(target(t, "https://user:pa55word@h.example/services/T0CANARY99/hooks?sig=canaryQUERY&x=1"),
		[]string{"whsec_bm90IHJlYWxseQ==", "SELECT a\n  FROM \"b\" WHERE c < 'd'", "x"})
	for in, want := range map[string]string{
		"":                                "",
		"ok":                              "ok",
		" a\r\n\tb\x00c\x1b[31m \u202ed ": "a bc[31m d",
		"bad \xff\xfe bytes":              "bad � bytes",
		"no hook /services/T0CANARY99/hooks here":                 "no hook [redacted] here",
		"no hook T0CANARY99 here":                                 "no hook [redacted] here",
		"T0CANA\x00RY99":                                          "[redacted]",
		`{"url":"https:\/\/h.example\/services\/T0CANARY99"}`:     `{"url":"https://h.example/[redacted]"}`,
		"sig=canaryQUERY":                                         "sig=[redacted]",
		"pa55word":                                                "[redacted]",
		"webhook not found, services are fine":                    "webhook not found, services are fine",
		"see https://docs.example/x?a=b and https://docs.example": "see https://docs.example/[redacted] and https://docs.example",
		"at hooks.slack.com/services/T1/B2/xyz":                   "at [redacted]",
		"Authorization: Bearer abcdefgh.ijk":                      "Authorization: [redacted]",
		"key whsec_AAAA/BBBB+CC= and xoxb-1-2-abc":                "key [redacted] and [redacted]",
		"you said SELECT a\n  FROM \"b\" WHERE c < 'd'!":          "you said [redacted]!",
		`{"query":"SELECT a\n  FROM \"b\" WHERE c < 'd'"}`:        `{"query":"[redacted]"}`,
		`{"query":"SELECT a\n  FROM \"b\" WHERE c \u003c 'd'"}`:   `{"query":"[redacted]"}`,
	} {
		if got := cleanHead([]byte(in), true, list(known)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestASecretCutByTheCapIsDropped(t *testing.T) {
	t.Parallel()
	known := []string{"canarySECRETcanary", "SECRETother"}
	for in, want := range map[string]string{
		"echo: canarySECRET":       "echo:",
		"echo: canarySECRETcanary": "echo: [redacted]",
		"echo: cana":               "echo:",
		"echo: can":                "echo: can", // too short to tell
		"é canarySE":               "é",
	} {
		if got := strings.TrimSpace(cleanHead([]byte(in), false, list(known))); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestEchoAcrossTheCapShowsNoSecret(t *testing.T) {
	t.Parallel()
	long := "SELECT " + strings.Repeat("column_name, ", 1000) + "canary"
	r := notifytest.Always(notifytest.Step{Status: 400, Echo: true})
	req := request(hook)
	req.Body, req.Secrets = []byte(long), []string{long}
	a, err := New(Options{Transport: notifytest.InProcess(r)}).Post(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(a.Head, "SELECT") || strings.Contains(a.Head, "T0CANARY99") {
		t.Errorf("got %q", a.Head)
	}
}

func FuzzAnswersAreShortPrintableAndFreeOfSecrets(f *testing.F) {
	for _, s := range []string{"ok", "T0CANARY99", "\xff\x00T0CANARY99", "T0CAN\x07ARY99", "https:\\/\\/h.example\\/T0CANARY99", strings.Repeat("é", 3000), "T0CANAT0CANARY99RY99"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	known := knownSecrets(target(f, hook), nil)
	f.Fuzz(func(t *testing.T, body []byte, whole bool) {
		got := cleanHead(body, whole, list(known))
		if !utf8.ValidString(got) || len(got) > maxKept {
			t.Errorf("%q is not valid or too long: %d bytes", got, len(got))
		}
		if strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q holds control characters", got)
		}
		if strings.Contains(got, "T0CANARY99") || strings.Contains(got, "canaryQUERY") {
			t.Errorf("%q holds a secret", got)
		}
	})
}
