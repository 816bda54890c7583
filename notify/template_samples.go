package notify

import (
	"encoding/json"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// sampleError has what spoils careless templates: quotes, a line break, a
// backslash, markup, and more than ASCII.
const sampleError = "line 1:8: Column \"acount\\number\" can't be resolved\n<b>naïve</b> & 'so' on …"

// sampleFile is an invented result link.
const sampleFile = "https://results.example/sample.csv?a=1&b=2"

// sampleOf is an invented delivery of the type, with everything filled in that
// such an event can have.
func sampleOf(t job.EventType) job.Outgoing {
	at := job.At(time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC))
	e := job.Event{Type: t, Tenant: "rest.zuora.com", Time: at, CreatedAt: at}
	var data map[string]any
	switch t {
	case job.EventGroupFinished:
		e.Subject = "month-end"
		data = map[string]any{"group": job.GroupView{Name: e.Subject, Outcome: job.OutcomeFailed, Jobs: 12, Failed: 1}}
	case job.EventTest:
		e.Subject = "finance"
		data = map[string]any{"destination": e.Subject}
	case job.EventDeliveryExhausted:
		e.Subject = "dlv_0123456789abcdefghjkmnpqrs"
		j := sampleJob(job.EventCompleted, at)
		e.JobID = j.ID
		data = map[string]any{"job": j.View(), "delivery": exhaustedDelivery{
			DeliveryView: job.DeliveryView{
				ID: e.Subject, EventType: job.EventCompleted, JobID: j.ID.String(), Destination: "loader", State: job.DeliveryExhausted,
			},
			AttemptsMade: len(schedule), Why: `503 server "down"`,
		}}
	case job.EventCompleted, job.EventFailed, job.EventCancelled, job.EventLost, job.EventAbandoned, job.EventOverdue, job.EventOverdueExpected:
		j := sampleJob(t, at)
		e.JobID, e.Subject = j.ID, j.ID.String()
		data = map[string]any{"job": j.View()}
	}
	e.ID = job.EventID(e.Tenant, e.Subject, t)
	var err error
	if e.Data, err = json.Marshal(data); err != nil {
		panic(err) // plain values always marshal
	}
	out := job.Outgoing{Event: e}
	out.EventID, out.EventType, out.Tenant, out.JobID, out.CreatedAt = e.ID, t, e.Tenant, e.JobID, at
	if e.JobID != (job.ID{}) {
		out.Query = "SELECT \"id\"\nFROM account"
	}
	return out
}

func sampleJob(t job.EventType, at job.Instant) *job.Job {
	rows, took := int64(24516), 9212*time.Millisecond
	j := &job.Job{
		Tenant: "rest.zuora.com", ID: job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104301"), State: job.Finished,
		Status: job.InProgress, Outcome: job.Outcome(t.Short()), Labels: job.Labels{"team": "finance"}, Group: "month-end",
		SourceData: "LIVE", TrackedAt: at.Add(-2 * time.Minute), FinishedAt: at,
	}
	switch t {
	case job.EventCompleted:
		j.Status, j.OutputRows, j.ProcessingTime = job.Completed, &rows, &took
	case job.EventFailed:
		j.Status, j.Error = job.Failed, sampleError
	case job.EventCancelled:
		j.Status = job.Cancelled
	case job.EventOverdue:
		j.State, j.Outcome, j.Overdue, j.FinishedAt = job.Watching, job.Undecided, true, 0
	case job.EventOverdueExpected:
		j.State, j.Outcome, j.FinishedAt, j.DeadlineAt = job.Watching, job.Undecided, 0, at.Add(time.Hour)
	case job.EventLost, job.EventAbandoned, job.EventGroupFinished, job.EventDeliveryExhausted, job.EventTest:
	}
	return j
}
