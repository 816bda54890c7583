package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// body is what is posted, and its type: the CloudEvent, or what the
// destination's template makes. A template that fails costs nobody the event:
// the CloudEvent goes out instead and says so in data.template_error, and note
// says it to log and ledger. fields are texts that must not come back.
func (s *Sender) body(out job.Outgoing, x Extras, at time.Time) (body []byte, contentType string, fields []string, note string, err error) {
	c := s.dest.Webhook
	if c.Template == nil {
		body, err = Body(out, x)
		return body, ContentType, nil, "", err
	}
	data := s.dest.Data(&out, at)
	if x.DataFile {
		data.Job.DataFile = out.DataFile.Reveal()
	}
	text, err := c.Template.Execute(data)
	if err == nil {
		if body, fields, err = s.withFields([]byte(text)); err == nil {
			return body, c.ContentType, fields, "", nil
		}
	}
	x.Fault = c.Template.Fault(err, &data)
	body, err = Body(out, x)
	return body, ContentType, nil, "the template failed and the plain form is sent: " + x.Fault, err
}

// withFields adds the fields that a template may not see, read anew each time.
func (s *Sender) withFields(body []byte) ([]byte, []string, error) {
	fields := s.dest.Webhook.Fields
	if len(fields) == 0 {
		return body, nil, nil
	}
	all, err := members(bytes.TrimSpace(body))
	if err != nil {
		return nil, nil, fmt.Errorf("add fields: %w", err)
	}
	known := make([]string, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text, err := fields[name].Get()
		if err != nil {
			return nil, nil, fmt.Errorf("read field %s: %w", name, err)
		}
		value, err := json.Marshal(text.Reveal())
		if err != nil {
			return nil, nil, fmt.Errorf("write field %s: %w", name, err)
		}
		all = slices.DeleteFunc(all, func(m member) bool { return m.key == name })
		all, known = append(all, member{name, value}), append(known, text.Reveal())
	}
	body, err = object(all)
	return body, known, err
}
