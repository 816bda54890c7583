// Package apiclient speaks to a running daemon over its HTTP API (contract
// section 4); the command line is made of it.
//
// Reading order: apiclient.go (one request, and what its refusal says),
// jobs.go (tracking and watching), track.go (many jobs as a stream),
// deliveries.go (the ledger and the destinations), events.go (what happens).
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// maxAnswer bounds one answer: a page of 1,000 jobs with 2,000 characters of
// query each stays far below it.
const maxAnswer = 64 << 20

// Client asks one daemon.
type Client struct {
	base  *url.URL
	token secret.Source
	http  *http.Client
}

// New makes a client of the daemon at base, an http or https URL. The token may
// be empty: a daemon without tokens answers its own machine.
func New(base string, token secret.Source) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("the server %q is not a URL such as http://127.0.0.1:8080", base)
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute, // above the longest long poll we ask for
		ForceAttemptHTTP2:     true,
	}
	return &Client{base: u, token: token, http: &http.Client{
		Transport: transport,
		// A token is for the server it was given for.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Server is the daemon's URL, without a password that may be in it.
func (c *Client) Server() string { return c.base.Redacted() }

// Error is the daemon's refusal: RFC 9457 problem details.
type Error struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Title   string `json:"title"`
	Detail  string `json:"detail"`
	Field   string `json:"field"`
	Value   string `json:"value"`
	Allowed string `json:"allowed"`
}

func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	if text == "" {
		text = fmt.Sprintf("the server answered %d %s", e.Status, http.StatusText(e.Status))
	}
	switch e.Status {
	case http.StatusUnauthorized:
		text += " (set JOBWATCHER_API_TOKEN)"
	case http.StatusForbidden:
		text += " (JOBWATCHER_API_TOKEN must be the daemon's, and not its read token)"
	}
	return text
}

// NotFound reports whether err is a daemon's answer that there is no such thing.
func NotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// request is one call; body nil sends none, reader wins over body.
type request struct {
	method      string
	path        string
	query       url.Values
	body        any
	reader      io.Reader
	contentType string
}

// call makes one request and decodes a JSON answer into out unless that is nil.
// It returns the status of a success.
func (c *Client) call(ctx context.Context, r request, out any) (int, error) {
	answer, err := c.open(ctx, r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	if out == nil || answer.StatusCode == http.StatusNoContent {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
		return answer.StatusCode, nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(out); err != nil {
		return 0, fmt.Errorf("read the answer of %s: %w", c.Server(), err)
	}
	return answer.StatusCode, nil
}

// open makes one request and returns the answer of a success with its body
// still to be read.
func (c *Client) open(ctx context.Context, r request) (*http.Response, error) {
	body := r.reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body, r.contentType = bytes.NewReader(b), "application/json"
	}
	u := c.base.JoinPath(r.path)
	u.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	req.Header.Set("Accept", "application/json")
	token, err := c.token.Get()
	if err != nil {
		return nil, fmt.Errorf("JOBWATCHER_API_TOKEN_FILE: %w", err)
	}
	if !token.Empty() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal()) //nolint:forbidigo // to the daemon that the token is for
	}
	answer, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if answer.StatusCode >= 300 {
		defer func() { _ = answer.Body.Close() }()
		return nil, refusal(answer)
	}
	return answer, nil
}

// unreachable says in one line what a transport error means here.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the method and the whole URL
	}
	return fmt.Errorf("no answer from the daemon at %s (--server, JOBWATCHER_SERVER): %w", c.Server(), err)
}

// refusal reads problem details, and makes do with less from a proxy.
func refusal(answer *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	e := &Error{}
	if strings.Contains(answer.Header.Get("Content-Type"), "json") {
		_ = json.Unmarshal(b, e) // whatever could be read is better than nothing
	}
	e.Status = answer.StatusCode
	return e
}
