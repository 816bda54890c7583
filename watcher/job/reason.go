package job

// Reason is why a look or a delivery attempt failed. It is a closed set: the
// same word decides the retry, is the metric's label, the log's field, the
// stored column and the API's value.
type Reason string

// The reasons. The first block is what contract section 7 lists for polls;
// deliveries use those and the second block.
const (
	NoReason          Reason = ""
	ReasonTimeout     Reason = "timeout"      // no complete answer in time
	ReasonNetwork     Reason = "network"      // no connection, or it broke
	ReasonAuth        Reason = "auth"         // credentials refused
	ReasonForbidden   Reason = "forbidden"    // 403
	ReasonNotFound    Reason = "not_found"    // 404
	ReasonRateLimited Reason = "rate_limited" // 429
	ReasonServer      Reason = "server"       // 5xx, or an error inside a 200
	ReasonMalformed   Reason = "malformed"    // an answer, but not one we understand

	ReasonRejected   Reason = "rejected"   // a receiver's other 4xx
	ReasonGone       Reason = "gone"       // a receiver's 410
	ReasonRedirected Reason = "redirected" // a receiver's 3xx, never followed
	ReasonBlocked    Reason = "blocked"    // an address that the guard refuses to dial
	ReasonInternal   Reason = "internal"   // our own fault: a panic, a template, a secret file
)

// PollReasons lists the reasons of a failed look.
func PollReasons() []Reason {
	return []Reason{
		ReasonTimeout, ReasonNetwork, ReasonAuth, ReasonForbidden, ReasonNotFound,
		ReasonRateLimited, ReasonServer, ReasonMalformed, ReasonInternal,
	}
}

// DeliveryReasons lists the reasons of a failed delivery attempt.
func DeliveryReasons() []Reason {
	return []Reason{
		ReasonTimeout, ReasonNetwork, ReasonAuth, ReasonForbidden, ReasonNotFound,
		ReasonRateLimited, ReasonServer, ReasonMalformed,
		ReasonRejected, ReasonGone, ReasonRedirected, ReasonBlocked, ReasonInternal,
	}
}
