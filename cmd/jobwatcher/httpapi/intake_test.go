package httpapi

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

type resultList struct {
	Jobs []result `json:"jobs"`
}

func TestManyJobsAreTrackedInOneTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(2)})
	c := newClient(t, w, func(o *Options) { o.Check = onlyLoader })
	c.lenient = true
	var got resultList
	c.do("POST", "/v1/jobs", `{"jobs":[
		{"id":"`+id(1).String()+`","labels":{"team":"finance"},"destinations":["loader"],"deadline":"2h","group":"close"},
		{"id":"`+id(2).String()+`"},
		{"id":"`+strings.ToUpper(id(3).String())+`"},
		{"id":"`+id(3).String()+`"},
		{"id":"nonsense"},
		{"id":"`+id(4).String()+`","labels":{"a":"b c"}},
		{"id":"`+id(5).String()+`","destinations":["nobody"]},
		{"id":"`+id(6).String()+`","lables":{}},
		{"id":7},
		"`+id(8).String()+`",
		null,
		{},
		{"id":"`+strings.Repeat("x", 500)+`"},
		{"id":"`+id(4).String()+`"}
	]}`).want(200, "").decode(&got)
	for i := range got.Jobs {
		if (got.Jobs[i].Error == "") != (got.Jobs[i].Code == "") || len(got.Jobs[i].ID) > maxQuoted {
			t.Errorf("result %d: %+v", i, got.Jobs[i])
		}
		got.Jobs[i].Error = ""
	}
	want := []result{
		{ID: id(1).String(), Result: "tracked"},
		{ID: id(2).String(), Result: "already_tracked"},
		{ID: strings.ToUpper(id(3).String()), Result: "tracked"},
		{ID: id(3).String(), Result: "already_tracked"},
		{ID: "nonsense", Result: "invalid", Code: codeInvalidJobID},
		{ID: id(4).String(), Result: "invalid", Code: codeInvalidField},
		{ID: id(5).String(), Result: "invalid", Code: codeUnknownDestination},
		{ID: id(6).String(), Result: "invalid", Code: codeUnknownField},
		{ID: "", Result: "invalid", Code: codeInvalidField},
		{ID: "", Result: "invalid", Code: codeInvalidField},
		{ID: "", Result: "invalid", Code: codeInvalidField},
		{ID: "", Result: "invalid", Code: codeInvalidJobID},
		{ID: job.Cut(strings.Repeat("x", 500), maxQuoted), Result: "invalid", Code: codeInvalidJobID},
		{ID: id(4).String(), Result: "tracked"},
	}
	if diff := cmp.Diff(want, got.Jobs); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]job.ID{{id(1), id(2), id(3), id(4)}}, w.tracked); diff != "" {
		t.Errorf("transactions (-want +got):\n%s", diff)
	}
	if j := w.jobs[id(1)]; j.Group != "close" || j.Labels["team"] != "finance" || j.Destinations[0] != "loader" {
		t.Errorf("the first job: %+v", j)
	}
}

func TestTenThousandJobsFitAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newClient(t, w, nil)
	list := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"jobs":[`)
		for i := range n {
			fmt.Fprintf(&b, `{"id":"%s"},`, id(i))
		}
		return strings.TrimSuffix(b.String(), ",") + "]}"
	}
	var got resultList
	c.do("POST", "/v1/jobs", list(10_000)).want(200, "").decode(&got)
	if len(got.Jobs) != 10_000 || got.Jobs[9_999].Result != "tracked" || len(w.tracked) != 1 {
		t.Errorf("results: got %d in %d transactions, want 10,000 in one", len(got.Jobs), len(w.tracked))
	}
	if p := c.do("POST", "/v1/jobs", list(10_001)).want(422, codeInvalidField).problem(); p.Field != "jobs" {
		t.Errorf("field: got %q, want jobs", p.Field)
	}
	c.do("POST", "/v1/jobs", list(25_000)).want(413, codeBodyTooLarge)
}

func TestListsThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := newClient(t, w, nil)
	for body, code := range map[string]string{
		`{}`: codeInvalidField, `{"jobs":null}`: codeInvalidField, `{"jobs":{}}`: codeInvalidField, `[]`: codeInvalidField,
		`{"jobs":[],"dry":true}`: codeUnknownField,
	} {
		c.do("POST", "/v1/jobs", body).want(422, code)
	}
	c.do("POST", "/v1/jobs").want(400, codeMalformedJSON)
	c.do("POST", "/v1/jobs", `{"jobs":[`).want(400, codeMalformedJSON)
	for _, kind := range []string{"text/csv", "application/xml"} {
		c.with("Content-Type", kind).do("POST", "/v1/jobs", `{}`).want(415, codeUnsupportedMediaType)
	}
	var got resultList
	if a := c.do("POST", "/v1/jobs", `{"jobs":[]}`).want(200, ""); !strings.Contains(string(a.body), `"jobs":[]`) {
		t.Errorf("nothing: got %s", a.body)
	}
	c.lenient = true
	c.do("POST", "/v1/jobs", `{"jobs":[{}]}`).want(200, "").decode(&got)
	if len(w.tracked) != 0 {
		t.Error("something was tracked")
	}
	// All or none: a store in trouble tracks nothing and says so.
	w.fail = errors.New("disk on fire")
	c.do("POST", "/v1/jobs", `{"jobs":[{"id":"`+id(1).String()+`"}]}`).want(500, codeInternal)
}

// A JSON body without a type is taken: no browser's page can send one to us
// (auth.go), and people forget the header.
func TestABodyWithoutATypeIsJSON(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), nil).with("Content-Type", "")
	c.lenient = true
	c.do("POST", "/v1/jobs", `{"jobs":[{"id":"`+id(1).String()+`"}]}`).want(200, "")
	c.do("PUT", path(2), `{"group":"a"}`).want(201, "")
}
