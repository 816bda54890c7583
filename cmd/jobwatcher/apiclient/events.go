package apiclient

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Event is something that happened to a job; Job is nil when it is gone. The
// kind reset means that some events cannot be told any more.
type Event struct {
	Kind string      `json:"kind"`
	At   job.Instant `json:"at"`
	ID   job.ID      `json:"id"`
	Job  *job.View   `json:"job"`
}

// Reset is the kind of an event that says that others are missing.
const Reset = "reset"

// maxEvent bounds one line of a stream: a job without its query is small.
const maxEvent = 1 << 20

// Events yields what happens to jobs until ctx ends, the daemon stops (nil) or
// yield fails.
func (c *Client) Events(ctx context.Context, yield func(Event) error) error {
	answer, err := c.open(ctx, request{method: http.MethodGet, path: "/v1/events"})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, maxEvent)
	kind := ""
	for lines.Scan() {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			kind = name
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		e := Event{}
		if kind == Reset {
			e.Kind = Reset
		} else if err := json.Unmarshal([]byte(data), &e); err != nil {
			return fmt.Errorf("read the events of %s: %w", c.Server(), err)
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read the events of %s: %w", c.Server(), err)
	}
	return nil
}
