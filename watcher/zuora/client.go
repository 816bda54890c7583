package zuora

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// Options are one tenant's address and credentials. BaseURL and credentials are
// required; everything else has a good zero value.
type Options struct {
	// BaseURL is the API's origin; https only, except on loopback.
	BaseURL      string
	ClientID     string
	ClientSecret secret.Source
	// BearerToken is a ready token instead of client credentials.
	BearerToken secret.Source
	EntityIDs   string
	OrgIDs      string
	// TrackPrefix begins each request's Zuora-Track-Id; "" means "jobwatcher".
	TrackPrefix string
	// Timeout is for one request; 0 means 30 s.
	Timeout time.Duration
	// MaxInFlight sizes the pool of kept connections; 0 means 8.
	MaxInFlight int
	Metrics     *metrics.Metrics
	Log         *zap.Logger
	// Transport replaces the shared one, for tests.
	Transport http.RoundTripper
	// OnWindows hears the tenant's rate-limit windows from every answer that
	// tells them.
	OnWindows func([]Window)
	Now       func() time.Time
	UserAgent string
}

// Client asks one tenant's API. Its methods may be called from any goroutine.
type Client struct {
	o      Options
	base   string
	http   *http.Client
	tokens tokens
	run    string // makes this process's track ids unlike others'
	count  atomic.Uint64
}

const (
	defaultTimeout  = 30 * time.Second
	defaultInFlight = 8
	defaultPrefix   = "jobwatcher"
	maxTrackID      = 64 // zuora-facts.md section 1
	// maxJobBytes bounds one decoded job: a query has at most 1,000,000
	// characters, six bytes each when escaped.
	maxJobBytes = 8 << 20
	// maxErrorBytes bounds what is read of an answer that is no success.
	maxErrorBytes = 64 << 10
)

var (
	errTooLarge = errors.New("the answer is larger than allowed")
	errInsecure = errors.New("base URL must be https, except on loopback")
)

