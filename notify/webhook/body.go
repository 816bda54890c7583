package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Extras are what a destination gets beyond the event as it was stored, for it
// asked for them by name.
type Extras struct {
	Query    bool
	DataFile bool
	// Fault is why the destination's template failed; it becomes
	// data.template_error.
	Fault string
	// Late is how late the event goes out; it becomes data.late_seconds.
	Late time.Duration
}

// envelope is a CloudEvent 1.0 in structured JSON mode. The order of its fields
// is that of contract section 5. Type, timestamp and data make it a Standard
// Webhooks payload; timestamp is a CloudEvents extension attribute.
//
// It is not the CloudEvents SDK's own type: that one writes extensions after
// data and copies the data through a second JSON library. The SDK validates
// every body in the tests instead.
type envelope struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            job.EventType   `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            job.Instant     `json:"time,omitzero"`
	Timestamp       job.Instant     `json:"timestamp,omitzero"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

// Body is what is posted for the event: the same bytes at each attempt, but for
// data.late_seconds when it goes out late.
func Body(out job.Outgoing, x Extras) ([]byte, error) {
	e := out.Event
	data, err := withExtras(out, x)
	if err != nil {
		return nil, fmt.Errorf("build body of %s: %w", e.ID, err)
	}
	at := e.Time
	if at.IsZero() {
		at = e.CreatedAt
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err = enc.Encode(envelope{
		SpecVersion: "1.0", ID: e.ID, Source: "/jobwatcher/" + url.PathEscape(e.Tenant), Type: e.Type,
		Subject: e.Subject, Time: at, Timestamp: at, DataContentType: "application/json", Data: data,
	})
	if err != nil {
		return nil, fmt.Errorf("build body of %s: %w", e.ID, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// withExtras is the event's data with query and data_file in its job, as far as
// they are asked for and known. All other keys keep their order.
func withExtras(out job.Outgoing, x Extras) (json.RawMessage, error) {
	data := out.Event.Data
	if len(data) == 0 {
		return json.RawMessage("{}"), nil
	}
	extras := map[string]string{}
	if x.Query && out.Query != "" {
		extras["query"] = out.Query
	}
	if x.DataFile && !out.DataFile.Empty() {
		extras["data_file"] = out.DataFile.Reveal()
	}
	if len(extras) == 0 && x.Late <= 0 && x.Fault == "" {
		return data, nil
	}
	all, err := members(data)
	if err != nil {
		return nil, fmt.Errorf("read data: %w", err)
	}
	for i := range all {
		if len(extras) == 0 || all[i].key != "job" || !bytes.HasPrefix(all[i].value, []byte("{")) {
			continue
		}
		if all[i].value, err = merge(all[i].value, extras); err != nil {
			return nil, fmt.Errorf("read data.job: %w", err)
		}
	}
	if x.Late > 0 {
		all = append(all, member{lateKey, strconv.AppendInt(nil, int64(x.Late/time.Second), 10)})
	}
	if x.Fault != "" {
		fault, err := json.Marshal(x.Fault)
		if err != nil {
			return nil, err
		}
		all = append(all, member{"template_error", fault})
	}
	return object(all)
}

// lateKey is in data when the event goes out late.
const lateKey = "late_seconds"

// merge adds the texts at the end of an object that does not have them yet.
func merge(into json.RawMessage, extras map[string]string) (json.RawMessage, error) {
	all, err := members(into)
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(extras)) {
		if slices.ContainsFunc(all, func(m member) bool { return m.key == key }) {
			continue
		}
		value, err := json.Marshal(extras[key])
		if err != nil {
			return nil, err
		}
		all = append(all, member{key, value})
	}
	return object(all)
}

// member is one key of a JSON object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// members reads an object and keeps the order of its keys, which a map would lose.
func members(text json.RawMessage) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	var all []member
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, errors.New("a key is no text")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		all = append(all, member{name, value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("it is cut short")
	}
	return all, nil
}

// object writes members in their order.
func object(all []member) (json.RawMessage, error) {
	b := []byte{'{'}
	for i, m := range all {
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, key...), ':'), m.value...)
	}
	return append(b, '}'), nil
}
