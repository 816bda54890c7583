package job

// Filter picks jobs for a list. Empty fields do not restrict.
type Filter struct {
	Tenant   string
	States   []State
	Statuses []Status
	Outcomes []Outcome
	Labels   Labels // every pair must be there
	Limit    int    // page size; the store caps it
	Cursor   string // opaque: the previous page's next cursor
}

// DeliveryFilter picks deliveries for a list or a replay. Empty fields do not restrict.
type DeliveryFilter struct {
	States      []DeliveryState
	Destination string
	Job         ID
	Since       Instant // created at or after
	Limit       int
	Cursor      string
}

// DestinationView is a destination in JSON.
type DestinationView struct {
	Name       string                  `json:"name"`
	Kind       string                  `json:"kind"` // "webhook", "slack"
	On         []string                `json:"on,omitempty"`
	Match      map[string]string       `json:"match,omitempty"`
	When       map[string]string       `json:"when,omitempty"`
	Include    []string                `json:"include,omitempty"`
	Removed    bool                    `json:"removed,omitempty"` // not configured any more; deliveries wait for it
	Paused     bool                    `json:"paused"`
	PausedBy   string                  `json:"paused_by,omitempty"`
	PausedAt   Instant                 `json:"paused_at,omitzero"`
	NotBefore  Instant                 `json:"not_before,omitzero"`
	Failures   int                     `json:"failures"`
	Deliveries map[DeliveryState]int64 `json:"deliveries"`
}

// RouteReason says whether a destination is told about a job, and why.
type RouteReason struct {
	Destination string   `json:"destination"`
	Matches     bool     `json:"matches"`
	On          []string `json:"on,omitempty"` // the event words it would be told about
	Why         string   `json:"why"`
}

// Explanation says why the next look at a job is when it is.
type Explanation struct {
	ID           ID            `json:"id"`
	State        State         `json:"state"`
	Status       Status        `json:"status"`
	NextPollAt   Instant       `json:"next_poll_at"`
	Why          string        `json:"why"` // one sentence
	Interval     float64       `json:"interval_seconds"`
	Polls        int64         `json:"polls"`
	Failures     int           `json:"failures"`    // unbroken run of failed looks
	LastReason   Reason        `json:"last_reason"` // of that run
	TenantWait   Instant       `json:"tenant_waits_until"`
	DeadlineAt   Instant       `json:"deadline_at"`
	AbandonAt    Instant       `json:"abandon_at"`
	Destinations []RouteReason `json:"destinations"`
}

// UpstreamHealth is what the last looks told about the upstream as a whole.
type UpstreamHealth struct {
	Reachable bool    `json:"reachable"`
	Reason    Reason  `json:"reason,omitempty"` // why not
	Since     Instant `json:"since,omitzero"`
}
