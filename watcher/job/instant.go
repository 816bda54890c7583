package job

import "time"

// Instant is a point in time in Unix milliseconds UTC, as the store keeps it.
// It carries no pointer, unlike [time.Time]. Zero means absent.
type Instant int64

// At converts t; the zero time becomes the zero Instant.
func At(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMilli())
}

// IsZero reports whether the instant is absent.
func (i Instant) IsZero() bool { return i == 0 }

// Time converts back, in UTC; an absent Instant becomes the zero time.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(i)).UTC()
}

// Add returns the instant d later; an absent one stays absent.
func (i Instant) Add(d time.Duration) Instant {
	if i == 0 {
		return 0
	}
	return i + Instant(d.Milliseconds())
}

// Sub is the span from other to i.
func (i Instant) Sub(other Instant) time.Duration {
	return time.Duration(i-other) * time.Millisecond
}

// MarshalJSON writes RFC 3339 in UTC with milliseconds, or null when absent.
func (i Instant) MarshalJSON() ([]byte, error) {
	if i == 0 {
		return []byte("null"), nil
	}
	return []byte(`"` + i.String() + `"`), nil
}

// UnmarshalJSON reads what MarshalJSON writes, with any number of fraction digits.
func (i *Instant) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*i = 0
		return nil
	}
	var t time.Time
	if err := t.UnmarshalJSON(b); err != nil {
		return invalid("time", string(b), "an RFC 3339 time")
	}
	*i = At(t)
	return nil
}

// String is RFC 3339 in UTC with milliseconds, or "" when absent.
func (i Instant) String() string {
	if i == 0 {
		return ""
	}
	return i.Time().Format("2006-01-02T15:04:05.000Z07:00")
}
