package notify

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func whenFile(t *testing.T, conditions string) (Destination, error) {
	t.Helper()
	all, err := ParseDestinations([]byte("destinations:\n  - name: a\n    when: " + conditions + "\n    webhook: {url: https://a.example/}\n"))
	if err != nil {
		return Destination{}, err
	}
	return all[0], nil
}

func TestConditionsBeyondLabels(t *testing.T) {
	t.Parallel()
	zero, many, took := int64(0), int64(500), 11*time.Minute
	done := func(change func(*job.Job)) *job.Job {
		j := &job.Job{Tenant: "eu", State: job.Finished, Outcome: job.OutcomeCompleted, TrackedAt: 1, FinishedAt: job.Instant(60_000)}
		if change != nil {
			change(j)
		}
		return j
	}
	for name, c := range map[string]struct {
		when string
		job  *job.Job
		want bool
	}{
		"this tenant":                 {"{tenant: eu}", done(nil), true},
		"one of the tenants":          {"{tenant: [us, eu]}", done(nil), true},
		"another tenant":              {"{tenant: us}", done(nil), false},
		"this outcome":                {"{outcome: [completed, failed]}", done(nil), true},
		"another outcome":             {"{outcome: failed}", done(nil), false},
		"overdue has no outcome":      {"{outcome: failed}", &job.Job{State: job.Watching, Overdue: true}, false},
		"long enough, by Zuora":       {"{min_duration: 10m}", done(func(j *job.Job) { j.ProcessingTime = &took }), true},
		"too short, by our clock":     {"{min_duration: 10m}", done(nil), false},
		"long enough, by our clock":   {"{min_duration: 50s}", done(nil), true},
		"no rows":                     {"{rows: 0}", done(func(j *job.Job) { j.OutputRows = &zero }), true},
		"some rows are not none":      {"{rows: 0}", done(func(j *job.Job) { j.OutputRows = &many }), false},
		"unknown rows are not none":   {"{rows: 0}", done(nil), false},
		"rows between":                {"{rows: {min: 1, max: 500}}", done(func(j *job.Job) { j.OutputRows = &many }), true},
		"too many rows":               {"{rows: {max: 499}}", done(func(j *job.Job) { j.OutputRows = &many }), false},
		"all of them":                 {"{tenant: eu, outcome: completed, rows: {min: 500}}", done(func(j *job.Job) { j.OutputRows = &many }), true},
		"one of them does not hold":   {"{tenant: eu, outcome: completed, rows: {min: 501}}", done(func(j *job.Job) { j.OutputRows = &many }), false},
		"named destinations are held": {"{rows: 0}", done(func(j *job.Job) { j.Destinations = []string{"a"} }), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := whenFile(t, c.when)
			if err != nil {
				t.Fatal(err)
			}
			e := job.Event{Type: job.EventCompleted, Time: c.job.FinishedAt, Job: c.job}
			if got := len(route([]Destination{d}, &e)) == 1; got != c.want {
				t.Errorf("told: %v, want %v", got, c.want)
			}
		})
	}
}

func TestFaultyConditionsAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{outcome: done}":                 `when.outcome: "done" is not one of completed or failed`,
		"{outcome: []}":                   "when.outcome: neither a word nor a list",
		"{tenant: {a: b}}":                "when.tenant: neither a word nor a list",
		"{min_duration: long}":            `when.min_duration: "long" is not a time`,
		"{min_duration: -1s}":             "when.min_duration",
		"{rows: few}":                     "when.rows: neither a number",
		"{rows: -1}":                      "when.rows",
		"{rows: {least: 1}}":              "when.rows",
		"{rows: {min: 2, max: 1}}":        "when.rows: min is above max",
		"{colour: red}":                   "field colour is not known here",
		"{rows: 1.5}":                     "when.rows",
		"{outcome: failed, tenant: null}": "when.tenant",
	} {
		if _, err := whenFile(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestExplainSaysWhatDependsOnTheEnd(t *testing.T) {
	t.Parallel()
	d, err := whenFile(t, "{tenant: eu, outcome: failed, min_duration: 10m}")
	if err != nil {
		t.Fatal(err)
	}
	why := func(j *job.Job) job.RouteReason { r := explainRoute([]Destination{d}, j)[0]; r.On = nil; return r }
	for _, c := range []struct {
		job  *job.Job
		want job.RouteReason
	}{
		{&job.Job{Tenant: "eu"}, job.RouteReason{Destination: "a", Matches: true, Why: "it takes every job; it depends on how it ends: min_duration 10m0s, outcome failed"}},
		{&job.Job{Tenant: "us"}, job.RouteReason{Destination: "a", Why: `the tenant is "us", wanted is eu`}},
		{&job.Job{Tenant: "eu", State: job.Finished, Outcome: job.OutcomeLost}, job.RouteReason{Destination: "a", Why: `the outcome is "lost", wanted is failed`}},
	} {
		if diff := cmp.Diff(c.want, why(c.job)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
