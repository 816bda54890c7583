package zuora

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestUnquote(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`""`: "", `"a"`: "a", `"é😀"`: "é😀", `"a\"b\\c\/d\b\f\n\r\t"`: "a\"b\\c/d\b\f\n\r\t", `"\u00e9\u20AC"`: "é€",
		`"\ud83d\ude00"`: "😀", `"\ud83d"`: "\ufffd", `"\ud83dx"`: "\ufffdx", `"\ude00\ud83d"`: "\ufffd\ufffd", `"\ud83d\u0041"`: "\ufffdA",
		`"\u0000"`: "\ufffd", "\"\x00\"": "\ufffd", "\"\xff\"": "\ufffd", "\"a\nb\"": "a\nb",
		`"\x"`: "\ufffdx", `"\u12"`: "\ufffdu12", `"\u12g4"`: "\ufffdu12g4", `"\"`: "\ufffd",
		`7`: "", `null`: "", `{}`: "", ``: "", `"`: "",
	} {
		if got := unquote([]byte(raw), 100); got != want {
			t.Errorf("%s: got %q, want %q", raw, got, want)
		}
	}
}

func TestScannerIsStrictAboutStructure(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		``, `{`, `}`, `{]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{"a":1]`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a":[}`, `{"a":"`, `{"a":"\"}`,
		`{"a":tru}`, `{"a":nul}`, `{"a":True}`, `{"a":-}x`, `{"a":'b'}`, `{a:1}`, `{"a":1}}`, `{"a":1}{`, `{"a":.5}`, `[1]`, `"a"`, `1`,
	} {
		var w wireJob
		if w.element([]byte(s)) {
			t.Errorf("%s was taken for a job", s)
		}
	}
	for _, s := range []string{`{}`, ` { } `, `{"a":1}`, `{"a":[],"b":{},"c":[1,[2,{"d":null}]],"e":true,"f":false,"g":-1.5E+3,"h":"\\"}`} {
		var w wireJob
		if !w.element([]byte(s)) {
			t.Errorf("%s was not taken", s)
		}
	}
}

func TestALaterValueWins(t *testing.T) {
	t.Parallel()
	o, err := decodeJob([]byte(`{"data":{"queryStatus":"failed","query":"a"},"data":{"queryStatus":"accepted","queryStatus":"completed"}}`), jobID, jobID.String())
	if err != nil || o.Status != job.Completed || o.Query != "" {
		t.Errorf("got %q, %q, %v", o.Status, o.Query, err)
	}
}

func TestAnObservationSharesNoMemoryWithTheAnswer(t *testing.T) {
	t.Parallel()
	b := []byte(`{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301","queryStatus":"odd","query":"SELECT 1","sourceData":"DATAHUB",` +
		`"createdBy":"me","dataFile":"https://x","errorMessage":"why"}}`)
	o, err := decodeJob(b, jobID, jobID.String())
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = '!'
	}
	got := []string{string(o.Status), o.Query, o.SourceData, o.CreatedBy, o.DataFile.Reveal(), o.Error}
	if diff := cmp.Diff([]string{"odd", "SELECT 1", "DATAHUB", "me", "https://x", "why"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// slow is the same job by way of encoding/json.
func slow(b []byte) (fields map[string]json.RawMessage, ok bool) {
	var answer map[string]json.RawMessage
	if json.Unmarshal(b, &answer) != nil {
		return nil, false
	}
	data := bytes.TrimSpace(answer["data"])
	if len(data) == 0 || data[0] != '{' || json.Unmarshal(data, &fields) != nil {
		return nil, false
	}
	return fields, true
}

// FuzzJob holds the scanner to encoding/json: what that takes for a job, we
// understand the same; whatever else comes, we come back without one or with
// one that is fit to be stored.
func FuzzJob(f *testing.F) {
	for _, s := range []string{
		inProgress, `{"data":{"queryStatus":"completed","outputRows":24516,"processingTime":"9212","updatedOn":"2018-08-17T13:14:19.17Z","query":"\u00e9\n"}}`,
		`{"data":{"queryStatus":"failed","errorMessage":"x\ud83d\ude00"},"success":true}`, `{"success":false,"reasons":[{"code":1}]}`, `{"data":[1]}`, `{"data":{"queryStatus":"a","x":[[{}]]}}`,
		`{"data":{"queryStatus":"\u0000\ud800"}}`, `{"data":{"id":7,"queryStatus":"x"}}`, `[`, ``, `{"data":{"queryStatus":"completed"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeJob(b, jobID, jobID.String())
		if err != nil {
			if e, ok := errors1(err); !ok || e.Reason == "" || len(e.Error()) > 1000 || !utf8.ValidString(e.Error()) {
				t.Errorf("error %q", err)
			}
		} else {
			fit(t, &o)
		}
		fields, ok := slow(b)
		if !ok || bytes.Count(b, []byte("data")) > 1 || bytes.Contains(b, []byte("success")) || deep(b) {
			return
		}
		var w wireJob
		if found, _, whole := w.answer(b); !found || !whole {
			t.Fatalf("encoding/json reads a job in %q, we do not", b)
		}
		for key, want := range fields {
			place := w.field([]byte(key))
			if place == nil {
				continue
			}
			var text string
			if json.Unmarshal(want, &text) != nil || want[0] != '"' {
				continue
			}
			text = strings.ReplaceAll(text, "\x00", "\ufffd")
			if got := unquote(*place, maxJobBytes); got != text {
				t.Errorf("%s: got %q, want %q", key, got, text)
			}
		}
	})
}

func deep(b []byte) bool { return bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > maxDepth }

func errors1(err error) (*Error, bool) {
	e, ok := err.(*Error) //nolint:errorlint // it must be that very type
	return e, ok
}

// fit checks what the store and everybody behind it relies on.
func fit(t *testing.T, o *job.Observation) {
	t.Helper()
	for name, s := range map[string]string{
		"status": string(o.Status), "query": o.Query, "source": o.SourceData, "creator": o.CreatedBy, "link": o.DataFile.Reveal(), "error": o.Error,
	} {
		if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
			t.Errorf("%s is no text for a database: %q", name, s)
		}
	}
	if o.Status == job.Unseen || len(o.Status) > 64 || len(o.SourceData) > maxWord || len(o.CreatedBy) > maxWord || len(o.Error) > maxError {
		t.Errorf("status %q, or something too long", o.Status)
	}
	for _, n := range []*int64{o.OutputRows, o.RemainingRetries, (*int64)(o.ProcessingTime)} {
		if n != nil && *n < 0 {
			t.Errorf("negative: %d", *n)
		}
	}
	for _, at := range []int{o.CreatedAt.Year(), o.UpdatedAt.Year()} {
		if at != 1 && (at < 2000 || at > 9999) {
			t.Errorf("year %d", at)
		}
	}
}
