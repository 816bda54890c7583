package zuora

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// wireJob is a job as Zuora writes it: each value as it stands in the answer,
// nil where there is none. No field is required and any may change its form
// without notice (zuora-facts.md section 2), so each is understood by itself.
type wireJob struct {
	id, status, query, sourceData, createdBy     []byte
	createdOn, updatedOn                         []byte
	outputRows, processingTime, remainingRetries []byte
	dataFile                                     []byte
	errorMessage, message, err                   []byte
}

// answer reads {"data":{…}}. found: there is such an object. failed: the answer
// says success is false. ok: it is JSON at all, and an object.
func (w *wireJob) answer(b []byte) (found, failed, ok bool) {
	s := scanner{b: b}
	ok = s.object(func(key []byte) bool {
		if string(key) == "data" && s.next() == '{' {
			found = true
			return w.read(&s)
		}
		raw, ok := s.value(1)
		if string(key) == "success" {
			failed = isFalse(raw)
		}
		return ok
	})
	s.next()
	return found, failed, ok && s.i == len(b)
}

// element reads one job of a list.
func (w *wireJob) element(b []byte) bool {
	s := scanner{b: b}
	if !w.read(&s) {
		return false
	}
	s.next()
	return s.i == len(b)
}

func isFalse(raw []byte) bool {
	return string(raw) == "false" || string(raw) == `"false"`
}

// read takes a job's object.
func (w *wireJob) read(s *scanner) bool {
	*w = wireJob{}
	return s.object(func(key []byte) bool {
		raw, ok := s.value(2)
		if field := w.field(key); field != nil {
			*field = raw
		}
		return ok
	})
}

// field is where a key's value belongs; nil for one that we do not use.
func (w *wireJob) field(key []byte) *[]byte {
	switch string(key) {
	case "id":
		return &w.id
	case "queryStatus":
		return &w.status
	case "query":
		return &w.query
	case "sourceData":
		return &w.sourceData
	case "createdBy":
		return &w.createdBy
	case "createdOn":
		return &w.createdOn
	case "updatedOn":
		return &w.updatedOn
	case "outputRows":
		return &w.outputRows
	case "processingTime":
		return &w.processingTime
	case "remainingRetries":
		return &w.remainingRetries
	case "dataFile":
		return &w.dataFile
	case "errorMessage":
		return &w.errorMessage
	case "message":
		return &w.message
	case "error":
		return &w.err
	}
	return nil
}

// is reports whether the answer is about this job; text is id as a text.
func (w *wireJob) is(text string, id job.ID) bool {
	if len(w.id) == len(text)+2 && string(w.id[1:len(w.id)-1]) == text {
		return true
	}
	seen, err := job.ParseID(unquote(w.id, len(text)))
	return err == nil && seen == id
}

const (
	// maxError bounds a job's error text, the longest that is stored and announced.
	maxError = 4 << 10
	// maxLink bounds the result link; a presigned one has about 2 KiB.
	maxLink = 16 << 10
	// maxWord bounds texts that are a word or an id; the longest we know has 36
	// characters.
	maxWord = 128
	// maxMilliseconds is the longest processing time that a Duration holds.
	maxMilliseconds = math.MaxInt64 / int64(time.Millisecond)
)

// observation translates. It shares no memory with the answer.
func (w *wireJob) observation(id job.ID) job.Observation {
	o := job.Observation{
		ID:               id,
		Status:           status(w.status),
		Query:            unquote(w.query, maxJobBytes),
		SourceData:       word(w.sourceData),
		CreatedBy:        word(w.createdBy),
		CreatedAt:        instant(w.createdOn),
		UpdatedAt:        instant(w.updatedOn),
		OutputRows:       number(w.outputRows),
		RemainingRetries: number(w.remainingRetries),
	}
	if ms := number(w.processingTime); ms != nil && *ms <= maxMilliseconds {
		o.ProcessingTime = new(time.Duration(*ms) * time.Millisecond)
	}
	if len(w.dataFile) <= maxLink {
		o.DataFile = secret.New(unquote(w.dataFile, maxLink))
	}
	o.Error = w.reason(o.Status)
	return o
}

// reason is why a job failed. Only errorMessage is known to be that (zuora-facts.md
// section 4 has the two others from a client that falls back to them); on a
// job that has not failed, the others would be about something else.
func (w *wireJob) reason(s job.Status) string {
	texts := [...][]byte{w.errorMessage, w.message, w.err}
	n := 1
	if o := s.Outcome(); o == job.OutcomeFailed || o == job.OutcomeCancelled || !s.Known() {
		n = len(texts)
	}
	for _, raw := range texts[:n] {
		if len(raw) > 2 && raw[0] == '"' { // neither absent nor empty
			return job.Cut(withoutQueries(unquote(raw, maxError)), maxError)
		}
	}
	return ""
}

// status reads the API's word. The documented ones cost nothing.
func status(raw []byte) job.Status {
	if len(raw) < 2 || raw[0] != '"' {
		return job.Unseen
	}
	for _, known := range [...]job.Status{job.InProgress, job.Accepted, job.Completed, job.Failed, job.Cancelled, job.Submitted} {
		if string(raw[1:len(raw)-1]) == string(known) {
			return known
		}
	}
	return job.ParseStatus(clean(unquote(raw, maxWord), maxWord))
}

// word is a short text.
func word(raw []byte) string {
	switch string(raw) {
	case "":
		return ""
	case `"LIVE"`:
		return "LIVE"
	case `"WAREHOUSE"`:
		return "WAREHOUSE"
	}
	return job.Cut(unquote(raw, maxWord), maxWord)
}

// number takes a whole number that is not negative, written as a number or as
// text; a fraction is dropped. Anything else is absent, never zero.
func number(raw []byte) *int64 {
	if len(raw) >= 2 && raw[0] == '"' {
		raw = bytes.TrimSpace(raw[1 : len(raw)-1])
	}
	if len(raw) == 0 || len(raw) > 32 {
		return nil
	}
	var n int64
	for i, c := range raw {
		if c < '0' || c > '9' || i == 18 { // 18 digits always fit
			return fraction(string(raw))
		}
		n = 10*n + int64(c-'0')
	}
	return &n
}

func fraction(text string) *int64 {
	if strings.Trim(text, "0123456789.eE+-") != "" {
		return nil // what ParseFloat takes beyond JSON: NaN, infinities, hexadecimal
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return &n
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f >= math.MaxInt64 {
		return nil
	}
	return new(int64(f))
}

// instant reads ISO 8601 with any number of fraction digits. What it cannot
// read is absent: a time without a zone might be hours off.
func instant(raw []byte) time.Time {
	if len(raw) < 2 || len(raw) > 64 || raw[0] != '"' {
		return time.Time{}
	}
	raw = raw[1 : len(raw)-1]
	var t time.Time
	if t.UnmarshalText(raw) != nil {
		// The basic form of the zone, as Java writes it when asked for "Z".
		var err error
		if t, err = time.Parse("2006-01-02T15:04:05.999999999Z0700", string(raw)); err != nil {
			return time.Time{}
		}
	}
	return credible(t)
}

// credible is t in UTC, or absent when no clock can have said so.
func credible(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 2000 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}
