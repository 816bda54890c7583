package job

import "time"

// Run is one finished run of a query, as far as the next run of a query of its
// [Shape] can learn from it. Absent values are nil or zero.
type Run struct {
	// Took is how long it took, from its start (as far as that is known) to its
	// end; zero when the start is not known.
	Took       time.Duration
	Processing *time.Duration
	Rows       *int64
	Completed  bool
}