// New checks the options. It makes no request.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.BaseURL)
	if err != nil || base.Host == "" || base.User != nil {
		return nil, fmt.Errorf("new zuora client: base URL is not an origin: %w", job.ErrInvalid)
	}
	if base.Scheme != "https" && (base.Scheme != "http" || !loopback(base.Hostname())) {
		return nil, fmt.Errorf("new zuora client: %w: %w", errInsecure, job.ErrInvalid)
	}
	if o.BearerToken.Empty() && (o.ClientID == "" || o.ClientSecret.Empty()) {
		return nil, fmt.Errorf("new zuora client: neither client credentials nor a bearer token: %w", job.ErrInvalid)
	}
	if o.TrackPrefix == "" {
		o.TrackPrefix = defaultPrefix
	}
	if len(o.TrackPrefix) > maxTrackID-24 || strings.ContainsAny(o.TrackPrefix, `:;"'`) {
		return nil, fmt.Errorf("new zuora client: the track id's prefix is too long or has one of : ; \" ': %w", job.ErrInvalid)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = defaultInFlight
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.OnWindows == nil {
		o.OnWindows = func([]Window) {}
	}
	if o.Transport == nil {
		o.Transport = newTransport(o.MaxInFlight)
	}
	var unique [4]byte
	if _, err := rand.Read(unique[:]); err != nil {
		return nil, fmt.Errorf("new zuora client: %w", err)
	}
	c := &Client{
		o: o, base: base.Scheme + "://" + base.Host, run: hex.EncodeToString(unique[:]),
		http: &http.Client{
			Transport: o.Transport,
			// Credentials must not follow a redirect to wherever it points.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.tokens = tokens{
		static: o.BearerToken, id: o.ClientID, secret: o.ClientSecret, url: c.base + "/oauth/token", now: o.Now,
		client: &http.Client{Transport: tokenTransport{c}, CheckRedirect: c.http.CheckRedirect, Timeout: o.Timeout},
	}
	return c, nil
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func newTransport(inFlight int) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          2 * inFlight,
		MaxIdleConnsPerHost:   2 * inFlight,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		DisableCompression:    true, // we ask for gzip ourselves, to cap what it unfolds to
		ResponseHeaderTimeout: 0,    // the request's own time-out covers it
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// trackID is unique for each request; Zuora repeats it, which ties our log lines
// to theirs.
func (c *Client) trackID() string {
	return c.o.TrackPrefix + "-" + c.run + "-" + strconv.FormatUint(c.count.Add(1), 36)
}

// exchange makes one request and hands a successful answer's body, decoded, to
// read. A 401 is tried once more: with a new token, or, when Zuora could not
// look the user up, with the same one.
func (c *Client) exchange(ctx context.Context, endpoint, path string, read func(io.Reader, http.Header) error) error {
	for again := true; ; again = false {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return err
		}
		err = c.once(ctx, endpoint, path, token, read)
		var e *Error
		if !again || !errors.As(err, &e) {
			return err
		}
		switch {
		case e.Status == http.StatusUnauthorized && e.Reason == job.ReasonServer:
		case e.Reason == job.ReasonAuth && c.tokens.refused(token):
		default:
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, endpoint, path, token string, read func(io.Reader, http.Header) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		return &Error{Reason: job.ReasonInternal, Err: errors.New("build request")}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	track := c.identify(req)
	if c.o.OrgIDs != "" {
		req.Header.Set("Zuora-Org-Ids", c.o.OrgIDs)
	}
	began := c.o.Now()
	resp, err := c.http.Do(req)
	if err != nil {
		c.o.Metrics.UpstreamRequest(endpoint, 0, c.o.Now().Sub(began))
		e := transportError(err)
		e.TrackID = track
		return e
	}
	defer func() { _ = resp.Body.Close() }()
	err = c.answer(resp, read)
	now := c.o.Now()
	c.o.Metrics.UpstreamRequest(endpoint, resp.StatusCode, now.Sub(began))
	if all := windows(resp.Header, now); len(all) > 0 {
		for _, w := range all {
			c.o.Metrics.Window(w.Name, w.Limit, w.Remaining, w.Reset)
		}
		c.o.OnWindows(all)
	}
	var e *Error
	if errors.As(err, &e) {
		e.TrackID, e.RequestID = track, requestID(resp.Header)
	}
	return err
}

// identify sets the headers that token and API requests share.
func (c *Client) identify(req *http.Request) string {
	track := c.trackID()
	req.Header.Set("Zuora-Track-Id", track)
	if c.o.EntityIDs != "" {
		req.Header.Set("Zuora-Entity-Ids", c.o.EntityIDs)
	}
	if c.o.UserAgent != "" {
		req.Header.Set("User-Agent", c.o.UserAgent)
	}
	return track
}

// requestID is Zuora's id of the exchange, if it looks like one.
func requestID(h http.Header) string {
	id := h.Get("Zuora-Request-Id")
	if len(id) > 64 || strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return ""
	}
	return id
}

func (c *Client) answer(resp *http.Response, read func(io.Reader, http.Header) error) error {
	body, done, err := decoded(resp)
	if err != nil {
		return &Error{Reason: job.ReasonMalformed, Status: resp.StatusCode, Err: err}
	}
	defer done()
	if resp.StatusCode != http.StatusOK {
		head, _ := io.ReadAll(io.LimitReader(body, maxErrorBytes))
		return statusError(resp.StatusCode, resp.Header, head, c.o.Now())
	}
	if err := read(body, resp.Header); err != nil {
		var e *Error
		if errors.As(err, &e) {
			return err
		}
		e = transportError(err)
		e.Status = resp.StatusCode
		return e
	}
	// Drained, so that the connection is kept; a stream that goes on is not.
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	return nil
}

var unzippers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// decoded unfolds gzip; done gives the unzipper back.
func decoded(resp *http.Response) (body io.Reader, done func(), err error) {
	switch encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding"))); encoding {
	case "", "identity":
		return resp.Body, func() {}, nil
	case "gzip":
	default:
		return nil, nil, errors.New("the answer has an encoding that nobody asked for")
	}
	z, _ := unzippers.Get().(*gzip.Reader)
	if err := z.Reset(resp.Body); err != nil {
		unzippers.Put(z)
		return nil, nil, errors.New("the answer says gzip and is not")
	}
	return z, func() { unzippers.Put(z) }, nil
}

// capped reads at most limit bytes and fails beyond, where io.LimitReader would
// pretend that the answer had ended.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	return n, err
}

// tokenTransport adds to the OAuth library's request what Zuora wants there,
// and counts it.
type tokenTransport struct{ c *Client }

func (t tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	t.c.identify(req)
	began := t.c.o.Now()
	resp, err := t.c.o.Transport.RoundTrip(req)
	code := 0
	if err == nil {
		code = resp.StatusCode
	}
	t.c.o.Metrics.UpstreamRequest("token", code, t.c.o.Now().Sub(began))
	return resp, err
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
