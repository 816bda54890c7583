package webhook

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// jobData is an event's data.
type jobData struct {
	Job job.View `json:"job"`
}

func body(t testing.TB, o job.Outgoing, x Extras) []byte {
	t.Helper()
	b, err := Body(o, x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBodyIsAsTheContractShowsIt(t *testing.T) {
	t.Parallel()
	for file, x := range map[string]Extras{
		"testdata/completed.json":      {},
		"testdata/completed_all.json":  {Query: true, DataFile: true},
		"testdata/completed_file.json": {DataFile: true},
	} {
		var b bytes.Buffer
		if err := json.Indent(&b, body(t, notifytest.Sample(job.EventCompleted), x), "", "  "); err != nil {
			t.Fatal(err)
		}
		b.WriteByte('\n')
		golden(t, file, b.Bytes())
	}
}

func TestEveryBodyIsAValidCloudEventAndStandardWebhook(t *testing.T) {
	t.Parallel()
	for _, kind := range notifytest.SampleTypes() {
		for _, x := range []Extras{{}, {Query: true, DataFile: true}} {
			o := notifytest.Sample(kind)
			raw := body(t, o, x)
			var e cloudevents.Event
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if err := e.Validate(); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			got := []any{e.SpecVersion(), e.ID(), e.Source(), e.Type(), e.Subject(), e.DataContentType(), e.Time(), len(e.Extensions())}
			want := []any{"1.0", o.Event.ID, "/jobwatcher/rest.zuora.com", string(kind), o.Event.Subject, "application/json", o.Event.Time.Time(), 1}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("%s: %s", kind, diff)
			}
			// Standard Webhooks, "Webhook payload": type, timestamp in ISO 8601, data.
			var payload struct {
				Type      string          `json:"type"`
				Timestamp time.Time       `json:"timestamp"`
				Data      json.RawMessage `json:"data"`
			}
			if err := json.Unmarshal(raw, &payload); err != nil || payload.Type != string(kind) || !payload.Timestamp.Equal(o.Event.Time.Time()) || len(payload.Data) == 0 {
				t.Errorf("%s: got %+v, %v", kind, payload, err)
			}
		}
	}
}

func TestQueryAndResultLinkLeaveOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	o := notifytest.Sample(job.EventCompleted)
	for _, c := range []struct {
		x           Extras
		query, file bool
	}{{Extras{}, false, false}, {Extras{Query: true}, true, false}, {Extras{DataFile: true}, false, true}, {Extras{Query: true, DataFile: true}, true, true}} {
		raw := body(t, o, c.x)
		if got := bytes.Contains(raw, []byte("canary-query")); got != c.query {
			t.Errorf("%+v: query there: %v", c.x, got)
		}
		if got := bytes.Contains(raw, []byte("canary-signature")); got != c.file {
			t.Errorf("%+v: result link there: %v", c.x, got)
		}
		var e struct {
			Data jobData `json:"data"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatal(err)
		}
		if c.query && (e.Data.Job.Query == nil || *e.Data.Job.Query != notifytest.CanaryQuery) {
			t.Errorf("%+v: got query %v", c.x, e.Data.Job.Query)
		}
		if c.file && e.Data.Job.DataFile != notifytest.CanaryDataFile {
			t.Errorf("%+v: got data_file %q", c.x, e.Data.Job.DataFile)
		}
		if e.Data.Job.ID != notifytest.SampleID || *e.Data.Job.OutputRows != 24516 {
			t.Errorf("%+v: the rest was lost: %+v", c.x, e.Data.Job)
		}
	}
}

func TestBodyIsTheSameAtEachAttempt(t *testing.T) {
	t.Parallel()
	first := body(t, notifytest.Sample(job.EventCompleted), Extras{Query: true, DataFile: true})
	for range 20 {
		o := notifytest.Sample(job.EventCompleted)
		o.Tries, o.State, o.NextAttemptAt = 7, job.DeliveryPending, 12345
		if diff := cmp.Diff(string(body(t, o, Extras{Query: true, DataFile: true})), string(first)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestExtrasJoinWhateverDataThereIs(t *testing.T) {
	t.Parallel()
	o := job.Outgoing{Query: `a "q" <b>`, DataFile: secret.New("https://x/?a&b")}
	both := Extras{Query: true, DataFile: true}
	for data, want := range map[string]string{
		"":                            `{}`,
		"{}":                          `{}`,
		`{"x":{},"job":{}}`:           `{"x":{},"job":{"data_file":"https://x/?a\u0026b","query":"a \"q\" \u003cb\u003e"}}`,
		`{"job":{"id":1},"after":[]}`: `{"job":{"id":1,"data_file":"https://x/?a\u0026b","query":"a \"q\" \u003cb\u003e"},"after":[]}`,
		`{"job":{"query":"old"}}`:     `{"job":{"query":"old","data_file":"https://x/?a\u0026b"}}`,
		`{"job":null}`:                `{"job":null}`,
		`{"job":[1]}`:                 `{"job":[1]}`,
	} {
		o.Event.Data = json.RawMessage(data)
		got, err := withExtras(o, both)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", data, got, err, want)
		}
	}
	for _, data := range []string{"[", "[]", "1", `{"job":`, `{"job":{}`, "junk"} {
		o.Event.Data = json.RawMessage(data)
		if b, err := Body(o, both); err == nil {
			t.Errorf("%q became %s", data, b)
		}
	}
}

func TestTenantIsEscapedInTheSource(t *testing.T) {
	t.Parallel()
	o := notifytest.Sample(job.EventTest)
	o.Event.Tenant = "a b/c?d#é"
	var e cloudevents.Event
	if err := json.Unmarshal(body(t, o, Extras{}), &e); err != nil || e.Validate() != nil {
		t.Fatal(err, e.Validate())
	}
	if got, want := e.Source(), "/jobwatcher/a%20b%2Fc%3Fd%23%C3%A9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnEventWithoutATimeOfItsOwnHasThatOfItsCreation(t *testing.T) {
	t.Parallel()
	o := notifytest.Sample(job.EventTest)
	o.Event.Time = 0
	if got := string(body(t, o, Extras{})); !strings.Contains(got, `"time":"2026-03-14T09:26:54.001Z","timestamp":"2026-03-14T09:26:54.001Z"`) {
		t.Error(got)
	}
}

func FuzzBodyIsValidWhateverTheQuery(f *testing.F) {
	for _, s := range []string{"", "SELECT 1", "\x00\xff\"\\", "</script>\u2028", strings.Repeat("é", 1000)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, query, file string) {
		o := notifytest.Sample(job.EventCompleted)
		o.Query, o.DataFile = query, secret.New(file)
		var e cloudevents.Event
		if err := json.Unmarshal(body(t, o, Extras{Query: true, DataFile: true}), &e); err != nil {
			t.Fatal(err)
		}
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		var data jobData
		if err := json.Unmarshal(e.Data(), &data); err != nil {
			t.Fatal(err)
		}
		if query != "" && *data.Job.Query != strings.ToValidUTF8(query, "\uFFFD") && !strings.ContainsRune(query, '\uFFFD') {
			if diff := cmp.Diff([]rune(*data.Job.Query), []rune(query)); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func TestEventThatGoesOutLateSaysHowLate(t *testing.T) {
	t.Parallel()
	for _, kind := range notifytest.SampleTypes() {
		out := notifytest.Sample(kind)
		body, err := Body(out, Extras{Query: true, Late: 2*time.Hour + 300*time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Data struct {
				Late  *int64 `json:"late_seconds"`
				Query string `json:"query"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body, &got); err != nil || got.Data.Late == nil || *got.Data.Late != 7200 {
			t.Errorf("%s: %v in %s", kind, err, body)
		}
		if body, err = Body(out, Extras{}); err != nil || strings.Contains(string(body), "late_seconds") {
			t.Errorf("%s in time: %v in %s", kind, err, body)
		}
	}
}
