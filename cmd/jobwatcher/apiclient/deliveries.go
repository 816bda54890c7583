package apiclient

import (
	"context"
	"net/http"
	"net/url"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Deliveries reads one page of the ledger; the filter's names are the API's own.
func (c *Client) Deliveries(ctx context.Context, filter url.Values, limit int, cursor string) (deliveries []job.DeliveryView, next string, err error) {
	var page struct {
		Deliveries []job.DeliveryView `json:"deliveries"`
		Next       string             `json:"next_cursor"`
	}
	_, err = c.call(ctx, request{method: http.MethodGet, path: "/v1/deliveries", query: paged(filter, limit, cursor)}, &page)
	return page.Deliveries, page.Next, err
}

// Delivery reads one delivery with its attempts.
func (c *Client) Delivery(ctx context.Context, id string) (job.DeliveryView, error) {
	var d job.DeliveryView
	_, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/deliveries/" + url.PathEscape(id)}, &d)
	return d, err
}

// Replay sends one delivery again, with the same webhook-id.
func (c *Client) Replay(ctx context.Context, id string) error {
	_, err := c.call(ctx, request{method: http.MethodPost, path: "/v1/deliveries/" + url.PathEscape(id) + "/replay"}, nil)
	return err
}

// ReplayFilter picks deliveries to send again.
type ReplayFilter struct {
	State       string      `json:"state,omitempty"`
	Destination string      `json:"destination,omitempty"`
	Since       job.Instant `json:"since,omitzero"`
}

// ReplayWhere sends again what the filter picks, and says how many that are.
func (c *Client) ReplayWhere(ctx context.Context, filter ReplayFilter) (int, error) {
	var answer struct {
		Replayed int `json:"replayed"`
	}
	_, err := c.call(ctx, request{method: http.MethodPost, path: "/v1/deliveries/replay", body: filter}, &answer)
	return answer.Replayed, err
}

// Destinations lists where events go.
func (c *Client) Destinations(ctx context.Context) ([]job.DestinationView, error) {
	var answer struct {
		Destinations []job.DestinationView `json:"destinations"`
	}
	_, err := c.call(ctx, request{method: http.MethodGet, path: "/v1/destinations"}, &answer)
	return answer.Destinations, err
}

// Budget shows the tenant's rate limits and what of them is the daemon's.
func (c *Client) Budget(ctx context.Context) (v job.BudgetView, err error) {
	_, err = c.call(ctx, request{method: http.MethodGet, path: "/v1/budget"}, &v)
	return v, err
}

// Test sends a test event to a destination and returns what became of it.
func (c *Client) Test(ctx context.Context, name string) (job.AttemptView, error) {
	var a job.AttemptView
	_, err := c.call(ctx, request{method: http.MethodPost, path: "/v1/destinations/" + url.PathEscape(name) + "/test"}, &a)
	return a, err
}

// Pause holds a destination's deliveries until it is resumed.
func (c *Client) Pause(ctx context.Context, name string) error {
	_, err := c.call(ctx, request{method: http.MethodPost, path: "/v1/destinations/" + url.PathEscape(name) + "/pause"}, nil)
	return err
}

// Resume sends what was held.
func (c *Client) Resume(ctx context.Context, name string) error {
	_, err := c.call(ctx, request{method: http.MethodPost, path: "/v1/destinations/" + url.PathEscape(name) + "/resume"}, nil)
	return err
}
