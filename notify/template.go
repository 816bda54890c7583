package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Template is an operator's own text for a destination: the text of a Slack
// message, or the body of a webhook. It sees a [TemplateData] and nothing else:
// no URL, no header, no signing secret; query and result link only when the
// destination asks for them.
type Template struct {
	parsed *template.Template
	json   bool // the result must be JSON
}

// TemplateData is what a template sees. It is the same for each type of event;
// what an event does not have is empty.
type TemplateData struct {
	ID      string // the event's, equal to webhook-id
	Type    string // "dev.jobwatcher.job.failed"
	Event   string // the word that `on` uses: "failed"
	Tenant  string
	Subject string // the job's id, the group's name, the delivery's id
	Time    time.Time
	// LateSeconds is how late the event goes out, 0 when that is not worth saying.
	LateSeconds int64
	Job         TemplateJob
	Group       TemplateGroup
	Delivery    TemplateDelivery
}

// TemplateJob is the job that the event is about.
type TemplateJob struct {
	ID, Status, Outcome, Error, Group, CreatedBy, SourceData string
	Labels                                                   map[string]string
	Overdue                                                  bool
	// Rows is the number of rows, "" when Zuora did not say.
	Rows string
	// Anomaly is what is unusual about the result: no_rows, few_rows, many_rows,
	// fast, slow.
	Anomaly []string
	// Seconds is how long it took by Zuora, else how long it was watched; Took is
	// that in words.
	Seconds             float64
	Took                string
	TrackedAt, Finished time.Time
	// Query and DataFile (the result link) are empty unless the destination includes them.
	Query, DataFile string
}

// TemplateGroup is the group of a group_finished event.
type TemplateGroup struct {
	Name    string
	Jobs    int
	Failed  int
	Outcome string // completed when all have completed, else failed
}

// TemplateDelivery is the delivery of a delivery_exhausted event.
type TemplateDelivery struct{ ID, Destination, EventType, Why string }

// maxTemplated bounds what a template may make, for receivers and for us.
const maxTemplated = 64 << 10

var errTooLong = fmt.Errorf("it makes more than %d bytes", maxTemplated)

// functions are what templates may call beside those of text/template.
var functions = template.FuncMap{
	// json quotes a text, or writes any value, as JSON.
	"json": func(v any) (string, error) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err := enc.Encode(v)
		return strings.TrimSuffix(b.String(), "\n"), err
	},
	// cut shortens a text to n bytes, between characters.
	"cut":   func(n int, s string) string { return job.Cut(s, max(n, 0)) },
	"upper": strings.ToUpper,
	"lower": strings.ToLower,
	// or else a text for one that is empty: {{default "none" .Job.Error}}
	"default": func(otherwise, s string) string {
		if s == "" {
			return otherwise
		}
		return s
	},
	"rfc3339": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}

// ParseTemplate reads a template and tries it with a sample of every type of
// event. With asJSON its result must be JSON each time.
func ParseTemplate(text string, asJSON bool) (*Template, error) {
	parsed, err := template.New("template").Option("missingkey=zero").Funcs(functions).Parse(text)
	if err != nil {
		return nil, err
	}
	t := &Template{parsed: parsed, json: asJSON}
	for _, kind := range job.EventTypes() {
		sample := sampleOf(kind)
		data := dataOf(&sample, []string{IncludeQuery}, sample.CreatedAt.Time())
		if data.Job.ID != "" {
			data.Job.DataFile = sampleFile
		}
		if _, err := t.Execute(data); err != nil {
			return nil, fmt.Errorf("tried with a %s event: %w", kind.Short(), err)
		}
	}
	return t, nil
}

// Execute makes the text. A template that panics has failed.
func (t *Template) Execute(data TemplateData) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	out := &bounded{}
	if err := t.parsed.Execute(out, data); err != nil {
		return "", err
	}
	text = out.String()
	switch {
	case strings.TrimSpace(text) == "":
		return "", errors.New("it makes an empty text")
	case t.json && !json.Valid([]byte(text)):
		return "", errors.New("what it makes is not JSON; write texts as {{json .Job.Error}}")
	}
	return text, nil
}

