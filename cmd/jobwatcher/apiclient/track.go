package apiclient

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Item is one job to track. Deadline is a duration such as "2h".
type Item struct {
	ID           string            `json:"id,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Destinations []string          `json:"destinations,omitempty"`
	Deadline     string            `json:"deadline,omitempty"`
	Group        string            `json:"group,omitempty"`
}

// Result is what became of one job: "tracked", "already_tracked" or "invalid".
type Result struct {
	ID     string `json:"id"`
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`
}

// Track asks for one job to be watched. It is durable when this returns.
func (c *Client) Track(ctx context.Context, id job.ID, item Item) (tracked bool, err error) {
	item.ID = ""
	status, err := c.call(ctx, request{method: http.MethodPut, path: "/v1/jobs/" + id.String(), body: item}, &job.View{})
	return status == http.StatusCreated, err
}

// maxLine bounds one line of a streamed answer.
const maxLine = 1 << 20

// TrackAll streams any number of jobs to the daemon and yields what became of
// each as the answers come in.
func (c *Client) TrackAll(parent context.Context, items iter.Seq[Item], yield func(Result) error) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	r, w := io.Pipe()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_ = w.CloseWithError(encodeLines(w, items))
	}()
	defer func() {
		cancel()
		_ = r.Close() // ends the sender when the daemon has stopped listening
		select {
		case <-sent:
		case <-parent.Done(): // it may hang in a read of a terminal, which nothing ends
		}
	}()
	answer, err := c.open(ctx, request{method: http.MethodPost, path: "/v1/jobs", reader: r, contentType: "application/x-ndjson"})
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var one Result
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return fmt.Errorf("read the answer of %s: %w", c.Server(), err)
		}
		if err := yield(one); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return c.unreachable(ctx, err)
	}
	return nil
}

func encodeLines(w io.Writer, items iter.Seq[Item]) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buffered)
	for one := range items {
		if err := enc.Encode(one); err != nil {
			return err
		}
	}
	return buffered.Flush()
}
