package zuora

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

var compareSecrets = cmp.Comparer(func(a, b secret.Text) bool { return a.Reveal() == b.Reveal() })

func TestGetTellsEverythingZuoraSays(t *testing.T) {
	t.Parallel()
	f := &fake{api: always(200, `{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301",
		"query":"SELECT \"a\"\nFROM Account WHERE balance > 100","useIndexJoin":false,"sourceData":"LIVE","queryStatus":"completed",
		"dataFile":"https://example.s3.us-west-2.amazonaws.com/x.json?X-Amz-Security-Token=abc","outputRows":24516,
		"processingTime":9212,"remainingRetries":3,"retries":3,"updatedOn":"2018-08-17T13:14:19.17Z",
		"createdOn":"2018-08-17T13:14:09.5Z","createdBy":"514f3ea1-6716-4f44-b6e0-9a8f0cf44bd2",
		"somethingNew":{"deep":[1,2,{"x":null}]}},"alsoNew":[true]}`, "Date", "Fri, 17 Aug 2018 13:14:20 GMT")}
	got, err := newFake(t, f).Get(t.Context(), jobID)
	if err != nil {
		t.Fatal(err)
	}
	want := job.Observation{
		ID: jobID, Status: job.Completed, Query: "SELECT \"a\"\nFROM Account WHERE balance > 100", SourceData: "LIVE",
		CreatedBy: "514f3ea1-6716-4f44-b6e0-9a8f0cf44bd2",
		CreatedAt: time.Date(2018, 8, 17, 13, 14, 9, 500e6, time.UTC), UpdatedAt: time.Date(2018, 8, 17, 13, 14, 19, 170e6, time.UTC),
		OutputRows: new(int64(24516)), ProcessingTime: new(9212 * time.Millisecond), RemainingRetries: new(int64(3)),
		DataFile:   secret.New("https://example.s3.us-west-2.amazonaws.com/x.json?X-Amz-Security-Token=abc"),
		ServerTime: time.Date(2018, 8, 17, 13, 14, 20, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got, compareSecrets); diff != "" {
		t.Errorf("observation (-want +got):\n%s", diff)
	}
}

func TestAbsentValuesStayAbsent(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"missing": inProgress,
		"null": `{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301","queryStatus":"in_progress","query":null,"outputRows":null,
			"processingTime":null,"remainingRetries":null,"updatedOn":null,"createdOn":null,"createdBy":null,"dataFile":null,"errorMessage":null}}`,
		"of another type": `{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301","queryStatus":"in_progress","query":7,"outputRows":"many",
			"processingTime":{},"remainingRetries":[3],"updatedOn":17,"createdOn":true,"createdBy":false,"dataFile":0,"sourceData":{"a":"b"},"errorMessage":["x"]}}`,
		"negative or no number": `{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301","queryStatus":"in_progress","outputRows":-1,
			"processingTime":1e300,"remainingRetries":"NaN","updatedOn":"yesterday","createdOn":"2018-08-17T13:14:19.17"}}`,
	} {
		got, err := newFake(t, &fake{api: always(200, body)}).Get(t.Context(), jobID)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(job.Observation{ID: jobID, Status: job.InProgress}, got, compareSecrets); diff != "" {
			t.Errorf("%s: observation (-want +got):\n%s", name, diff)
		}
	}
}

func TestStatusesAreKeptAsTheyCome(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]job.Status{
		`"submitted"`: job.Submitted, `"accepted"`: job.Accepted, `"in_progress"`: job.InProgress, `"completed"`: job.Completed,
		`"failed"`: job.Failed, `"cancelled"`: job.Cancelled, `"canceled"`: job.Cancelled, `"aborted"`: job.Failed,
		`"COMPLETED"`: job.Completed, `" completed "`: job.Completed, `"in\u005fprogress"`: job.InProgress,
		`"paused"`: "paused", `"Paused_By_Admin"`: "Paused_By_Admin", `"pau\nsed"`: "pau sed",
		`"` + strings.Repeat("x", 500) + `"`: job.Status(strings.Repeat("x", 61) + "…"),
	} {
		got, err := decodeJob([]byte(`{"data":{"queryStatus":`+word+`}}`), jobID, jobID.String())
		if err != nil || got.Status != want {
			t.Errorf("%s: got %q, %v, want %q", word, got.Status, err, want)
		}
	}
}

