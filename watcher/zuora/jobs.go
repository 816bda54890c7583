package zuora

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const jobsPath = "/query/jobs"

// Get looks at one job.
func (c *Client) Get(ctx context.Context, id job.ID) (job.Observation, error) {
	path := jobsPath + "/" + id.String()
	var o job.Observation
	err := c.ask(ctx, &question{endpoint: "get", path: path, read: func(h http.Header, body io.Reader) error {
		b, _ := buffers.Get().(*buffer)
		defer b.free()
		if err := b.fill(body, maxJobBytes); err != nil {
			return err
		}
		var err error
		o, err = decodeJob(b.b, id, path[len(jobsPath)+1:])
		o.ServerTime = serverTime(h)
		return err
	}})
	if err != nil {
		return job.Observation{}, err
	}
	return o, nil
}

// decodeJob reads {"data":{…}}; text is id as a text. HTTP 200 without data, or
// with success false, is an error and not a job.
func decodeJob(b []byte, id job.ID, text string) (job.Observation, error) {
	var w wireJob
	found, failed, ok := w.answer(b)
	switch {
	case !ok:
		return job.Observation{}, notJSON(b)
	case failed || !found:
		return job.Observation{}, insideError(parseSaid(b))
	case w.id != nil && !w.is(text, id):
		return job.Observation{}, malformed("the answer is about another job")
	}
	// An answer that names no job is about the one that was asked for: no field
	// is marked as required (zuora-facts.md section 2).
	o := w.observation(id)
	if o.Status == job.Unseen {
		return job.Observation{}, malformed("the job has no status")
	}
	return o, nil
}

// MaxPageSize is the most that the list takes (zuora-facts.md section 3).
const MaxPageSize = 1000

// filters are the statuses that the list can be asked for: not submitted
// (zuora-facts.md section 2).
var filters = []job.Status{job.Accepted, job.InProgress, job.Completed, job.Failed, job.Cancelled}

// List streams the newest jobs to yield, newest first, at most pageSize of
// them, and stops early when yield returns false. It holds one of them at a
// time. A job that is larger than 8 MiB or not understood is left out, counted
// and logged; when none is understood, that is an error. Time spent in yield
// counts towards the request's time-out.
//
// A list that breaks off, or turns out to be no list, is an error after jobs may
// have been yielded; those are good.
func (c *Client) List(ctx context.Context, status job.Status, pageSize int, yield func(job.Observation) bool) error {
	if pageSize < 1 || pageSize > MaxPageSize {
		return fmt.Errorf("list jobs: page size %d, allowed are 1 to %d: %w", pageSize, MaxPageSize, job.ErrInvalid)
	}
	query := "pageSize=" + strconv.Itoa(pageSize)
	if status != job.Unseen {
		if !slices.Contains(filters, status) {
			return fmt.Errorf("list jobs: status %q, allowed are %v: %w", status, filters, job.ErrInvalid)
		}
		query += "&queryStatus=" + string(status)
	}
	return c.ask(ctx, &question{endpoint: "list", path: jobsPath, query: query, read: func(h http.Header, body io.Reader) error {
		l := newListing(body, pageSize)
		defer l.free()
		at := serverTime(h)
		err := l.read(func(o job.Observation) bool {
			o.ServerTime = at
			return yield(o)
		})
		c.noteLeftOut(l.leftOut, requestID(h))
		return err
	}})
}

// noteLeftOut logs how many jobs of a list were left out, when that changes.
func (c *Client) noteLeftOut(n int, request string) {
	if before := c.leftOut.Swap(int64(n)); before != int64(n) && n > 0 {
		c.o.Log.Warn("list: jobs left out that are too large or not understood; they are asked for one by one",
			zap.Int("count", n), zap.String("request_id", request))
	}
}
