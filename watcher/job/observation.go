package job

import (
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// Observation is what one look told us about one job. What Zuora did not say
// stays absent: nil, zero time or "".
type Observation struct {
	ID               ID
	Status           Status
	Query            string
	SourceData       string
	CreatedBy        string
	CreatedAt        time.Time // createdOn; undocumented, often absent
	UpdatedAt        time.Time // updatedOn, by Zuora's clock
	OutputRows       *int64
	ProcessingTime   *time.Duration // from milliseconds
	RemainingRetries *int64
	Error            string
	DataFile         secret.Text
	// ServerTime is Zuora's clock when it answered (the Date header), for the
	// detection delay; zero when it did not say.
	ServerTime time.Time
}