func TestNumbersAreTolerated(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]*int64{
		`0`: new(int64(0)), `24516`: new(int64(24516)), `24516.0`: new(int64(24516)), `1.9`: new(int64(1)), `2e3`: new(int64(2000)),
		`"24516"`: new(int64(24516)), `" 7 "`: new(int64(7)), `9223372036854775807`: new(int64(9223372036854775807)), `-0`: new(int64(0)),
		`999999999999999999`: new(int64(999999999999999999)), `1234567890123456789`: new(int64(1234567890123456789)),
		`-1`: nil, `-0.5`: nil, `9223372036854775808`: nil, `1e300`: nil, `""`: nil, `"many"`: nil, `null`: nil, `true`: nil, `{}`: nil,
		`[1]`: nil, `"NaN"`: nil, `"Inf"`: nil, `"0x10"`: nil, `"1_000"`: nil, `"1.2.3"`: nil, `"e"`: nil, ``: nil,
		`00000000000000000000000000000000001`: nil,
	} {
		if diff := cmp.Diff(want, number([]byte(raw))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
}

func TestTimesWithAnyNumberOfFractionDigits(t *testing.T) {
	t.Parallel()
	at := func(ns int) time.Time { return time.Date(2018, 8, 17, 13, 14, 19, ns, time.UTC) }
	for text, want := range map[string]time.Time{
		"2018-08-17T13:14:19Z": at(0), "2018-08-17T13:14:19.1Z": at(100e6), "2018-08-17T13:14:19.17Z": at(170e6),
		"2018-08-17T13:14:19.204Z": at(204e6), "2018-08-17T13:14:19.2041Z": at(204100e3), "2018-08-17T13:14:19.20415Z": at(204150e3),
		"2018-08-17T13:14:19.204151Z": at(204151e3), "2018-08-17T13:14:19.2041516Z": at(204151600),
		"2018-08-17T13:14:19.20415167Z": at(204151670), "2018-08-17T13:14:19.204151678Z": at(204151678),
		"2018-08-17T15:14:19.17+02:00": at(170e6), "2018-08-17T15:14:19.17+0200": at(170e6), "2018-08-17T13:14:19.204151678999Z": at(204151678),
		"2018-08-17T13:14:19.17": {}, "2018-08-17 13:14:19Z": {}, "2018-08-17": {}, "": {}, "never": {}, "1534511659": {},
		"1970-01-01T00:00:00Z": {}, "0001-01-01T00:00:00Z": {}, "2018-13-17T13:14:19Z": {}, "2018-08-17T13:14:19Zjunk": {},
		strings.Repeat("2", 100): {},
	} {
		if got := instant([]byte(`"` + text + `"`)); !got.Equal(want) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	if got := instant([]byte(`17`)); !got.IsZero() {
		t.Errorf("a number: got %s", got)
	}
}

func TestErrorTextOfAJob(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ fields, want string }{
		"errorMessage":               {`"queryStatus":"failed","errorMessage":"Column x cannot be resolved","message":"m","error":"e"`, "Column x cannot be resolved"},
		"message":                    {`"queryStatus":"failed","message":"m","error":"e"`, "m"},
		"error":                      {`"queryStatus":"failed","errorMessage":"","message":null,"error":"e"`, "e"},
		"of a cancelled job":         {`"queryStatus":"cancelled","message":"m"`, "m"},
		"of an unknown status":       {`"queryStatus":"exploded","message":"m"`, "m"},
		"none":                       {`"queryStatus":"failed"`, ""},
		"a completed job's message":  {`"queryStatus":"completed","message":"ok"`, ""},
		"a completed job's own":      {`"queryStatus":"completed","errorMessage":"partly"`, "partly"},
		"lines are kept":             {`"queryStatus":"failed","errorMessage":"a\n\tb"`, "a\n\tb"},
		"a presigned link is not":    {`"queryStatus":"failed","errorMessage":"PUT https://h.s3/x.json?X-Amz-Signature=canary failed"`, "PUT https://h.s3/x.json?[redacted] failed"},
		"NUL is not, for PostgreSQL": {`"queryStatus":"failed","errorMessage":"a\u0000b"`, "a\ufffdb"},
		"long":                       {`"queryStatus":"failed","errorMessage":"` + strings.Repeat("é", 5000) + `"`, strings.Repeat("é", 2046) + "…"},
		"long and escaped":           {`"queryStatus":"failed","errorMessage":"` + strings.Repeat(`\u0041`, 50_000) + `"`, strings.Repeat("A", 4093) + "…"},
	} {
		got, err := decodeJob([]byte(`{"data":{`+c.fields+`}}`), jobID, jobID.String())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got.Error); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnswersThatAreNoJob(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body   string
		reason job.Reason
		wide   bool
		code   string
	}{
		"empty":                    {``, job.ReasonMalformed, false, ""},
		"a proxy's page":           {`<html><body>Scheduled maintenance</body></html>`, job.ReasonMalformed, false, ""},
		"text":                     {`upstream connect error`, job.ReasonMalformed, false, ""},
		"null":                     {`null`, job.ReasonMalformed, false, ""},
		"an array":                 {`["data"]`, job.ReasonMalformed, false, ""},
		"no data":                  {`{"status":"ok"}`, job.ReasonMalformed, false, ""},
		"data null":                {`{"data":null}`, job.ReasonMalformed, false, ""},
		"data a list":              {`{"data":[{"id":"3a3e85c4-96e7-486b-ae02-827120104301","queryStatus":"completed"}]}`, job.ReasonMalformed, false, ""},
		"data a text":              {`{"data":"completed"}`, job.ReasonMalformed, false, ""},
		"cut short":                {`{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301","queryStatus":"completed"`, job.ReasonMalformed, false, ""},
		"cut in a text":            {`{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301","queryStatus":"comp`, job.ReasonMalformed, false, ""},
		"trailing junk":            {inProgress + `}`, job.ReasonMalformed, false, ""},
		"trailing NUL":             {inProgress + "\x00", job.ReasonMalformed, false, ""},
		"two answers":              {inProgress + inProgress, job.ReasonMalformed, false, ""},
		"another job":              {`{"data":{"id":"00000000-0000-4000-8000-00000000beef","queryStatus":"failed"}}`, job.ReasonMalformed, false, ""},
		"an id that is none":       {`{"data":{"id":"3a3e85c4","queryStatus":"failed"}}`, job.ReasonMalformed, false, ""},
		"an id that is a number":   {`{"data":{"id":7,"queryStatus":"failed"}}`, job.ReasonMalformed, false, ""},
		"no status":                {`{"data":{"id":"3a3e85c4-96e7-486b-ae02-827120104301"}}`, job.ReasonMalformed, false, ""},
		"an empty status":          {`{"data":{"queryStatus":" "}}`, job.ReasonMalformed, false, ""},
		"a status of another kind": {`{"data":{"queryStatus":["completed"]}}`, job.ReasonMalformed, false, ""},
		"nested too deeply":        {`{"data":{"queryStatus":"completed","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}`, job.ReasonMalformed, false, ""},
		"success false":            {`{"success":false,"processId":"CB","reasons":[{"code":53100361,"message":"A temporary problem"}]}`, job.ReasonServer, false, "53100361"},
		"success false with data":  {`{"data":{"queryStatus":"completed"},"success":false}`, job.ReasonServer, false, ""},
		"success as a text":        {`{"data":{"queryStatus":"completed"},"success":"false"}`, job.ReasonServer, false, ""},
		"reasons, string code":     {`{"reasons":[{"code":"53400070","message":"Only two requests"}]}`, job.ReasonRateLimited, true, "53400070"},
		"code and message":         {`{"code":500,"message":"oops"}`, job.ReasonServer, false, "500"},
		"string code":              {`{"code":"500","message":"A temporary problem in the service occurred, you can retry later."}`, job.ReasonServer, false, "500"},
		"sign in first":            {`{"success":false,"reasons":[{"code":90000011,"message":"this resource is protected, please sign in first"}]}`, job.ReasonAuth, true, "90000011"},
		"code of another kind":     {`{"code":{"a":1},"message":["x"],"reasons":{"y":2}}`, job.ReasonServer, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := newFake(t, &fake{api: always(200, c.body)}).Get(t.Context(), jobID)
			e := faultOf(t, err)
			type seen struct {
				Reason job.Reason
				Wide   bool
				Code   string
				Status int
			}
			if diff := cmp.Diff(seen{c.reason, c.wide, c.code, 200}, seen{e.Reason, e.TenantWide, e.Code, e.Status}); diff != "" {
				t.Errorf("error %v (-want +got):\n%s", e, diff)
			}
			if diff := cmp.Diff(job.Observation{}, o, compareSecrets); diff != "" {
				t.Errorf("an observation came with the error:\n%s", diff)
			}
		})
	}
}

