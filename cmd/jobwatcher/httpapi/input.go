package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// maxBody is contract section 4.
	maxBody = 1 << 20
	// readTimeout bounds the sending of one body, or of one part of a stream.
	readTimeout = 30 * time.Second
	// maxQuoted bounds how much of a rejected value an error repeats.
	maxQuoted = 80

	defaultPage = 100
	maxPage     = 1000
	maxCursor   = 512
)

func invalid(field, value, allowed string) error {
	return &job.InvalidError{Field: field, Value: job.Cut(value, maxQuoted), Allowed: allowed}
}

// params reads the query string. One that is not among known is refused: a
// misspelt filter would answer another question than the one that was asked.
func params(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalid("query", r.URL.RawQuery, "a well-formed query string")
	}
	for name := range q {
		if slices.Contains(known, name) {
			continue
		}
		allowed := "no parameter at all"
		if len(known) > 0 {
			allowed = "one of " + strings.Join(known, ", ")
		}
		return nil, &problem{
			Status: http.StatusUnprocessableEntity, Code: codeUnknownField,
			Detail: fmt.Sprintf("there is no parameter %q", job.Cut(name, maxQuoted)),
			Field:  job.Cut(name, maxQuoted), Allowed: allowed,
		}
	}
	return q, nil
}

// single is the value of a parameter that may be given once; "" for none.
func single(q url.Values, name string) (string, error) {
	if len(q[name]) > 1 {
		return "", invalid(name, strings.Join(q[name], ","), "a single value")
	}
	return q.Get(name), nil
}

// words are the values of a parameter that takes several, separated by commas
// or repeated. Empty ones do not restrict.
func words[T ~string](q url.Values, name string, allowed []T) ([]T, error) {
	var all []T
	for _, given := range q[name] {
		for word := range strings.SplitSeq(given, ",") {
			if word = strings.TrimSpace(word); word == "" {
				continue
			}
			if !slices.Contains(allowed, T(word)) {
				return nil, invalid(name, word, "one of "+list(allowed))
			}
			if !slices.Contains(all, T(word)) {
				all = append(all, T(word))
			}
		}
	}
	return all, nil
}

func list[T ~string](all []T) string {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}

// page reads limit and cursor.
func page(q url.Values) (limit int, cursor string, err error) {
	limit = defaultPage
	given, err := single(q, "limit")
	if err != nil {
		return 0, "", err
	}
	if given != "" {
		if limit, err = strconv.Atoi(given); err != nil || limit < 1 || limit > maxPage {
			return 0, "", invalid("limit", given, fmt.Sprintf("a number from 1 to %d", maxPage))
		}
	}
	if cursor, err = single(q, "cursor"); err != nil {
		return 0, "", err
	}
	if len(cursor) > maxCursor {
		return 0, "", invalid("cursor", cursor, "the next_cursor of a page of this list")
	}
	return limit, cursor, nil
}

// since reads a time, or a span that lies back from now; "" is none.
func since(field, text string, now time.Time) (job.Instant, error) {
	if text == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return job.At(now.Add(-d)), nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil && t.UnixMilli() > 0 {
		return job.At(t), nil
	}
	return 0, invalid(field, text, "a span such as 24h or an RFC 3339 time such as 2026-01-31T08:00:00Z")
}

// jobID reads the job's id out of the path.
func jobID(r *http.Request) (job.ID, error) {
	id, err := job.ParseID(r.PathValue("id"))
	if err != nil {
		return job.ID{}, invalidJobID(err)
	}
	return id, nil
}

// invalidJobID is the one fault of a path: 400, as the contract has it.
func invalidJobID(err error) error {
	p := *problemOf(err)
	p.Status, p.Code = http.StatusBadRequest, codeInvalidJobID
	return &p
}

// body reads a whole JSON body within its bounds of size and time. An empty one
// is nil, whatever its type.
func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, &http.MaxBytesError{Limit: maxBody}
	}
	stop := readSoon(w)
	defer stop()
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, malformed("the body broke off, or did not come in time")
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil, nil
	}
	if kind := mediaType(r); kind != "" && kind != "application/json" {
		return nil, unsupported(w, "application/json")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(b, &whole); err != nil {
		return nil, malformed(syntax(err))
	}
	return b, nil
}

// noBody refuses what a call without a body would silently ignore; an empty
// object, which some clients always send, is none.
func noBody(w http.ResponseWriter, r *http.Request) error {
	b, err := body(w, r)
	if err != nil || b == nil {
		return err
	}
	_, err = object(b, "body")
	return err
}

// readSoon gives what is read next a time limit. Stop takes it away, since it
// would end the watch over a caller that goes away as well.
func readSoon(w http.ResponseWriter) (stop func()) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(readTimeout)) // a test's recorder knows none
	return func() { _ = c.SetReadDeadline(time.Time{}) }
}

// mediaType is the body's type without parameters; "" when none is named, which
// a form's is as well: curl -d and many a library say that of any body. (What a
// form of another site sends has been refused before, by its Origin.)
func mediaType(r *http.Request) string {
	given := r.Header.Get("Content-Type")
	if given == "" {
		return ""
	}
	kind, _, err := mime.ParseMediaType(given)
	if err != nil {
		return "invalid"
	}
	if kind == "application/x-www-form-urlencoded" {
		return ""
	}
	return kind
}

func unsupported(w http.ResponseWriter, accepted ...string) error {
	all := strings.Join(accepted, ", ")
	w.Header().Set("Accept", all) // RFC 9110 section 15.5.16
	return &problem{Status: http.StatusUnsupportedMediaType, Code: codeUnsupportedMediaType, Detail: "Content-Type must be " + all}
}

func malformed(detail string) error {
	return &problem{Status: http.StatusBadRequest, Code: codeMalformedJSON, Detail: detail}
}

// syntax says what is wrong with JSON and where, without repeating it.
func syntax(err error) string {
	if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
		return fmt.Sprintf("not JSON, at byte %d: %v", s.Offset, s)
	}
	return "not JSON"
}

// object splits a JSON object into its members; what says which one it is. A
// member that is not among known is refused by name.
func object(raw []byte, what string, known ...string) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
			return nil, malformed(syntax(err))
		}
		return nil, invalid(what, string(raw), "a JSON object")
	}
	for name := range members {
		if slices.Contains(known, name) {
			continue
		}
		allowed := "no field at all"
		if len(known) > 0 {
			allowed = "one of " + strings.Join(known, ", ")
		}
		name = job.Cut(name, maxQuoted)
		return nil, &problem{
			Status: http.StatusUnprocessableEntity, Code: codeUnknownField,
			Detail: fmt.Sprintf("there is no field %q", name), Field: name, Allowed: allowed,
		}
	}
	return members, nil
}

// member decodes one member of an object into v; one that is absent or null
// leaves it alone.
func member(members map[string]json.RawMessage, name, allowed string, v any) error {
	raw := members[name]
	if raw == nil || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return invalid(name, string(raw), allowed)
	}
	return nil
}
