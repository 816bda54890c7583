package zuorasim

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

var sampleID = job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104301")

// TestAnswersAreTheOfficialSamples compares whole bodies with the examples of
// the published document and of the fact sheet.
func TestAnswersAreTheOfficialSamples(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const (
		user  = "514f3ea1-6716-4f44-b6e0-9a8f0cf44bd2"
		query = "SELECT accountnumber, balance FROM Account WHERE Account.balance > 100"
		file  = "https://example.s3.us-west-2.amazonaws.com/3a3e85c4-96e7-486b-ae02-827120104301_24921638725108715.json?X-Amz-Security-Token=..."
		done  = `{"id":"3a3e85c4-96e7-486b-ae02-827120104301","query":"` + query + `","useIndexJoin":false,"sourceData":"LIVE",` +
			`"queryStatus":"completed","dataFile":"` + file + `","outputRows":24516,"processingTime":9212,"remainingRetries":3,` +
			`"updatedOn":"2018-08-17T13:14:19.17Z","createdBy":"` + user + `"}`
	)
	const guest = "00000000-0000-4000-8000-000000000002"
	s := newSim(t, Options{Retention: 20 * 365 * day, Users: []User{
		{ClientID: "00000000-0000-4000-8000-000000000001", ID: user},
		{ClientID: guest},
	}})
	took := 9212 * time.Millisecond
	s.Put(Job{
		ID: sampleID, Query: query, Client: "00000000-0000-4000-8000-000000000001", Status: job.Completed,
		CreatedAt: at("2018-08-17T13:14:18.204Z"), UpdatedOn: at("2018-08-17T13:14:19.17Z"), RemainingRetries: 3,
		Rows: new(int64(24516)), Processing: &took, DataFile: file,
	})
	running := job.MustParseID("bf3b5640-ddd1-4b4f-9a81-906ec2b84a89")
	s.Put(Job{
		ID: running, Query: "SELECT s.id FROM Subscription s JOIN RatePlan rp ON s.id = rp.subscriptionid WHERE rp.name = 'Premium Monthly'",
		Client: "00000000-0000-4000-8000-000000000001", Status: job.InProgress,
		CreatedAt: at("2018-08-17T13:14:38.204Z"), UpdatedOn: at("2018-08-17T13:14:38.855Z"), RemainingRetries: 3,
	})
	const missing = "1e8e8586-5366-4cdf-a01d-fae3b2cf8427"
	revoked := *s
	revoked.token = "wrong"
	for _, c := range []struct {
		name   string
		by     *sim
		method string
		path   string
		code   int
		want   string
	}{
		{"one completed", s, "GET", jobsPath + "/" + sampleID.String(), 200, `{"data":` + done + `}`},
		{
			"list, newest first", s, "GET", jobsPath, 200,
			`{"data":[{"id":"bf3b5640-ddd1-4b4f-9a81-906ec2b84a89","query":"SELECT s.id FROM Subscription s JOIN RatePlan rp ` +
				`ON s.id = rp.subscriptionid WHERE rp.name = 'Premium Monthly'","useIndexJoin":false,"sourceData":"LIVE",` +
				`"queryStatus":"in_progress","remainingRetries":3,"updatedOn":"2018-08-17T13:14:38.855Z","createdBy":"` + user + `"},` + done + `]}`,
		},
		{"unknown", s, "GET", jobsPath + "/" + missing, 404, `{"code":1001,"message":"No such query: ` + missing + `"}`},
		{
			"of another user", s.as(guest), "GET", jobsPath + "/" + sampleID.String(), 403,
			`{"code":1009,"message":"Access denied for restricted job ` + sampleID.String() + `"}`,
		},
		{
			"cancel what has ended", s, "DELETE", jobsPath + "/" + sampleID.String(), 400,
			`{"code":1003,"message":"Query job ` + sampleID.String() + ` is not in accepted or in_progress status"}`,
		},
		{"no token", &revoked, "GET", jobsPath, 401, `{"message":"Authentication error"}`},
		{"not JSON", s, "POST", jobsPath, 415, `{"code":415,"message":"HTTP 415 Unsupported Media Type"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.by.do(c.method, c.path, "")
			if got.StatusCode != c.code {
				t.Errorf("got status %d, want %d", got.StatusCode, c.code)
			}
			body := strings.ReplaceAll(string(got.body), "\n", "")
			if diff := cmp.Diff(c.want, body); diff != "" {
				t.Error(diff)
			}
		})
	}
	got := revoked.get(jobsPath).Header.Get("WWW-Authenticate")
	if want := "Basic realm=Zuora API, ZSession realm=Zuora API, Bearer realm=Zuora API"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBadSubmitsAreRefused(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	change := func(from, to string) string { return strings.Replace(submission, from, to, 1) }
	for name, body := range map[string]string{
		"nothing":         "",
		"half":            submission[:40],
		"two values":      submission + "{}",
		"no query":        change(`"query":`, `"sql":`),
		"empty query":     change(`SELECT accountnumber, balance FROM Account WHERE Account.balance > 100`, ""),
		"format":          change(`"JSON"`, `"XML"`),
		"compression":     change(`"NONE"`, `"LZ4"`),
		"target":          change(`"S3"`, `"GCS"`),
		"no output":       change(`"output":{"target":"S3"},`, ""),
		"source":          change(`"LIVE"`, `"DATAHUB"`),
		"query too long":  change("SELECT", strings.Repeat("é", maxSQL)),
		"wrong type":      change(`"NONE"`, `7`),
		"an array":        "[]",
		"warehouse size":  change(`"LIVE"`, `"WAREHOUSE","warehouseSize":"xxl"`),
		"not even a body": "\x00",
	} {
		got := s.submit(body)
		if want := `{"code":400,"message":"Unable to process JSON"}`; got.StatusCode != http.StatusBadRequest || string(got.body) != want {
			t.Errorf("%s: got %d %s, want 400 %s", name, got.StatusCode, got.body, want)
		}
	}
	if got := len(s.Jobs()); got != 0 {
		t.Errorf("%d jobs were made", got)
	}
}

func TestSubmitAnswersAsTheSampleDoes(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{RunTime: Fixed(time.Minute)})
	r := s.submit(submission)
	got := decode[wireData[wireJob]](t, r.body).Data
	want := wireJob{
		ID: got.ID, Query: "SELECT accountnumber, balance FROM Account WHERE Account.balance > 100", SourceData: "LIVE",
		QueryStatus: job.Accepted, RemainingRetries: 3, Retries: new(3), UpdatedOn: "2026-01-05T12:00:00.0Z",
		CreatedOn: "2026-01-05T12:00:00.0Z", CreatedBy: got.CreatedBy, CreatedByUserEmail: "user1@example.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := job.ParseID(got.ID); err != nil {
		t.Error(err)
	}
	if _, err := job.ParseID(got.CreatedBy); err != nil {
		t.Error(err)
	}
}

func TestGzippedSubmitIsRead(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{}).raw() // the validator does not unpack requests
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(submission)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.submit(b.String(), "Content-Encoding", "gzip"); got.StatusCode != http.StatusOK {
		t.Errorf("got %d %s", got.StatusCode, got.body)
	}
}

func TestIdempotencyKeyMakesOneJob(t *testing.T) {
	t.Parallel()
	const guest = "00000000-0000-4000-8000-000000000002"
	s := newSim(t, Options{Users: []User{{ClientID: guest}}})
	first := s.submit(submission, "Idempotency-Key", "k1")
	s.clock.pass(10 * time.Minute)
	again := s.submit(submission, "Idempotency-Key", "k1")
	if !bytes.Equal(first.body, again.body) {
		t.Errorf("got %s, want %s", again.body, first.body)
	}
	s.submit(submission, "Idempotency-Key", "k2")
	s.as(guest).submit(submission, "Idempotency-Key", "k1")
	if got, want := len(s.Jobs()), 3; got != want {
		t.Errorf("got %d jobs, want %d", got, want)
	}
}

func TestListPagesAndFilters(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Live: Queue{Running: -1, Queued: -1}})
	for i := range 1100 {
		s.Submit(Spec{RunTime: time.Hour, Query: fmt.Sprint("SELECT ", i)})
	}
	s.clock.pass(time.Second)
	end := s.Submit(Spec{RunTime: time.Second, Outcome: job.Failed})
	s.clock.pass(time.Minute)
	for _, c := range []struct {
		query string
		code  int
		count int
	}{
		{"", 200, 20},
		{"?pageSize=1", 200, 1},
		{"?pageSize=1000", 200, 1000},
		{"?pageSize=1001", 400, 0},
		{"?pageSize=0", 400, 0},
		{"?pageSize=-5", 400, 0},
		{"?pageSize=many", 400, 0},
		{"?queryStatus=failed", 200, 1},
		{"?queryStatus=in_progress&pageSize=30", 200, 30},
		{"?queryStatus=completed", 200, 0},
		{"?queryStatus=submitted", 400, 0},
		{"?queryStatus=unheard", 400, 0},
	} {
		r := s.get(jobsPath + c.query)
		if r.StatusCode != c.code {
			t.Errorf("%q: got %d, want %d", c.query, r.StatusCode, c.code)
			continue
		}
		if c.code != 200 {
			continue
		}
		if got := decode[wireData[[]wireJob]](t, r.body).Data; len(got) != c.count {
			t.Errorf("%q: got %d jobs, want %d", c.query, len(got), c.count)
		}
	}
	page := decode[wireData[[]wireJob]](t, s.get(jobsPath+"?pageSize=3").body).Data
	got := []string{page[0].ID, page[1].Query, page[2].Query}
	if diff := cmp.Diff([]string{end.String(), "SELECT 1099", "SELECT 1098"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNonAdminSeesOnlyHisOwn(t *testing.T) {
	t.Parallel()
	const guest = "00000000-0000-4000-8000-000000000002"
	s := newSim(t, Options{Users: []User{{ClientID: guest}}})
	mine, his := s.Submit(Spec{Forever: true}), s.Submit(Spec{Forever: true, Client: guest})
	other := s.as(guest)
	codes := map[string]int{
		"admin, own":     s.get(jobsPath + "/" + mine.String()).StatusCode,
		"admin, his":     s.get(jobsPath + "/" + his.String()).StatusCode,
		"guest, own":     other.get(jobsPath + "/" + his.String()).StatusCode,
		"guest, foreign": other.get(jobsPath + "/" + mine.String()).StatusCode,
		"guest, cancel":  other.do("DELETE", jobsPath+"/"+mine.String(), "").StatusCode,
	}
	want := map[string]int{"admin, own": 200, "admin, his": 200, "guest, own": 200, "guest, foreign": 403, "guest, cancel": 403}
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error(diff)
	}
	list := func(by *sim) (ids []string) {
		for _, j := range decode[wireData[[]wireJob]](t, by.get(jobsPath).body).Data {
			ids = append(ids, j.ID)
		}
		return ids
	}
	if diff := cmp.Diff([]string{his.String()}, list(other)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{his.String(), mine.String()}, list(s)); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 404},
		{"GET", "/v1/query/jobs", 404},
		{"GET", jobsPath + "/", 404},
		{"GET", jobsPath + "/a/b", 404},
		{"PUT", jobsPath, 405},
		{"PATCH", jobsPath + "/" + sampleID.String(), 405},
		{"GET", jobsPath + "/not-a-uuid", 400},
		{"DELETE", jobsPath + "/" + sampleID.String(), 404},
		{"GET", "/_sim/stats", 404}, // no control unless asked for
	} {
		if got := s.do(c.method, c.path, "").StatusCode; got != c.want {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, got, c.want)
		}
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{ClockSkew: 10 * time.Minute, Entities: []string{"11e643f4-a3ee-8bad-b061-0025904c756d"}})
	id := s.Submit(Spec{Forever: true})
	path := jobsPath + "/" + id.String()
	r := s.get(path, "Zuora-Track-Id", "jobwatcher-1")
	if got, want := r.Header.Get("Zuora-Track-Id"), "jobwatcher-1"; got != want {
		t.Errorf("track id: got %q, want %q", got, want)
	}
	if got, want := r.Header.Get("Date"), "Mon, 05 Jan 2026 12:10:00 GMT"; got != want {
		t.Errorf("date: got %q, want %q", got, want)
	}
	if got := r.Header.Get("Zuora-Request-Id"); len(got) != 36 {
		t.Errorf("request id: got %q", got)
	}
	if got, want := s.poll(id).UpdatedOn, "2026-01-05T12:10:00.0Z"; got != want {
		t.Errorf("updatedOn: got %q, want %q", got, want)
	}
	for header, want := range map[string]int{
		"Zuora-Track-Id: " + strings.Repeat("x", 64):              200,
		"Zuora-Track-Id: " + strings.Repeat("x", 65):              400,
		"Zuora-Track-Id: a:b":                                     400,
		"Zuora-Track-Id: a'b":                                     400,
		"Zuora-Track-Id: é":                                       400,
		"Zuora-Entity-Ids: 11E643F4-a3ee-8bad-b061-0025904c756d":  200,
		"Zuora-Entity-Ids: 00000000-0000-4000-8000-000000000009":  403,
		"Zuora-Org-Ids: 8a8082c17f2b9e24017f2b9e4ad90003,another": 200,
	} {
		name, value, _ := strings.Cut(header, ": ")
		if got := s.raw().get(path, name, value).StatusCode; got != want {
			t.Errorf("%s: got %d, want %d", header, got, want)
		}
	}
}

func TestLargeAnswersAreCompressedWhenAsked(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	small, large := s.Submit(Spec{Query: "SELECT 1"}), s.Submit(Spec{Query: "SELECT " + strings.Repeat("x", 2000)})
	for _, c := range []struct {
		path, accept string
		want         string
	}{
		{jobsPath + "/" + small.String(), "gzip", ""},
		{jobsPath + "/" + large.String(), "gzip", "gzip"},
		{jobsPath + "/" + large.String(), "deflate, gzip;q=0.8", "gzip"},
		{jobsPath + "/" + large.String(), "", ""},
		{jobsPath, "gzip", "gzip"},
	} {
		r := s.get(c.path, "Accept-Encoding", c.accept)
		if got := r.Header.Get("Content-Encoding"); got != c.want {
			t.Errorf("%s with %q: got %q, want %q", c.path, c.accept, got, c.want)
		}
		if plain := unzip(t, r.Response, r.body); !bytes.HasPrefix(plain, []byte(`{"data":`)) {
			t.Errorf("%s: got %.40s", c.path, plain)
		}
	}
}

func TestTimesHaveOneToThreeFractionDigits(t *testing.T) {
	t.Parallel()
	base := time.Date(2018, 8, 17, 13, 14, 19, 0, time.UTC)
	for ms, want := range map[int]string{
		170: "2018-08-17T13:14:19.17Z", 855: "2018-08-17T13:14:19.855Z", 0: "2018-08-17T13:14:19.0Z",
		100: "2018-08-17T13:14:19.1Z", 5: "2018-08-17T13:14:19.005Z",
	} {
		if got := zuoraTime(base.Add(time.Duration(ms) * time.Millisecond)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
