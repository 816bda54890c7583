package notifytest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// Texts that must not come out where they do not belong.
const (
	// CanaryQuery is the query of every sample.
	CanaryQuery = "SELECT accountnumber FROM account WHERE note = 'canary-query-7f3a91' AND a < 3 & b"
	// CanaryDataFile is the result link of every completed sample.
	CanaryDataFile = "https://results.example/canary-bucket/3a3e85c4.csv?X-Amz-Signature=canary-signature-5d1c"
	// CanaryToken is in the URL that [ExerciseSender] gives.
	CanaryToken = "canaryTOKEN0x9Wq7Zr2"
)

// SampleAt is when every sample ended.
var SampleAt = job.At(time.Date(2026, 3, 14, 9, 26, 53, 589e6, time.UTC))

// SampleID is the job of every sample.
var SampleID = job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104301")

// Sample is a delivery of an event of the type, as the store hands it out: the
// job is in the event's data only.
func Sample(t job.EventType) job.Outgoing { return SampleOf(t, SampleID) }

// SampleOf is a Sample about another job.
func SampleOf(t job.EventType, id job.ID) job.Outgoing {
	e := job.Event{
		Type: t, Tenant: "rest.zuora.com", Subject: id.String(), JobID: id,
		Time: SampleAt, CreatedAt: SampleAt.Add(412 * time.Millisecond),
	}
	out := job.Outgoing{Query: CanaryQuery}
	switch t {
	case job.EventGroupFinished:
		e.Subject, e.JobID = "month-end", job.ID{}
		e.Data = json.RawMessage(`{"group":{"name":"month-end","outcome":"failed","jobs":12,"finished":9,"failed":1,"members":[{"id":"` + id.String() +
			`","status":"failed","outcome":"failed","error":"out of memory <!here>","output_rows":null}]}}`)
		out.Query = ""
	case job.EventDeliveryExhausted:
		e.Subject = "dlv_0123456789abcdefghjkmnpqrs"
		e.Data = json.RawMessage(`{"delivery":{"id":"dlv_0123456789abcdefghjkmnpqrs","destination":"loader","event_type":"dev.jobwatcher.job.completed","job_id":"` + id.String() +
			`","state":"exhausted","attempts_made":11,"why":"503 server \"down for maintenance\""}}`)
	case job.EventTest:
		e.Subject, e.JobID = "finance", job.ID{}
		e.Data = json.RawMessage(`{"destination":"finance"}`)
		out.Query = ""
	case job.EventCompleted, job.EventFailed, job.EventCancelled, job.EventLost, job.EventAbandoned, job.EventOverdue, job.EventOverdueExpected:
		j := sampleJob(t, id)
		e.Data = sampleData(&j)
		out.DataFile = j.DataFile
	default:
	}
	e.ID = job.EventID(e.Tenant, e.Subject, t)
	out.Event = e
	out.Delivery = job.Delivery{
		ID: job.DeliveryID(e.ID, "finance"), EventID: e.ID, EventType: t, Tenant: e.Tenant,
		JobID: e.JobID, Destination: "finance", State: job.DeliverySending, CreatedAt: e.CreatedAt,
	}
	return out
}

// SampleTypes lists the types that [Sample] knows: all of them.
func SampleTypes() []job.EventType { return job.EventTypes() }

func sampleJob(t job.EventType, id job.ID) job.Job {
	rows, retries, took := int64(24516), int64(3), 9212*time.Millisecond
	j := job.Job{
		Tenant: "rest.zuora.com", ID: id, State: job.Finished, Source: job.SourceAPI,
		Labels: job.Labels{"team": "finance", "zuora.example/report": "aging_buckets"},
		Query:  CanaryQuery, SourceData: "LIVE", CreatedBy: "514f3ea1-0000-4000-8000-000000000001",
		RemainingRetries: &retries, TrackedAt: SampleAt.Add(-2 * time.Minute), DeadlineAt: SampleAt.Add(6 * time.Hour),
		UpdatedAt: SampleAt, StatusSince: SampleAt, FinishedAt: SampleAt, Polls: 4,
		Deliveries: job.DeliveryCounts{Pending: 2},
	}
	switch word := job.Outcome(t.Short()); word {
	case job.OutcomeCompleted:
		j.Status, j.Outcome = job.Completed, word
		j.OutputRows, j.ProcessingTime, j.DataFile = &rows, &took, secret.New(CanaryDataFile)
	case job.OutcomeFailed:
		j.Status, j.Outcome, j.ProcessingTime = job.Failed, word, &took
		j.Error = "Query failed: line 1:8: Column 'acountnumber' <b>cannot</b> be resolved & <!channel> was not told"
	case job.OutcomeCancelled:
		j.Status, j.Outcome = job.Cancelled, word
	case job.OutcomeLost, job.OutcomeAbandoned:
		j.Status, j.Outcome = job.InProgress, word
	case job.Undecided:
	default: // overdue, or expected to be
		j.State, j.Status, j.Overdue = job.Watching, job.InProgress, t == job.EventOverdue
		j.FinishedAt, j.DeadlineAt, j.NextPollAt = 0, SampleAt, SampleAt.Add(30*time.Second)
	}
	return j
}

func sampleData(j *job.Job) json.RawMessage {
	b, err := json.Marshal(map[string]any{"job": j.View()})
	if err != nil {
		panic(err) // a View always marshals
	}
	return b
}

// NoCanary fails the test if text holds any of the secrets, or a canary that
// may not be there.
func NoCanary(t testing.TB, where, text string, secrets ...string) {
	t.Helper()
	for _, s := range slices.Concat(secrets, []string{CanaryToken, CanaryDataFile, "canary-signature-5d1c"}) {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("%s holds the secret %q: %q", where, s, text)
		}
	}
}
