package zuorasim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	controlPrefix = "/_sim/"
	// maxMade bounds how many jobs one call makes.
	maxMade = 100_000
)

// newControls serves /_sim/; doc.go describes it.
func (t *Tenant) newControls() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := f(r)
			status := http.StatusOK
			switch {
			case errors.Is(err, job.ErrNotFound):
				status = http.StatusNotFound
			case err != nil:
				status = http.StatusBadRequest
			}
			if err != nil {
				v = map[string]string{"error": err.Error()}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = encode(w, v)
		})
	}
	handle("POST /_sim/jobs", t.controlSubmit)
	handle("GET /_sim/jobs", t.controlJobs)
	handle("GET /_sim/jobs/{id}", t.controlJob)
	handle("POST /_sim/jobs/{id}/finish", t.controlFinish)
	handle("DELETE /_sim/jobs/{id}", t.controlForget)
	handle("POST /_sim/faults", t.controlFault)
	handle("GET /_sim/faults", t.controlFaults)
	handle("DELETE /_sim/faults", func(*http.Request) (any, error) {
		t.ClearFaults()
		return struct{}{}, nil
	})
	handle("DELETE /_sim/faults/{name}", t.controlEndFault)
	handle("GET /_sim/stats", func(*http.Request) (any, error) { return t.Stats(), nil })
	handle("GET /_sim/requests", t.controlRequests)
	handle("POST /_sim/tokens/revoke", func(*http.Request) (any, error) {
		t.RevokeTokens()
		return struct{}{}, nil
	})
	handle("POST /_sim/clock", t.controlClock)
	handle("POST /_sim/others", t.controlOthers)
	return mux
}

// readControl decodes a body; it must be declared as JSON, which a page in a
// browser cannot do without asking first.
func readControl(r *http.Request, v any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return errors.New("content-type must be application/json")
	}
	d := json.NewDecoder(io.LimitReader(r.Body, maxSubmit))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("decode body: %w", err)
	}
	return nil
}

