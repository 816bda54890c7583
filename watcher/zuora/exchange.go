package zuora

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// question is one request to the API, before it has a token.
type question struct {
	endpoint string // as metrics and log name it
	path     string
	query    string
	// read takes the body of a successful answer, unfolded. It is called at most
	// once: only a refused request is repeated.
	read func(h http.Header, body io.Reader) error
}

// ask makes the request. A 401 is tried once more: with a new token, or, when
// Zuora could not look the user up, with the same one.
func (c *Client) ask(ctx context.Context, q *question) error {
	var renewed, repeated bool
	for {
		p, err := c.tokens.get(ctx)
		if err != nil {
			return err
		}
		err = c.once(ctx, q, p)
		if err == nil {
			return nil
		}
		e, ok := errors.AsType[*Error](err)
		switch {
		case !ok:
			return err
		case e.userInfo && !repeated:
			repeated = true
		case e.Reason == job.ReasonAuth && !renewed && c.tokens.refused(p):
			renewed = true
		default:
			return err
		}
	}
}

// once makes one request within its time-out. It calls the transport itself:
// http.Client would only add redirects, cookies and the URL in its errors, none
// of which we want.
func (c *Client) once(ctx context.Context, q *question, p *pass) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	track := c.trackID()
	header := maps.Clone(p.header)
	header["Zuora-Track-Id"] = []string{track}
	u := url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: q.path, RawQuery: q.query}
	req := (&http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: header}).WithContext(ctx)

	began := c.o.Now()
	resp, err := c.o.Transport.RoundTrip(req)
	if err != nil {
		took := c.o.Now().Sub(began)
		c.o.Metrics.UpstreamRequest(q.endpoint, 0, took)
		e := transportError(err)
		e.TrackID = track
		e.redact(c.secrets(p.token)...)
		c.trace(q.endpoint, track, "", took, e)
		return e
	}
	defer func() { _ = resp.Body.Close() }()
	c.report(resp.Header, c.o.Now())
	err = c.answer(resp, q)
	took := c.o.Now().Sub(began)
	c.o.Metrics.UpstreamRequest(q.endpoint, resp.StatusCode, took)
	if err == nil && !c.o.Log.Core().Enabled(zapcore.DebugLevel) {
		return nil
	}
	secrets := c.secrets(p.token)
	request := withoutSecrets(requestID(resp.Header), secrets...)
	if e, ok := errors.AsType[*Error](err); ok {
		e.TrackID, e.RequestID = track, request
		e.redact(secrets...)
	}
	c.trace(q.endpoint, track, request, took, err)
	return err
}

// answer reads what came back.
func (c *Client) answer(resp *http.Response, q *question) error {
	body, done, err := unfold(resp)
	if resp.StatusCode != http.StatusOK {
		// The status counts, whatever became of the body.
		var head []byte
		if err == nil {
			head, _ = io.ReadAll(io.LimitReader(body, maxErrorBytes))
			done()
		}
		return statusError(resp.StatusCode, resp.Header, head, c.o.Now())
	}
	if err == nil {
		err = q.read(resp.Header, body)
		done()
	}
	if err != nil {
		return bodyError(err)
	}
	// What is left of a list that was broken off: if it is little, the
	// connection can be kept.
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	return nil
}

// trace is the debug line of one request, with what Zuora's support asks for.
func (c *Client) trace(endpoint, track, request string, took time.Duration, err error) {
	ce := c.o.Log.Check(zapcore.DebugLevel, endpoint)
	if ce == nil {
		return
	}
	fields := []zap.Field{zap.String("track_id", track), zap.String("request_id", request), zap.Duration("took", took)}
	if e, ok := errors.AsType[*Error](err); ok {
		fields = append(fields, zap.String("reason", string(e.Reason)), zap.Error(e))
	}
	ce.Write(fields...)
}
