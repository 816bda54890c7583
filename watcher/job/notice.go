package job

// KindUntracked is the kind of a [Notice] about a job that is not watched any
// more and was not announced.
const KindUntracked = "untracked"

// Notice says that something happened to a job, for those who look on.
type Notice struct {
	// N counts a process's notices from 1.
	N    uint64
	At   Instant
	Kind string // one of the Kind constants
	ID   ID
}
