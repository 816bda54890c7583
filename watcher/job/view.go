package job

import (
	"strconv"
	"strings"
	"time"
)

// View is a job in JSON, as contract section 4 shows it. It is what the API
// answers, what events carry and what the command line decodes.
type View struct {
	ID                ID       `json:"id"`
	Tenant            string   `json:"tenant"`
	State             State    `json:"state"`
	Status            Status   `json:"status"`
	Outcome           Outcome  `json:"outcome"`
	Labels            Labels   `json:"labels"`
	Group             string   `json:"group,omitempty"`
	Destinations      []string `json:"destinations,omitempty"`
	Source            Source   `json:"source"`
	Overdue           bool     `json:"overdue"`
	Query             *string  `json:"query,omitempty"`
	SourceData        string   `json:"source_data"`
	CreatedBy         string   `json:"created_by"`
	OutputRows        *int64   `json:"output_rows"`
	ProcessingSeconds *float64 `json:"processing_seconds"`
	RemainingRetries  *int64   `json:"remaining_retries"`
	Error             string   `json:"error"`
	DataFile          string   `json:"data_file,omitempty"` // only in events that ask for it
	TrackedAt         Instant  `json:"tracked_at"`
	DeadlineAt        Instant  `json:"deadline_at"`
	StatusSince       Instant  `json:"status_since"`
	UpdatedAt         Instant  `json:"updated_at"`
	FinishedAt        Instant  `json:"finished_at"`
	NextPollAt        Instant  `json:"next_poll_at"`
	// ETA is when it will likely end, by past runs of queries like it; absent
	// when there are too few. ExpectedOverdue: it will likely pass its deadline.
	ETA             Instant `json:"eta,omitzero"`
	ExpectedOverdue bool    `json:"expected_overdue,omitempty"`
	// DetectionDelaySeconds is how late its end was seen, by Zuora's clock; absent
	// when that is not known, or when it had ended before it was tracked.
	DetectionDelaySeconds *float64 `json:"detection_delay_seconds,omitempty"`
	// Anomaly is what is unusual about the result: words of watcher/forecast.
	Anomaly    []string        `json:"anomaly,omitempty"`
	Polls      int64           `json:"polls"`
	Deliveries DeliveryCounts  `json:"deliveries"`
	Timeline   []TimelineEntry `json:"timeline,omitempty"` // only where one job is asked for
}

// TimelineEntry is one line of a job's story: a change of the job, a delivery
// that came to be owed, or an attempt at it.
type TimelineEntry struct {
	At          Instant `json:"at"`
	Kind        string  `json:"kind"` // a Change's kind, "delivery" or "attempt"
	Status      Status  `json:"status,omitempty"`
	Outcome     Outcome `json:"outcome,omitempty"`
	Polls       int64   `json:"polls,omitempty"`
	Destination string  `json:"destination,omitempty"`
	DeliveryID  string  `json:"delivery_id,omitempty"`
	Event       string  `json:"event,omitempty"` // what it is told, as in a destination's `on`
	// State is where the delivery stands now; with kind "delivery".
	State  DeliveryState `json:"delivery_state,omitempty"`
	Took   *float64      `json:"took_seconds,omitempty"` // of an attempt
	Code   int           `json:"code,omitempty"`
	Reason Reason        `json:"reason,omitempty"`
	Answer string        `json:"answer,omitempty"`
	NextAt Instant       `json:"next_attempt_at,omitzero"`
}

// GroupView is a group in JSON: data.group of a dev.jobwatcher.group.finished
// event.
type GroupView struct {
	Name string `json:"name"`
	// Outcome is completed when all of its jobs have, and failed as soon as one
	// has not.
	Outcome  Outcome `json:"outcome"`
	Jobs     int     `json:"jobs"`     // how many were tracked, those that go on included
	Finished int     `json:"finished"` // how many had ended
	Failed   int     `json:"failed"`   // how many of those did not complete
	// Members are its jobs, those that did not complete first; at most
	// MaxGroupMembers of them.
	Members []GroupMember `json:"members"`
}

