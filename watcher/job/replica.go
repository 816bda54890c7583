package job

// ReplicaID names one running daemon; it is made anew at each start.
type ReplicaID string

// Replica is one running daemon as the store knows it.
//
// A job or delivery carries the id of the replica row that owns it. Who may act
// on that row's behalf is the row's holder: at first the replica itself, and,
// once its heartbeat has stopped, whichever replica inherits the row. So a
// million jobs change hands by one write, and the fence of every commit is
// "some row with this owner is held by me".
type Replica struct {
	ID          ReplicaID
	Host        string
	Version     string
	StartedAt   Instant
	HeartbeatAt Instant // by the database's clock
}

// Pulse is what a heartbeat learns about the others.
type Pulse struct {
	// Inherited is how many dead replicas' rows came to us with it.
	Inherited int
	// Replicas are alive, this one included, and watch so many Jobs together.
	Replicas int
	Jobs     int
	// Free is how many jobs nobody owns, as far as anybody counted.
	Free int
}

// Note is what one replica tells the others, so that they know at once what they
// would find out later by themselves. Nothing may depend on one: it can be lost.
type Note struct {
	From ReplicaID `json:"from"`
	// Kind is a Change's kind, [KindUntracked], or one of the kinds below.
	Kind string  `json:"kind"`
	At   Instant `json:"at,omitzero"`
	IDs  []ID    `json:"ids,omitempty"`
}

// The kinds of a [Note] that are not about what happened to jobs.
const (
	NotePoll = "poll" // somebody asks for a look at these jobs
	NoteFree = "free" // there are jobs, or deliveries, that nobody owns
)