func TestAnAnswerWithoutIDIsAboutTheJobAskedFor(t *testing.T) {
	t.Parallel()
	for _, id := range []string{``, `"id":"3a3e85c4-96e7-486b-ae02-827120104301",`, `"id":"3A3E85C4-96E7-486B-AE02-827120104301",`, `"id":"\u0033a3e85c4-96e7-486b-ae02-827120104301",`} {
		o, err := newFake(t, &fake{api: always(200, `{"data":{`+id+`"queryStatus":"completed"}}`)}).Get(t.Context(), jobID)
		if err != nil || o.ID != jobID || o.Status != job.Completed {
			t.Errorf("%s: got %v, %q, %v", id, o.ID, o.Status, err)
		}
	}
}

// A job that names the longest query and still has everything understood.
func TestOneMillionCharactersAreOneJob(t *testing.T) {
	t.Parallel()
	query := strings.Repeat(`\u00e9`, 1_000_000)
	body := `{"data":{"query":"` + query + `","queryStatus":"accepted"}}`
	for _, encoding := range []string{"", "gzip"} {
		sent := body
		if encoding != "" {
			sent = zipped(body)
		}
		f := &fake{api: always(200, sent, "Content-Encoding", encoding)}
		o, err := newFake(t, f).Get(t.Context(), jobID)
		if err != nil {
			t.Fatalf("encoding %q: %v", encoding, err)
		}
		if want := strings.Repeat("é", 1_000_000); o.Query != want || o.Status != job.Accepted {
			t.Errorf("encoding %q: %d bytes of query, status %q", encoding, len(o.Query), o.Status)
		}
	}
}

func TestServerTimeIsAbsentWhenItIsNoTime(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"", "junk", "Thu, 01 Jan 1970 00:00:00 GMT"} {
		f := &fake{api: always(http.StatusOK, inProgress, "Date", date)}
		o, err := newFake(t, f).Get(t.Context(), jobID)
		if err != nil || !o.ServerTime.IsZero() {
			t.Errorf("Date %q: got %s, %v", date, o.ServerTime, err)
		}
	}
}
