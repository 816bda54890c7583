package job

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"strings"
)

// EventType is the CloudEvents type of an event (contract section 5).
type EventType string

// The types.
const (
	EventCompleted         EventType = "dev.jobwatcher.job.completed"
	EventFailed            EventType = "dev.jobwatcher.job.failed"
	EventCancelled         EventType = "dev.jobwatcher.job.cancelled"
	EventLost              EventType = "dev.jobwatcher.job.lost"
	EventAbandoned         EventType = "dev.jobwatcher.job.abandoned"
	EventOverdue           EventType = "dev.jobwatcher.job.overdue"
	EventOverdueExpected   EventType = "dev.jobwatcher.job.overdue_expected"
	EventGroupFinished     EventType = "dev.jobwatcher.group.finished"
	EventDeliveryExhausted EventType = "dev.jobwatcher.delivery.exhausted"
	EventTest              EventType = "dev.jobwatcher.destination.test"
)

// EventTypes lists all of them.
func EventTypes() []EventType {
	return []EventType{
		EventCompleted, EventFailed, EventCancelled, EventLost, EventAbandoned, EventOverdue, EventOverdueExpected,
		EventGroupFinished, EventDeliveryExhausted, EventTest,
	}
}

// Short is the word that a destination's `on` uses: the type's last element
// for jobs ("completed"), "group_finished", "delivery_exhausted", "test".
func (t EventType) Short() string {
	switch t {
	case EventGroupFinished:
		return "group_finished"
	case EventDeliveryExhausted:
		return "delivery_exhausted"
	case EventTest:
		return "test"
	case EventCompleted, EventFailed, EventCancelled, EventLost, EventAbandoned, EventOverdue, EventOverdueExpected:
	}
	return strings.TrimPrefix(string(t), "dev.jobwatcher.job.")
}

// EventType is the type of the event that announces the outcome.
func (o Outcome) EventType() EventType { return EventType("dev.jobwatcher.job." + string(o)) }

// Event is one fact that is announced. It is written once, in the transaction
// that made it true, and never changed.
type Event struct {
	// ID is derived by [EventID]; it is the webhook-id of every attempt.
	ID      string
	Type    EventType
	Tenant  string
	Subject string // the job's id, the group's name, or the delivery's id
	JobID   ID     // zero when the event is not about one job
	// Time is when it happened, by Zuora's own clock as far as that tells.
	Time Instant
	// CreatedAt is when it was stored, by our clock.
	CreatedAt Instant
	// Data is the CloudEvent's data, JSON, without query text and result link:
	// those are added for destinations that ask for them.
	Data json.RawMessage
	// Job is the job as it was then, for routing and rendering; nil when the
	// event is not about one job.
	Job *Job
}

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

func derivedID(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return prefix + idEncoding.EncodeToString(sum[:16])
}

// EventID derives an event's id from tenant, subject and type, so that every
// retry, replay, replica and restored backup sends the same one.
func EventID(tenant, subject string, t EventType) string {
	return derivedID("evt_", tenant, subject, string(t))
}

// GroupEventID derives the id of the event that announces one round of a group:
// the round is named by the job that founded it, so that a name that is used
// again is announced again.
func GroupEventID(tenant, group, founder string) string {
	return EventID(tenant, group+" "+founder, EventGroupFinished)
}

// DeliveryID derives the id of the one delivery that an event owes a destination.
func DeliveryID(eventID, destination string) string {
	return derivedID("dlv_", eventID, destination)
}
