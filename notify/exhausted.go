package notify

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// exhaustedData is the data of a dev.jobwatcher.delivery.exhausted event: the
// delivery with its last attempt, and the job as the event that could not be
// delivered had it.
type exhaustedData struct {
	Delivery exhaustedDelivery `json:"delivery"`
	Job      json.RawMessage   `json:"job,omitempty"`
}

type exhaustedDelivery struct {
	job.DeliveryView        // with the last attempt only
	AttemptsMade     int    `json:"attempts_made"`
	Why              string `json:"why"` // the last attempt in words
}

// exhausted is the event that tells other destinations that a delivery has been
// given up, and which those are; nil when none asks for it.
//
// Its id is derived from the delivery and the number of its attempts: a
// delivery that is replayed and given up once more is a new fact, a settlement
// that is repeated is not. It is never about a delivery of such an event, and
// never goes to the destination that was given up, so that it ends with one.
func (d *Dispatcher) exhausted(out *job.Outgoing, last *job.Attempt, now time.Time) (*job.Event, []string) {
	if out.EventType == job.EventDeliveryExhausted {
		return nil, nil
	}
	n, at := out.Made+1, job.At(now)
	e := job.Event{
		ID:   job.EventID(out.Tenant, out.ID+" "+strconv.Itoa(n), job.EventDeliveryExhausted),
		Type: job.EventDeliveryExhausted, Tenant: out.Tenant, Subject: out.ID, JobID: out.JobID, Time: at, CreatedAt: at,
	}
	var about struct {
		Job json.RawMessage `json:"job"`
	}
	if json.Unmarshal(out.Event.Data, &about) == nil {
		e.Job = jobOf(about.Job)
	}
	names := route(d.destinations(), &e)
	names = slices.DeleteFunc(names, func(name string) bool { return name == out.Destination })
	if len(names) == 0 {
		return nil, nil
	}
	attempt := *last
	attempt.N = n
	given := out.Delivery
	given.State, given.NextAttemptAt, given.Attempts = job.DeliveryExhausted, 0, []job.Attempt{attempt}
	data, err := json.Marshal(exhaustedData{
		Delivery: exhaustedDelivery{DeliveryView: given.View(), AttemptsMade: n, Why: attempt.Text()}, Job: about.Job,
	})
	if err != nil {
		d.o.Log.Error("build event: delivery exhausted is not announced", zap.String("delivery_id", out.ID), zap.Error(err))
		return nil, nil
	}
	e.Data = data
	return &e, names
}

// jobOf is as much of a job as its snapshot in an event tells: enough to match.
// nil when it holds none.
func jobOf(snapshot json.RawMessage) *job.Job {
	var v job.View
	if len(snapshot) == 0 || json.Unmarshal(snapshot, &v) != nil || v.ID == (job.ID{}) {
		return nil
	}
	j := &job.Job{
		ID: v.ID, Tenant: v.Tenant, State: v.State, Status: v.Status, Outcome: v.Outcome, Labels: v.Labels, Group: v.Group,
		Destinations: v.Destinations, OutputRows: v.OutputRows, TrackedAt: v.TrackedAt, FinishedAt: v.FinishedAt,
	}
	if v.ProcessingSeconds != nil {
		took := time.Duration(*v.ProcessingSeconds * float64(time.Second))
		j.ProcessingTime = &took
	}
	return j
}