// bounded is a buffer that refuses to grow without end.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxTemplated {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

// Fault is a template's error as it may be logged and kept: on one line, cut,
// and without what the destination alone may see.
func (t *Template) Fault(err error, d *TemplateData) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, secret := range []string{d.Job.Query, d.Job.DataFile} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	return job.Cut(text, maxFault)
}

const maxFault = 200

// Data is what a template of the destination sees of the delivery; the result
// link is the sender's to reveal.
func (d *Destination) Data(out *job.Outgoing, now time.Time) TemplateData {
	return dataOf(out, d.Include, now)
}

func dataOf(out *job.Outgoing, include []string, now time.Time) TemplateData {
	e := &out.Event
	d := TemplateData{
		ID: e.ID, Type: string(e.Type), Event: e.Type.Short(), Tenant: e.Tenant, Subject: e.Subject, Time: e.Time.Time(),
		LateSeconds: int64(Late(e.CreatedAt, now) / time.Second),
	}
	var raw struct {
		Job      json.RawMessage `json:"job"`
		Group    json.RawMessage `json:"group"`
		Delivery json.RawMessage `json:"delivery"`
	}
	if json.Unmarshal(e.Data, &raw) != nil {
		return d // nothing in it can be read; the event is named all the same
	}
	var delivery exhaustedDelivery
	if json.Unmarshal(raw.Delivery, &delivery) == nil {
		d.Delivery = TemplateDelivery{delivery.ID, delivery.Destination, string(delivery.EventType), delivery.Why}
	}
	var group job.GroupView
	if json.Unmarshal(raw.Group, &group) == nil {
		d.Group = TemplateGroup{group.Name, group.Jobs, group.Failed, string(group.Outcome)}
	}
	d.Job = templateJob(raw.Job, e.Time)
	if slices.Contains(include, IncludeQuery) {
		d.Job.Query = out.Query
	}
	return d
}

func templateJob(snapshot json.RawMessage, at job.Instant) TemplateJob {
	var v job.View
	j := jobOf(snapshot)
	if j == nil || json.Unmarshal(snapshot, &v) != nil {
		return TemplateJob{Labels: map[string]string{}}
	}
	took := ran(j, at)
	t := TemplateJob{
		ID: v.ID.String(), Status: string(v.Status), Outcome: string(v.Outcome), Error: v.Error, Group: v.Group,
		CreatedBy: v.CreatedBy, SourceData: v.SourceData, Labels: v.Labels, Overdue: v.Overdue,
		Seconds: took.Seconds(), Took: took.Round(100 * time.Millisecond).String(),
		TrackedAt: v.TrackedAt.Time(), Finished: v.FinishedAt.Time(),
	}
	t.Anomaly = v.Anomaly
	if v.OutputRows != nil {
		t.Rows = strconv.FormatInt(*v.OutputRows, 10)
	}
	return t
}

// Escaped is the data with every text made harmless for where it goes.
func (d TemplateData) Escaped(escape func(string) string) TemplateData {
	for _, p := range []*string{
		&d.ID, &d.Type, &d.Event, &d.Tenant, &d.Subject,
		&d.Job.ID, &d.Job.Status, &d.Job.Outcome, &d.Job.Error, &d.Job.Group, &d.Job.CreatedBy, &d.Job.SourceData,
		&d.Job.Rows, &d.Job.Took, &d.Job.Query, &d.Job.DataFile,
		&d.Group.Name, &d.Group.Outcome, &d.Delivery.ID, &d.Delivery.Destination, &d.Delivery.EventType, &d.Delivery.Why,
	} {
		*p = escape(*p)
	}
	labels := make(map[string]string, len(d.Job.Labels))
	for k, v := range d.Job.Labels {
		labels[k] = escape(v)
	}
	d.Job.Labels = labels
	return d
}
