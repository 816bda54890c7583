package job

import "strings"

// Status is what Zuora last said about a job, verbatim but for the spellings
// that [ParseStatus] folds. An unknown word is kept as it came.
type Status string

// The statuses that Zuora documents (zuora-facts.md section 2). Unseen is ours:
// the job has not been looked at yet.
const (
	Unseen     Status = ""
	Submitted  Status = "submitted"
	Accepted   Status = "accepted"
	InProgress Status = "in_progress"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Cancelled  Status = "cancelled"
)

// Statuses lists the documented ones in the order in which a job runs through
// them; metrics start each at zero.
func Statuses() []Status {
	return []Status{Submitted, Accepted, InProgress, Completed, Failed, Cancelled}
}

// maxStatus caps an unknown status; the documented ones have at most 11 bytes.
const maxStatus = 64

// ParseStatus reads the API's word. Known words are folded to lower case,
// "canceled" counts as cancelled and "aborted" as failed (contract section 8);
// any other word is kept as it came, cut to 64 bytes.
func ParseStatus(word string) Status {
	switch w := strings.ToLower(strings.TrimSpace(word)); w {
	case "submitted":
		return Submitted
	case "accepted":
		return Accepted
	case "in_progress":
		return InProgress
	case "completed":
		return Completed
	case "failed", "aborted":
		return Failed
	case "cancelled", "canceled":
		return Cancelled
	case "":
		return Unseen
	}
	return Status(strings.Clone(Cut(word, maxStatus)))
}

// Known reports whether the status is one that Zuora documents.
func (s Status) Known() bool {
	switch s {
	case Submitted, Accepted, InProgress, Completed, Failed, Cancelled:
		return true
	case Unseen:
		return false
	}
	return false
}

// Outcome is how a status ends watching: completed, failed or cancelled, or
// [Undecided] for a status that is not final.
func (s Status) Outcome() Outcome {
	switch s {
	case Completed:
		return OutcomeCompleted
	case Failed:
		return OutcomeFailed
	case Cancelled:
		return OutcomeCancelled
	case Unseen, Submitted, Accepted, InProgress:
		return Undecided
	}
	return Undecided
}

// State is ours: whether a job is still watched.
type State string

// The two states. The only transition is from Watching to Finished.
const (
	Watching State = "watching"
	Finished State = "finished"
)

// Outcome is how watching ended.
type Outcome string

// The outcomes of contract section 1. Undecided means still watching.
const (
	Undecided        Outcome = ""
	OutcomeCompleted Outcome = "completed"
	OutcomeFailed    Outcome = "failed"
	OutcomeCancelled Outcome = "cancelled"
	OutcomeLost      Outcome = "lost"
	OutcomeAbandoned Outcome = "abandoned"
)

// Outcomes lists all five.
func Outcomes() []Outcome {
	return []Outcome{OutcomeCompleted, OutcomeFailed, OutcomeCancelled, OutcomeLost, OutcomeAbandoned}
}

// Source is how a job came to be tracked: a metric label.
type Source string

// The sources.
const (
	SourceAPI      Source = "api"
	SourceEnv      Source = "env"
	SourceFile     Source = "file"
	SourceDiscover Source = "discover"
)

// Sources lists all four.
func Sources() []Source { return []Source{SourceAPI, SourceEnv, SourceFile, SourceDiscover} }
