package apiclient

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Job reads one job with its timeline.
func (c *Client) Job(ctx context.Context, id job.ID) (job.View, error) {
	var v job.View
	_, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/jobs/" + id.String()}, &v)
	return v, err
}

// Jobs reads one page of a list; the filter's names are the API's own.
func (c *Client) Jobs(ctx context.Context, filter url.Values, limit int, cursor string) (jobs []job.View, next string, err error) {
	var page struct {
		Jobs []job.View `json:"jobs"`
		Next string     `json:"next_cursor"`
	}
	_, err = c.call(ctx, request{method: http.MethodGet, path: "/v1/jobs", query: paged(filter, limit, cursor)}, &page)
	return page.Jobs, page.Next, err
}

func paged(filter url.Values, limit int, cursor string) url.Values {
	q := url.Values{}
	maps.Copy(q, filter)
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return q
}

// Wait blocks until the job has ended or the time is over; ended says which.
func (c *Client) Wait(ctx context.Context, id job.ID, timeout time.Duration) (v job.View, ended bool, err error) {
	q := url.Values{"timeout": {timeout.String()}}
	status, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/jobs/" + id.String() + "/wait", query: q}, &v)
	return v, status == http.StatusOK, err
}

// Explain asks why the next look at a job is when it is.
func (c *Client) Explain(ctx context.Context, id job.ID) (job.Explanation, error) {
	var e job.Explanation
	_, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/jobs/" + id.String() + "/explain"}, &e)
	return e, err
}

// Untrack stops watching a job; nothing is announced.
func (c *Client) Untrack(ctx context.Context, id job.ID) error {
	_, err := c.call(ctx, request{method: http.MethodDelete, path: "/v1/jobs/" + id.String()}, nil)
	return err
}
