package zuora

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Get looks at one job.
func (c *Client) Get(ctx context.Context, id job.ID) (job.Observation, error) {
	var o job.Observation
	err := c.exchange(ctx, "get", "/query/jobs/"+id.String(), func(body io.Reader, h http.Header) error {
		buffer, _ := buffers.Get().(*bytes.Buffer)
		defer func() {
			if buffer.Cap() <= 1<<20 { // one giant must not stay in the pool
				buffers.Put(buffer)
			}
		}()
		buffer.Reset()
		if _, err := buffer.ReadFrom(&capped{body, maxJobBytes}); err != nil {
			return err
		}
		var err error
		o, err = decodeJob(buffer.Bytes(), id)
		o.ServerTime = serverTime(h)
		return err
	})
	if err != nil {
		return job.Observation{}, err
	}
	return o, nil
}

// decodeJob reads {"data":{…}}. HTTP 200 without data, or with success false,
// is an error and not a job.
func decodeJob(b []byte, id job.ID) (job.Observation, error) {
	var answer struct {
		said
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return job.Observation{}, malformed("the answer is not JSON")
	}
	if answer.Success != nil && !*answer.Success || len(answer.Data) == 0 && len(answer.Reasons) > 0 {
		return job.Observation{}, insideError(&answer.said)
	}
	if len(answer.Data) == 0 || answer.Data[0] != '{' {
		return job.Observation{}, malformed("the answer has no data")
	}
	var w wireJob
	if err := json.Unmarshal(answer.Data, &w); err != nil {
		return job.Observation{}, malformed("the job is not an object")
	}
	o, ok := w.observation()
	if !ok || o.ID != id {
		return job.Observation{}, malformed("the answer is about another job")
	}
	if o.Status == job.Unseen {
		return job.Observation{}, malformed("the job has no status")
	}
	return o, nil
}

func malformed(text string) *Error {
	return &Error{Reason: job.ReasonMalformed, Status: http.StatusOK, Err: errors.New(text)}
}

// MaxPageSize is the most that the list takes (zuora-facts.md section 3).
const MaxPageSize = 1000

// List streams the newest jobs to yield, newest first. It holds one of them at
// a time; one that is larger than 8 MiB ends the list, one that is not
// understood is left out.
func (c *Client) List(ctx context.Context, status job.Status, pageSize int, yield func(job.Observation) bool) error {
	if pageSize < 1 || pageSize > MaxPageSize {
		return fmt.Errorf("list jobs: page size %d, allowed are 1 to %d: %w", pageSize, MaxPageSize, job.ErrInvalid)
	}
	query := url.Values{"pageSize": {strconv.Itoa(pageSize)}}
	if status != "" {
		query.Set("queryStatus", string(status))
	}
	return c.exchange(ctx, "list", "/query/jobs?"+query.Encode(), func(body io.Reader, h http.Header) error {
		left, err := decodeList(body, serverTime(h), pageSize, yield)
		if left > 0 {
			c.o.Log.Debug("list: elements left out", zap.Int("count", left))
		}
		return err
	})
}

// decodeList reads {"data":[…]} element by element and says how many it could
// not understand.
func decodeList(body io.Reader, at time.Time, most int, yield func(job.Observation) bool) (leftOut int, err error) {
	limit := &capped{body, maxJobBytes}
	d := json.NewDecoder(limit)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return 0, streamError(err)
	}
	var s said
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return leftOut, streamError(err)
		}
		if key != "data" {
			if err := other(d, key, &s); err != nil {
				return leftOut, err
			}
			continue
		}
		if t, err := d.Token(); err != nil || t != json.Delim('[') {
			return leftOut, streamError(err)
		}
		for n := 0; d.More(); n++ {
			limit.left = maxJobBytes
			var w wireJob
			if err := d.Decode(&w); err != nil {
				var wrong *json.UnmarshalTypeError
				if errors.As(err, &wrong) {
					leftOut++
					continue
				}
				return leftOut, streamError(err)
			}
			o, ok := w.observation()
			if !ok {
				leftOut++
				continue
			}
			o.ServerTime = at
			if n >= most || !yield(o) {
				return leftOut, nil
			}
		}
		return leftOut, nil
	}
	if s.Success != nil || len(s.Reasons) > 0 {
		return leftOut, insideError(&s)
	}
	return leftOut, malformed("the list has no data")
}

// other reads a key that is not data.
func other(d *json.Decoder, key json.Token, s *said) error {
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return streamError(err)
	}
	name, _ := key.(string)
	switch name {
	case "success", "reasons", "code", "message":
		one, err := json.Marshal(map[string]json.RawMessage{name: raw})
		if err == nil {
			err = json.Unmarshal(one, s)
		}
		if err != nil {
			return malformed("the answer's error is not understood")
		}
	}
	return nil
}

// streamError tells a broken stream from one that is not JSON.
func streamError(err error) error {
	var syntax *json.SyntaxError
	if err == nil || errors.As(err, &syntax) {
		return malformed("the list is not what it should be")
	}
	return err
}
