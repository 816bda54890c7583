package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

// role is one job of the demo.
type role struct {
	what     string
	spec     zuorasim.Spec
	labels   map[string]string
	deadline string
	id       job.ID
}

// cast is what kinds of jobs there are; more jobs than these begin anew.
func cast(n int) []*role {
	rows := func(n int64) *int64 { return &n }
	kinds := []role{
		{what: "a small export", spec: zuorasim.Spec{Query: "SELECT id, balance FROM account", RunTime: 2500 * time.Millisecond, Outcome: job.Completed, Rows: rows(24516)}, labels: map[string]string{"team": "finance"}},
		{what: "invoices of the year", spec: zuorasim.Spec{Query: "SELECT * FROM invoice", RunTime: 5 * time.Second, Outcome: job.Completed, Rows: rows(187402)}, labels: map[string]string{"team": "finance"}},
		{what: "a query with a mistake", spec: zuorasim.Spec{Query: "SELECT updateddate FROM subscription", RunTime: 1500 * time.Millisecond, Outcome: job.Failed, Error: "Column 'updateddate' cannot be resolved"}, labels: map[string]string{"team": "growth"}},
		{what: "one that runs too long (deadline 3 s)", spec: zuorasim.Spec{Query: "SELECT * FROM usage u JOIN account a ON a.id = u.accountid", RunTime: 8 * time.Second, Outcome: job.Completed, Rows: rows(3100077), Source: "WAREHOUSE"}, labels: map[string]string{"team": "data"}, deadline: "3s"},
		{what: "one that a person cancels", spec: zuorasim.Spec{Query: "SELECT * FROM rateplancharge", RunTime: 3 * time.Second, Outcome: job.Cancelled}, labels: map[string]string{"team": "growth"}},
		{what: "one without rows", spec: zuorasim.Spec{Query: "SELECT id FROM refund WHERE amount < 0", RunTime: time.Second, Outcome: job.Completed, Rows: rows(0)}, labels: map[string]string{"team": "finance"}},
		{what: "one that is done at once", spec: zuorasim.Spec{Query: "SELECT 1", RunTime: 10 * time.Millisecond, Outcome: job.Completed, Rows: rows(1)}},
		{what: "payments", spec: zuorasim.Spec{Query: "SELECT * FROM payment", RunTime: 4 * time.Second, Outcome: job.Completed, Rows: rows(9120)}, labels: map[string]string{"team": "data"}},
	}
	roles := make([]*role, n)
	for i := range roles {
		one := kinds[i%len(kinds)]
		one.spec.Unlimited = true // the queue of five is another story
		roles[i] = &one
	}
	return roles
}

// perform submits and tracks the jobs and tells what happens until every end
// has been announced to both receivers.
func (s *story) perform(ctx context.Context, client *apiclient.Client) ([]*role, error) {
	roles := cast(s.flags.jobs)
	next := 0
	submit := time.NewTimer(0)
	defer submit.Stop()
	look := time.NewTicker(demoEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return roles[:next], context.Cause(ctx)
		case got := <-s.lines:
			s.hear(got)
		case <-submit.C:
			if err := s.begin(ctx, client, roles[next]); err != nil {
				return roles[:next], err
			}
			if next++; next < len(roles) {
				submit.Reset(demoPause)
			}
		case <-look.C:
			ended, err := s.look(ctx, client)
			if err != nil {
				return roles[:next], err
			}
			if ended == len(roles) && s.missing(roles) == 0 {
				s.hearRest()
				return roles, nil
			}
		}
	}
}

// begin submits one job to the tenant and asks the daemon to watch it.
func (s *story) begin(ctx context.Context, client *apiclient.Client, r *role) error {
	r.id = s.tenant.Submit(r.spec)
	s.tellf("submitted", console.Plain, "%s  %s", r.id, r.what)
	if _, err := client.Track(ctx, r.id, apiclient.Item{Labels: r.labels, Deadline: r.deadline}); err != nil {
		return err
	}
	s.tellf("tracked", console.Green, "%s  %s", r.id, labelText(r.labels))
	return nil
}

// look tells what the daemon has seen change, and counts what has ended.
func (s *story) look(ctx context.Context, client *apiclient.Client) (ended int, err error) {
	jobs, _, err := pages(0, func(n int, cursor string) ([]job.View, string, error) {
		return client.Jobs(ctx, nil, n, cursor)
	})
	if err != nil {
		return 0, err
	}
	for i := len(jobs) - 1; i >= 0; i-- { // newest first, and the story goes forward
		v := &jobs[i]
		if v.State == job.Finished {
			ended++
		}
		now := string(v.Status)
		if v.Outcome != job.Undecided {
			now = string(v.Outcome)
		}
		if now == "" || s.seen[v.ID] == now {
			continue
		}
		s.seen[v.ID] = now
		s.tellf("sees", console.Cyan, "%s  %s", v.ID, described(now, v))
	}
	return ended, nil
}

func described(now string, v *job.View) string {
	text := now
	if v.OutputRows != nil {
		text += "  " + countRows(v.OutputRows)
	}
	if v.ProcessingSeconds != nil {
		text += ", " + secondsText(v.ProcessingSeconds) + " by Zuora's clock"
	}
	if v.Error != "" {
		text += "  " + v.Error
	}
	return text
}

// hear tells what a receiver got.
func (s *story) hear(got announcement) {
	switch {
	case got.fault != "":
		s.tellf("refused", console.Red, "by the receiver %s: %s", got.receiver, got.fault)
	case got.receiver == "webhook":
		s.tellf("announced", console.Green, "%s  %s to the webhook, signature verified", got.job.ID, got.event.Short())
	default:
		s.tellf("announced", console.Green, "to Slack: %s", console.Cut(console.Clean(got.text), 120))
	}
}

// hearRest tells what has arrived since the last look.
func (s *story) hearRest() {
	for {
		select {
		case got := <-s.lines:
			s.hear(got)
		default:
			return
		}
	}
}

// missing counts jobs whose end some receiver has not been told.
func (s *story) missing(roles []*role) int {
	n := 0
	for _, r := range roles {
		if s.ears.told("webhook", r.id) == 0 || s.ears.told("slack", r.id) == 0 {
			n++
		}
	}
	return n
}

// summary is the table at the end; it returns how many jobs were not announced.
func (s *story) summary(ctx context.Context, client *apiclient.Client, roles []*role) int {
	t := console.NewTable("ID", "OUTCOME", "ROWS", "ZUORA'S TIME", "POLLS", "WEBHOOK", "SLACK", "NOTES")
	for _, r := range roles {
		v, err := client.Job(context.WithoutCancel(ctx), r.id)
		if err != nil {
			v = job.View{ID: r.id, Error: err.Error()}
		}
		t.Row(r.id.String(), word(&v), rowsText(v.OutputRows), secondsText(v.ProcessingSeconds), strconv.FormatInt(v.Polls, 10),
			timesTold(s.ears.told("webhook", r.id)), timesTold(s.ears.told("slack", r.id)), notes(&v))
	}
	fmt.Fprintln(s.app.stdout)
	_ = t.Write(s.app.stdout)
	return s.missing(roles)
}

func timesTold(n int) string {
	switch n {
	case 0:
		return "missing"
	case 1:
		return "once"
	}
	return strconv.Itoa(n) + " times"
}
