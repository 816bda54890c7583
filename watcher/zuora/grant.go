package zuora

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	tokenPath = "/oauth/token" //nolint:gosec // an address, not a credential
	// defaultLife is a token's life where the answer does not say: an hour less a
	// second is what Zuora's sample has (zuora-facts.md section 5).
	defaultLife = 3599 * time.Second
	// maxLife bounds it, so that a nonsensical one is asked about once a day.
	maxLife = 24 * time.Hour
)

// grant asks the token endpoint for a token, with the client secret as it is now.
func (c *Client) grant(ctx context.Context) (granted, error) {
	text, err := c.o.ClientSecret.Get()
	if err != nil {
		return granted{}, ourFault(err)
	}
	if text.Empty() {
		return granted{}, ourFault(errors.New("the client secret is empty"))
	}
	config := clientcredentials.Config{
		ClientID: c.o.ClientID, ClientSecret: text.Reveal(), TokenURL: c.base.String() + tokenPath,
		AuthStyle: oauth2.AuthStyleInParams, // form-encoded, as Zuora's own sample
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	call := &tokenCall{c: c, track: c.trackID()}
	began := c.o.Now()
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     call,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}))
	took := c.o.Now().Sub(began)
	c.o.Metrics.UpstreamRequest("token", call.status, took)
	secrets := c.secrets(text.Reveal())
	request := withoutSecrets(requestID(call.header), secrets...)
	switch {
	case err != nil:
		// The library's error may repeat the answer; only what we saw counts.
		err = call.fault(err)
	case !bearable(token.AccessToken):
		err = malformed("the token has characters that no token has")
	}
	if err == nil {
		c.trace("token", call.track, request, took, nil)
		return granted{token.AccessToken, call.life}, nil
	}
	e := transportError(err) // keeps one of ours
	e.TenantWide = true
	e.TrackID, e.RequestID = call.track, request
	e.redact(secrets...)
	c.trace("token", call.track, request, took, e)
	return granted{}, e
}

// tokenCall is the transport of one token request. It adds what Zuora wants
// there and the library does not send, holds the answer to a cap, and hands the
// library an answer that it understands: "expires_in" is declared as any number,
// and the library fails on one that is not whole.
type tokenCall struct {
	c      *Client
	track  string
	failed error // no complete answer
	status int
	header http.Header
	body   []byte
	life   time.Duration
}

func (t *tokenCall) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", t.c.o.UserAgent)
	req.Header.Set("Zuora-Track-Id", t.track)
	if t.c.o.EntityIDs != "" {
		req.Header.Set("Zuora-Entity-Ids", t.c.o.EntityIDs)
	}
	resp, err := t.c.o.Transport.RoundTrip(req)
	if err != nil {
		t.failed = err
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	t.status, t.header = resp.StatusCode, resp.Header
	t.body, err = readHead(resp)
	if err != nil && resp.StatusCode == http.StatusOK {
		t.failed = bodyError(err)
		return nil, t.failed
	}
	clean := *resp
	clean.Header = http.Header{"Content-Type": {"application/json"}}
	clean.Body = io.NopCloser(bytes.NewReader(t.understood()))
	return &clean, nil
}

// readHead reads an answer that is small, or no success.
func readHead(resp *http.Response) ([]byte, error) {
	body, done, err := unfold(resp)
	if err != nil {
		return nil, err
	}
	defer done()
	var b buffer
	err = b.fill(body, maxErrorBytes)
	return b.b, err
}

// understood is the answer in the words that the library knows; {} when there
// is no token in it.
func (t *tokenCall) understood() []byte {
	var told struct {
		AccessToken string          `json:"access_token"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	if json.Unmarshal(t.body, &told) != nil || told.AccessToken == "" {
		return []byte(`{}`)
	}
	t.life = defaultLife
	if s, err := strconv.ParseFloat(scalar(told.ExpiresIn), 64); err == nil && s > 0 {
		t.life = maxLife
		if s < maxLife.Seconds() {
			t.life = time.Duration(s * float64(time.Second))
		}
	}
	clean, err := json.Marshal(map[string]string{"access_token": told.AccessToken, "token_type": "bearer"})
	if err != nil {
		return []byte(`{}`)
	}
	return clean
}

// fault is why there is no token.
func (t *tokenCall) fault(err error) *Error {
	var e *Error
	switch {
	case t.status == 0 || t.failed != nil:
		if t.failed != nil {
			err = t.failed
		}
		e = transportError(err)
		e.Status = t.status
	case t.status == http.StatusOK:
		e = malformed("the answer has no token")
	default:
		e = statusError(t.status, t.header, t.body, t.c.o.Now())
		// What a refused token call says is not documented, and may repeat what it
		// was sent: only its code is kept.
		e.Message = ""
		switch t.status {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
			e.Reason, e.userInfo = job.ReasonAuth, false
		case http.StatusNotFound:
			e.Reason = job.ReasonMalformed // a wrong address; it says nothing about a job
		}
	}
	text := "no token"
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	e.Err = &cause{text: text, err: e.Err}
	return e
}
