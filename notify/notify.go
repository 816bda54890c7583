package notify

import (
	"context"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Outbox is where deliveries wait. Every change is durable on return and
// refused for a replica whose claim has ended (job.ErrOwnerLost).
type Outbox interface {
	// ClaimDeliveries marks up to limit due deliveries of the destination as
	// sending by replica, oldest first, and says when the next one is due (zero:
	// none waits). A destination that is paused or asked us to wait has none due.
	ClaimDeliveries(ctx context.Context, replica job.ReplicaID, destination string, limit int) (claimed []job.Outgoing, next job.Instant, err error)
	// Settle records attempts with the states that follow, in one transaction.
	Settle(ctx context.Context, replica job.ReplicaID, settled []job.Settlement) error
	// Destinations reads what is remembered about each destination that ever was.
	Destinations(ctx context.Context) (map[string]job.DestinationState, error)
	// SetDestination stores what is remembered. Pausing turns its pending
	// deliveries into held ones, resuming turns held ones into pending, due now.
	SetDestination(ctx context.Context, s job.DestinationState) error
}

// Sender sends to one destination.
type Sender interface {
	// Send delivers the batch as one message; len(batch) is 1 unless the
	// destination's lane allows more. The answer is filled as far as one came.
	// A nil error means that the receiver took it; otherwise it is a *SendError.
	Send(ctx context.Context, batch []job.Outgoing) (Answer, error)
}

// Answer is what a receiver said.
type Answer struct {
	Code int
	Head string // first bytes of the body, capped, cleaned, without secrets
	// Note says what the sender did otherwise than it was told to, for log and
	// ledger: a template that failed. "" when nothing.
	Note string
	Key  string // which secrets signed: name and fingerprint of each
}

// LateAfter is how late an event may go out without saying so: longer than the
// first attempts of the schedule, so that a receiver's restart is not news.
const LateAfter = 5 * time.Minute

// Late is how long after it was stored an event goes out, or zero when that is
// not worth saying.
func Late(created job.Instant, now time.Time) time.Duration {
	if late := now.Sub(created.Time()); !created.IsZero() && late > LateAfter {
		return late
	}
	return 0
}

// SendError is why a send failed. Its text holds neither URL nor secret.
type SendError struct {
	Reason job.Reason
	// RetryAfter is how long the receiver asked us to wait; zero when it did not.
	// It stops the whole destination.
	RetryAfter time.Duration
	Err        error
}

func (e *SendError) Error() string { return string(e.Reason) + ": " + e.Err.Error() }

func (e *SendError) Unwrap() error { return e.Err }
