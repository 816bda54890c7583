package job

import "time"

// BudgetWindow is what is known of one of the tenant's rate-limit windows.
type BudgetWindow struct {
	Span time.Duration
	// Limit is the tenant's; Remaining what is left of it, -1 when the answer did
	// not say; Reset when it begins anew, by our clock, zero when it did not say.
	Limit     int64
	Remaining int64
	Reset     time.Time
}

// BudgetState is what outlives a restart: what may still be spent of a window,
// and what has been since it began.
type BudgetState struct {
	Span  time.Duration
	Level float64
	Spent int64
	Since Instant
	At    Instant
}

// BudgetView is the tenant's budget in JSON.
type BudgetView struct {
	Tenant string `json:"tenant"`
	// Share is the part of each window that may be ours; null with fixed limits.
	Share *float64 `json:"share"`
	// LateSeconds is how much later than planned the oldest due look is, because
	// of the budget or of whatever else.
	LateSeconds float64            `json:"late_seconds"`
	Windows     []BudgetWindowView `json:"windows"`
}

// BudgetWindowView is one window in JSON. Used and Left are the tenant's, where
// an answer has told them, else ours.
type BudgetWindowView struct {
	Window   string  `json:"window"`
	Limit    int64   `json:"limit"`
	Used     int64   `json:"used"`
	Left     int64   `json:"left"`
	ResetsAt Instant `json:"resets_at"`
	// Ours is how much of it we may spend, Spent what we have, NextAt when the
	// next request may go out, SpentAt when ours is used up at the present pace;
	// null when it lasts.
	Ours    int64   `json:"ours"`
	Spent   int64   `json:"spent"`
	NextAt  Instant `json:"next_at"`
	SpentAt Instant `json:"spent_at"`
}