// GroupMember is one job of a group in JSON.
type GroupMember struct {
	ID         ID      `json:"id"`
	Status     Status  `json:"status"`
	Outcome    Outcome `json:"outcome"` // "" while it goes on
	Error      string  `json:"error,omitempty"`
	OutputRows *int64  `json:"output_rows"`
}

// MaxGroupMembers bounds how many jobs one event lists.
const MaxGroupMembers = 100

// View is the job in JSON without its query text; WithQuery adds it.
func (j *Job) View() View {
	v := View{
		ID: j.ID, Tenant: j.Tenant, State: j.State, Status: j.Status, Outcome: j.Outcome,
		Labels: j.Labels, Group: j.Group, Destinations: j.Destinations, Source: j.Source,
		Overdue: j.Overdue, SourceData: j.SourceData, CreatedBy: j.CreatedBy,
		OutputRows: j.OutputRows, RemainingRetries: j.RemainingRetries, Error: j.Error,
		TrackedAt: j.TrackedAt, DeadlineAt: j.DeadlineAt, StatusSince: j.StatusSince,
		UpdatedAt: j.UpdatedAt, FinishedAt: j.FinishedAt, NextPollAt: j.NextPollAt,
		Polls: j.Polls, Deliveries: j.Deliveries, Anomaly: j.Anomaly,
	}
	if v.Labels == nil {
		v.Labels = Labels{}
	}
	if j.Delay != nil {
		s := j.Delay.Seconds()
		v.DetectionDelaySeconds = &s
	}
	if j.ProcessingTime != nil {
		s := j.ProcessingTime.Seconds()
		v.ProcessingSeconds = &s
	}
	return v
}

// WithQuery adds the query text, which leaves only where it is asked for.
func (v View) WithQuery(q string) View {
	v.Query = &q
	return v
}

// DeliveryView is a delivery in JSON, as contract section 4 shows it.
type DeliveryView struct {
	ID            string        `json:"id"`
	EventID       string        `json:"event_id"`
	EventType     EventType     `json:"event_type"`
	JobID         string        `json:"job_id"` // "" when the event is not about one job
	Destination   string        `json:"destination"`
	State         DeliveryState `json:"state"`
	CreatedAt     Instant       `json:"created_at"`
	NextAttemptAt Instant       `json:"next_attempt_at"`
	Attempts      []AttemptView `json:"attempts"`
}

// AttemptView is one attempt in JSON.
type AttemptView struct {
	At          Instant `json:"at"`
	TookSeconds float64 `json:"took_seconds"`
	Code        int     `json:"code"`
	Reason      Reason  `json:"reason"`
	Answer      string  `json:"answer"`
	Key         string  `json:"key,omitempty"`
	NextAt      Instant `json:"next_attempt_at,omitzero"`
}

// View is the delivery in JSON.
func (d *Delivery) View() DeliveryView {
	v := DeliveryView{
		ID: d.ID, EventID: d.EventID, EventType: d.EventType, Destination: d.Destination,
		State: d.State, CreatedAt: d.CreatedAt, NextAttemptAt: d.NextAttemptAt,
		Attempts: make([]AttemptView, 0, len(d.Attempts)),
	}
	if d.JobID != (ID{}) {
		v.JobID = d.JobID.String()
	}
	for i := range d.Attempts {
		v.Attempts = append(v.Attempts, d.Attempts[i].View())
	}
	return v
}

// View is the attempt in JSON.
func (a *Attempt) View() AttemptView {
	return AttemptView{
		At: a.At, TookSeconds: a.Took.Round(time.Microsecond).Seconds(), Code: a.Code,
		Reason: a.Reason, Answer: a.Answer, Key: a.Key, NextAt: a.NextAt,
	}
}

// Text is the attempt in a few words: code, reason and what the receiver said.
func (a *Attempt) Text() string {
	var parts []string
	if a.Code != 0 {
		parts = append(parts, strconv.Itoa(a.Code))
	}
	if a.Reason != NoReason {
		parts = append(parts, string(a.Reason))
	}
	if a.Answer != "" {
		parts = append(parts, strconv.Quote(a.Answer))
	}
	return strings.Join(parts, " ")
}