// span is a duration in JSON: "20s".
type span time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	*s = span(d)
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (s span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

type controlSpec struct {
	Count     int        `json:"count"`
	ID        job.ID     `json:"id"`
	Query     string     `json:"query"`
	Source    string     `json:"source"`
	Client    string     `json:"client"`
	RunTime   span       `json:"run_time"`
	Forever   bool       `json:"forever"`
	Outcome   job.Status `json:"outcome"`
	Rows      *int64     `json:"rows"`
	Error     string     `json:"error"`
	Retries   int        `json:"retries"`
	Unlimited bool       `json:"unlimited"`
}

func (t *Tenant) controlSubmit(r *http.Request) (any, error) {
	var body struct {
		controlSpec
		Jobs []controlSpec `json:"jobs"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if body.Jobs == nil {
		body.Jobs = []controlSpec{body.controlSpec}
	}
	total := 0
	for i := range body.Jobs {
		c := &body.Jobs[i]
		c.Count = max(1, c.Count)
		total += min(c.Count, maxMade+1)
		if s := strings.ToUpper(c.Source); s != "" && s != live.String() && s != warehouse.String() {
			return nil, fmt.Errorf("source %q is neither LIVE nor WAREHOUSE", c.Source)
		}
		if c.RunTime < 0 || c.Retries < 0 {
			return nil, errors.New("run_time and retries must not be negative")
		}
		if c.ID != (job.ID{}) && c.Count > 1 {
			return nil, errors.New("a given id is good for one job")
		}
	}
	if total > maxMade {
		return nil, fmt.Errorf("%d jobs at once are more than %d", total, maxMade)
	}
	ids := make([]job.ID, 0, total)
	for i := range body.Jobs {
		c := &body.Jobs[i]
		for range c.Count {
			ids = append(ids, t.Submit(Spec{
				ID: c.ID, Query: c.Query, Source: c.Source, Client: c.Client, RunTime: time.Duration(c.RunTime),
				Forever: c.Forever, Outcome: c.Outcome, Rows: c.Rows, Error: c.Error, Retries: c.Retries, Unlimited: c.Unlimited,
			}))
		}
	}
	return map[string]any{"ids": ids}, nil
}

// controlJobShape is a Job in JSON; it shows no result link.
type controlJobShape struct {
	ID        job.ID      `json:"id"`
	Query     string      `json:"query"`
	Source    string      `json:"source"`
	Client    string      `json:"client"`
	Status    job.Status  `json:"status"`
	CreatedAt job.Instant `json:"created_at"`
	StartedAt job.Instant `json:"started_at"`
	EndedAt   job.Instant `json:"ended_at"`
	UpdatedOn job.Instant `json:"updated_on"`
	Rows      *int64      `json:"rows"`
	Error     string      `json:"error"`
	Polls     int         `json:"polls"`
	Listed    int         `json:"listed"`
	LatePolls int         `json:"late_polls"`
	EndSeenAt job.Instant `json:"end_seen_at"`
}

func shape(j *Job) controlJobShape {
	return controlJobShape{
		ID: j.ID, Query: job.Cut(j.Query, 2000), Source: j.Source, Client: j.Client, Status: j.Status,
		CreatedAt: job.At(j.CreatedAt), StartedAt: job.At(j.StartedAt), EndedAt: job.At(j.EndedAt),
		UpdatedOn: job.At(j.UpdatedOn), Rows: j.Rows, Error: j.Error, Polls: j.Polls, Listed: j.Listed,
		LatePolls: j.LatePolls, EndSeenAt: job.At(j.EndSeenAt),
	}
}

func (t *Tenant) controlJobs(*http.Request) (any, error) {
	jobs := t.Jobs()
	all := make([]controlJobShape, 0, len(jobs))
	for i := range jobs {
		all = append(all, shape(&jobs[i]))
	}
	return map[string]any{"jobs": all}, nil
}

// controlID reads the job id of the path.
func controlID(r *http.Request) (job.ID, error) { return job.ParseID(r.PathValue("id")) }

func (t *Tenant) controlJob(r *http.Request) (any, error) {
	id, err := controlID(r)
	if err != nil {
		return nil, err
	}
	j, ok := t.Job(id)
	if !ok {
		return nil, fmt.Errorf("job %s: %w", id, job.ErrNotFound)
	}
	return shape(&j), nil
}

func (t *Tenant) controlFinish(r *http.Request) (any, error) {
	id, err := controlID(r)
	if err != nil {
		return nil, err
	}
	var body struct {
		Status job.Status `json:"status"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if body.Status == "" {
		return nil, errors.New("status is missing")
	}
	if !t.Finish(id, body.Status) {
		return nil, fmt.Errorf("job %s: %w", id, job.ErrNotFound)
	}
	return struct{}{}, nil
}

func (t *Tenant) controlForget(r *http.Request) (any, error) {
	id, err := controlID(r)
	if err == nil && !t.Forget(id) {
		err = fmt.Errorf("job %s: %w", id, job.ErrNotFound)
	}
	return struct{}{}, err
}

// controlFaultShape is a Fault in JSON: durations as text, and a name.
type controlFaultShape struct {
	*Fault
	Name   string `json:"name,omitempty"`
	Hits   int    `json:"hits,omitempty"`
	For    span   `json:"for,omitempty"`
	Delay  span   `json:"delay,omitempty"`
	Jitter span   `json:"jitter,omitempty"`
}

func (t *Tenant) controlFault(r *http.Request) (any, error) {
	f := controlFaultShape{Fault: &Fault{}}
	if err := readControl(r, &f); err != nil {
		return nil, err
	}
	f.Fault.For, f.Fault.Delay, f.Fault.Jitter = time.Duration(f.For), time.Duration(f.Delay), time.Duration(f.Jitter)
	if err := f.Validate(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return map[string]string{"name": t.rules.add(t.options.Now(), *f.Fault)}, nil
}

func (t *Tenant) controlFaults(*http.Request) (any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]controlFaultShape, 0, len(t.rules.all))
	for _, r := range t.rules.all {
		f := r.Fault
		all = append(all, controlFaultShape{
			Fault: &f, Name: r.name, Hits: r.hits, For: span(f.For), Delay: span(f.Delay), Jitter: span(f.Jitter),
		})
	}
	return map[string]any{"faults": all}, nil
}

func (t *Tenant) controlEndFault(r *http.Request) (any, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.rules.remove(r.PathValue("name")) {
		return nil, fmt.Errorf("fault %q: %w", r.PathValue("name"), job.ErrNotFound)
	}
	return struct{}{}, nil
}

func (t *Tenant) controlRequests(r *http.Request) (any, error) {
	all := t.Requests()
	if text := r.FormValue("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("limit %q is not a count", text)
		}
		all = all[max(0, len(all)-n):]
	}
	return map[string]any{"requests": all}, nil
}

func (t *Tenant) controlClock(r *http.Request) (any, error) {
	var body struct {
		Skew span `json:"skew"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	t.SetClockSkew(time.Duration(body.Skew))
	return struct{}{}, nil
}

func (t *Tenant) controlOthers(r *http.Request) (any, error) {
	var body struct {
		PerMinute float64 `json:"per_minute"`
		Spend     int64   `json:"spend"`
	}
	if err := readControl(r, &body); err != nil {
		return nil, err
	}
	if body.PerMinute < 0 || body.Spend < 0 {
		return nil, errors.New("per_minute and spend must not be negative")
	}
	t.SpendOthers(body.PerMinute, body.Spend)
	return struct{}{}, nil
}
