package job

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// DeliveryState is where a delivery stands.
type DeliveryState string

// The states of contract section 6.
//
//	pending ──> sending ──> delivered
//	   ^           │
//	   └───────────┤ failed, will be tried again
//	   held <──────┤ the destination is paused
//	   exhausted <─┘ tried for the last time
const (
	DeliveryPending   DeliveryState = "pending"
	DeliverySending   DeliveryState = "sending"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryHeld      DeliveryState = "held"
	DeliveryExhausted DeliveryState = "exhausted"
)

// DeliveryStates lists all five.
func DeliveryStates() []DeliveryState {
	return []DeliveryState{DeliveryPending, DeliverySending, DeliveryDelivered, DeliveryHeld, DeliveryExhausted}
}

// Delivery is one event owed to one destination.
type Delivery struct {
	ID          string
	EventID     string
	EventType   EventType
	Tenant      string
	JobID       ID
	Destination string
	State       DeliveryState
	CreatedAt   Instant
	// NextAttemptAt is zero when none is planned.
	NextAttemptAt Instant
	SettledAt     Instant // when it became delivered or exhausted
	// Tries counts attempts since creation or the last replay; it is the row of
	// the attempt schedule.
	Tries int
	// Made counts all attempts that ever were, replays and probes included.
	Made     int
	Attempts []Attempt // filled where the ledger is read, not where work is claimed
}

// Attempt is one try at a delivery, kept for ever with it.
type Attempt struct {
	N      int // from 1, replays counted on
	At     Instant
	Took   time.Duration
	Code   int    // HTTP status, zero when there was no answer
	Reason Reason // why it failed; NoReason when it did not
	Answer string // head of the answer, capped, cleaned, without secrets
	Key    string // which secrets signed: name and fingerprint of each; "" when none did
	NextAt Instant
}

// Outgoing is a claimed delivery with what is needed to send it.
type Outgoing struct {
	Delivery
	Event Event
	// Query and DataFile are the job's; a sender passes them on only when its
	// destination asks for them.
	Query    string
	DataFile secret.Text
}

// Settlement is what an attempt at a delivery means: the attempt itself and
// the state that follows, committed together.
type Settlement struct {
	DeliveryID string
	State      DeliveryState
	// NextAttemptAt goes with DeliveryPending.
	NextAttemptAt Instant
	// Attempt is nil when the delivery is handed back without having been tried.
	Attempt *Attempt
	// Probe says that the attempt was there to learn about its destination: it is
	// kept, but does not count towards the delivery's own schedule.
	Probe bool
	// Event announces that the delivery is exhausted, to Destinations: stored
	// together with that, or not at all. nil announces nothing.
	Event        *Event
	Destinations []string
}

// DestinationState is what is remembered about a destination, for all replicas.
type DestinationState struct {
	Name string
	// Paused: deliveries are held until somebody resumes it.
	Paused bool
	// PausedBy says who or what paused it: "operator", "gone" (410),
	// "failing" (too many failures; probed now and then) or "removed" (it is not
	// configured any more).
	PausedBy string
	PausedAt Instant
	// NotBefore is how long its own Retry-After asks us to wait.
	NotBefore Instant
	// Failures counts the unbroken run of failed attempts.
	Failures int
}
