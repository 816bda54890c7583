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
