package notify

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestRoute(t *testing.T) {
	t.Parallel()
	all := []Destination{
		{Name: "everything"},
		{Name: "trouble", On: []string{"failed", "overdue"}, Match: []Matcher{{Label: "team", In: []string{"finance"}}}},
		{Name: "several", Match: []Matcher{{Label: "team", In: []string{"data", "finance"}}, {Label: "env"}}},
		{Name: "unlabelled", Match: []Matcher{{Label: "team", Absent: true}}},
		{Name: "ledger", On: []string{"delivery_exhausted"}},
	}
	finance, plain := job.Labels{"team": "finance"}, job.Labels{}
	for name, c := range map[string]struct {
		event job.EventType
		job   *job.Job
		want  []string
	}{
		"completed, no labels":           {job.EventCompleted, &job.Job{Labels: plain}, []string{"everything", "unlabelled"}},
		"completed, finance":             {job.EventCompleted, &job.Job{Labels: finance}, []string{"everything"}},
		"failed, finance":                {job.EventFailed, &job.Job{Labels: finance}, []string{"everything", "trouble"}},
		"overdue, finance with env":      {job.EventOverdue, &job.Job{Labels: job.Labels{"team": "finance", "env": ""}}, []string{"everything", "trouble", "several"}},
		"failed, another team":           {job.EventFailed, &job.Job{Labels: job.Labels{"team": "data", "env": "x"}}, []string{"everything", "several"}},
		"named, although nothing fits":   {job.EventFailed, &job.Job{Labels: plain, Destinations: []string{"trouble"}}, []string{"trouble"}},
		"named, but not on this event":   {job.EventCompleted, &job.Job{Labels: finance, Destinations: []string{"trouble"}}, nil},
		"named, but not configured":      {job.EventCompleted, &job.Job{Destinations: []string{"nobody"}}, nil},
		"exhausted, to those who ask":    {job.EventDeliveryExhausted, nil, []string{"ledger"}},
		"groups only to those who ask":   {job.EventGroupFinished, nil, nil},
		"tests are never routed by rule": {job.EventTest, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, route(all, &job.Event{Type: c.event, Job: c.job})); diff != "" {
				t.Errorf("destinations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExplainRouteSaysWhyAndWhyNot(t *testing.T) {
	t.Parallel()
	all := []Destination{{Name: "a", On: []string{"failed"}, Match: []Matcher{{Label: "team", In: []string{"x", "y"}}}}, {Name: "b"}}
	got := explainRoute(all, &job.Job{Labels: job.Labels{"team": "z"}})
	want := []job.RouteReason{
		{Destination: "a", On: []string{"failed"}, Why: `the label team is "z", wanted is x or y`},
		{Destination: "b", On: announced, Matches: true, Why: "it takes every job"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("by labels (-want +got):\n%s", diff)
	}
	got = explainRoute(all, &job.Job{Destinations: []string{"b", "c"}})
	want = []job.RouteReason{
		{Destination: "a", On: []string{"failed"}, Why: "the job names other destinations: b, c"},
		{Destination: "b", On: announced, Matches: true, Why: "the job names it"},
		{Destination: "c", Why: "the job names it, and it is not configured"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("by name (-want +got):\n%s", diff)
	}
}

func TestDataFileIsKeptOnlyForWhoAsksAndIsTold(t *testing.T) {
	t.Parallel()
	all := []Destination{
		{Name: "loader", Include: []string{IncludeDataFile}, Match: []Matcher{{Label: "team", In: []string{"finance"}}}},
		{Name: "failures", Include: []string{IncludeDataFile}, On: []string{"failed"}},
	}
	got := []bool{
		keepsDataFile(all, &job.Job{Labels: job.Labels{"team": "finance"}}),
		keepsDataFile(all, &job.Job{}),
		keepsDataFile(all, &job.Job{Labels: job.Labels{"team": "finance"}, Destinations: []string{"failures"}}),
	}
	if diff := cmp.Diff([]bool{true, false, false}, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}
