package zuora

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// wireJob is a job as Zuora writes it. No field is required, and any may change
// its form without notice (zuora-facts.md section 2), so each is decoded by itself.
type wireJob struct {
	ID               flexText   `json:"id"`
	QueryStatus      flexText   `json:"queryStatus"`
	Query            flexText   `json:"query"`
	SourceData       flexText   `json:"sourceData"`
	CreatedBy        flexText   `json:"createdBy"`
	CreatedOn        flexText   `json:"createdOn"`
	UpdatedOn        flexText   `json:"updatedOn"`
	OutputRows       flexNumber `json:"outputRows"`
	ProcessingTime   flexNumber `json:"processingTime"`
	RemainingRetries flexNumber `json:"remainingRetries"`
	DataFile         flexText   `json:"dataFile"`
	ErrorMessage     flexText   `json:"errorMessage"`
	Message          flexText   `json:"message"`
	Error            flexText   `json:"error"`
}

// flexText takes a JSON text; anything else is absent.
type flexText string

func (t *flexText) UnmarshalJSON(b []byte) error {
	var s string
	if len(b) > 0 && b[0] == '"' && json.Unmarshal(b, &s) == nil {
		*t = flexText(s)
	}
	return nil
}

// flexNumber takes a whole number that is not negative, written as a number or
// as text; anything else is absent, never zero.
type flexNumber struct{ v *int64 }

func (n *flexNumber) UnmarshalJSON(b []byte) error {
	n.v = nil
	text := strings.Trim(string(b), `"`)
	if i, err := strconv.ParseInt(text, 10, 64); err == nil && i >= 0 {
		n.v = &i
		return nil
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && f >= 0 && f < math.MaxInt64 {
		i := int64(f)
		n.v = &i
	}
	return nil
}

// maxError bounds a job's error text, the longest that is stored and announced.
const maxError = 4 << 10

// maxMilliseconds is the longest processing time that a Duration holds.
const maxMilliseconds = math.MaxInt64 / int64(time.Millisecond)

// observation translates; ok is false when it does not say which job it is.
func (w *wireJob) observation() (o job.Observation, ok bool) {
	id, err := job.ParseID(string(w.ID))
	if err != nil {
		return o, false
	}
	o = job.Observation{
		ID: id, Status: job.ParseStatus(string(w.QueryStatus)), Query: string(w.Query),
		SourceData: job.Cut(string(w.SourceData), 64), CreatedBy: job.Cut(string(w.CreatedBy), 128),
		CreatedAt: instant(string(w.CreatedOn)), UpdatedAt: instant(string(w.UpdatedOn)),
		OutputRows: w.OutputRows.v, RemainingRetries: w.RemainingRetries.v,
		DataFile: secret.New(string(w.DataFile)),
	}
	if ms := w.ProcessingTime.v; ms != nil && *ms <= maxMilliseconds {
		d := time.Duration(*ms) * time.Millisecond
		o.ProcessingTime = &d
	}
	for _, text := range []flexText{w.ErrorMessage, w.Message, w.Error} {
		if text != "" {
			o.Error = job.Cut(string(text), maxError)
			break
		}
	}
	return o, true
}

// instant reads ISO 8601 with any number of fraction digits; what it cannot
// read is absent.
func instant(text string) time.Time {
	if text == "" || len(text) > 64 {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 2000 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}
