package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// maxJobs is how many jobs one transaction takes (contract section 4).
const maxJobs = 10_000

// What became of one job of many.
const (
	resultTracked = "tracked"
	resultAlready = "already_tracked"
	resultInvalid = "invalid"
	// resultFailed is for a stream alone: the store did not take it.
	resultFailed = "failed"
)

// result says what became of one job of many.
type result struct {
	ID     string `json:"id"`
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`
	Code   string `json:"code,omitempty"` // of the error, as in a problem
	Line   int    `json:"line,omitempty"` // in a stream, from 1
}

// specFields are the fields of one job; in a list it has an id as well.
var (
	specFields = []string{"labels", "destinations", "deadline", "group"}
	itemFields = append([]string{"id"}, specFields...)
)

// trackMany takes many jobs in: POST /v1/jobs, as one list or as a stream.
func (s *server) trackMany(w http.ResponseWriter, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	switch mediaType(r) {
	case "application/x-ndjson", "application/ndjson":
		return s.trackStream(w, r)
	case "application/json", "":
		return s.trackList(w, r)
	}
	return unsupported(w, "application/json", "application/x-ndjson")
}

func (s *server) trackList(w http.ResponseWriter, r *http.Request) error {
	b, err := body(w, r)
	if err != nil {
		return err
	}
	items, err := itemsOf(b)
	if err != nil {
		return err
	}
	t := newBatch(len(items))
	for _, raw := range items {
		t.add(s.item(raw))
	}
	if err := s.commit(r.Context(), t); err != nil {
		return err
	}
	if n := t.count(resultTracked); n > 0 {
		s.audit(r, strconv.Itoa(n)+" jobs tracked")
	}
	return answer(w, http.StatusOK, struct {
		Jobs []result `json:"jobs"`
	}{t.results})
}

func itemsOf(b []byte) ([]json.RawMessage, error) {
	if b == nil {
		return nil, malformed("the body is empty")
	}
	members, err := object(b, "body", "jobs")
	if err != nil {
		return nil, err
	}
	var items []json.RawMessage
	if err := member(members, "jobs", "a list of jobs", &items); err != nil {
		return nil, err
	}
	switch {
	case items == nil:
		return nil, invalid("jobs", string(members["jobs"]), "a list of jobs")
	case len(items) > maxJobs:
		return nil, invalid("jobs", strconv.Itoa(len(items))+" jobs", fmt.Sprintf("at most %d jobs; a stream (application/x-ndjson) may have more", maxJobs))
	}
	return items, nil
}

// item reads and checks one job of many. The id is what the caller wrote, as
// far as it can be read, so that he finds the job in the answer.
func (s *server) item(raw []byte) (spec job.Spec, id string, err error) {
	members, err := object(raw, "job", itemFields...)
	if err != nil {
		return spec, idIn(raw), err
	}
	if err := member(members, "id", "a text", &id); err != nil {
		return spec, "", err
	}
	if spec, err = specOf(members); err != nil {
		return spec, id, err
	}
	if spec.ID, err = job.ParseID(id); err != nil {
		return spec, id, invalidJobID(err)
	}
	return spec, id, s.check(spec)
}

// idIn finds the id of a job that is at fault otherwise.
func idIn(raw []byte) string {
	var one struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(raw, &one) // whatever could be read is better than nothing
	return one.ID
}

// specOf reads what a caller may say of a job, its id apart.
func specOf(members map[string]json.RawMessage) (spec job.Spec, err error) {
	var given map[string]*string // a null would pass for an empty text
	if err := member(members, "labels", "an object of texts", &given); err != nil {
		return spec, err
	}
	if len(given) > 0 {
		spec.Labels = make(job.Labels, len(given))
	}
	for k, v := range given {
		if v == nil {
			return spec, invalid(fmt.Sprintf("labels[%q]", job.Cut(k, maxQuoted)), "null", "a text")
		}
		spec.Labels[k] = *v
	}
	if err := member(members, "destinations", "a list of texts", &spec.Destinations); err != nil {
		return spec, err
	}
	if err := member(members, "group", "a text", &spec.Group); err != nil {
		return spec, err
	}
	var deadline string
	if err := member(members, "deadline", deadlineAllowed, &deadline); err != nil || deadline == "" {
		return spec, err
	}
	// Zero would mean the configured deadline to those behind us.
	if spec.Deadline, err = time.ParseDuration(deadline); err != nil || spec.Deadline == 0 {
		return spec, invalid("deadline", deadline, deadlineAllowed)
	}
	return spec, nil
}

const deadlineAllowed = `a span such as "2h" or "90m", from 1s to 8784h`

// check says what is wrong with a job: its syntax, or a destination that nobody
// configured.
func (s *server) check(spec job.Spec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	err := s.o.Check(spec)
	if invalid := (*job.InvalidError)(nil); errors.As(err, &invalid) && strings.HasPrefix(invalid.Field, "destinations") {
		p := invalidField(invalid)
		p.Code = codeUnknownDestination
		return p
	}
	return err
}

// batch is many jobs on their way into one transaction, with what becomes of
// each in the order of the input.
type batch struct {
	results []result
	specs   []job.Spec
	at      []int // the result of each spec
	seen    map[job.ID]bool
}

func newBatch(size int) *batch {
	return &batch{results: make([]result, 0, size), seen: make(map[job.ID]bool, size)}
}

// add takes one job in, or the reason why not. One that was there before in the
// same batch is tracked already.
func (t *batch) add(spec job.Spec, id string, err error) {
	one := result{ID: job.Cut(id, maxQuoted), Result: resultAlready}
	switch {
	case err != nil:
		p := problemOf(err)
		one.Result, one.Error, one.Code = resultInvalid, p.Detail, p.Code
	case !t.seen[spec.ID]:
		t.seen[spec.ID] = true
		t.specs = append(t.specs, spec)
		t.at = append(t.at, len(t.results))
	}
	t.results = append(t.results, one)
}

// commit makes the jobs durable, all or none, and fills in what was new.
func (s *server) commit(ctx context.Context, t *batch) error {
	if len(t.specs) == 0 {
		return nil
	}
	fresh, err := s.o.Watcher.Track(ctx, t.specs, job.SourceAPI)
	if err != nil {
		return err
	}
	for i, isNew := range fresh {
		if isNew {
			t.results[t.at[i]].Result = resultTracked
		}
	}
	return nil
}

func (t *batch) count(what string) int {
	n := 0
	for i := range t.results {
		if t.results[i].Result == what {
			n++
		}
	}
	return n
}
