package zuora

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// Options are one tenant's address and credentials. BaseURL and one kind of
// credentials are required; everything else has a good zero value.
type Options struct {
	// BaseURL is the API's origin; https only, except on loopback.
	BaseURL string
	// ClientID and ClientSecret are OAuth client credentials; the secret is read
	// again for every token.
	ClientID     string
	ClientSecret secret.Source
	// BearerToken is a ready token instead of them, read again for every request
	// when it lives in a file.
	BearerToken secret.Source
	// EntityIDs and OrgIDs are sent as Zuora-Entity-Ids and Zuora-Org-Ids.
	EntityIDs string
	OrgIDs    string
	// TrackPrefix begins each request's Zuora-Track-Id, at most 40 characters;
	// "" means "jobwatcher".
	TrackPrefix string
	// Timeout is for one request, its answer included; 0 means 30 s.
	Timeout time.Duration
	// MaxInFlight sizes the pool of kept connections; 0 means 8.
	MaxInFlight int
	Metrics     *metrics.Metrics
	Log         *zap.Logger
	// Transport replaces the client's own, for tests.
	Transport http.RoundTripper
	// OnWindows hears the tenant's rate-limit windows from every answer that
	// tells them, on the goroutine that made the request. The slice is the
	// caller's to keep.
	OnWindows func([]Window)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// UserAgent is sent as it is; "" means "jobwatcher".
	UserAgent string
}

// Client asks one tenant's API. Its methods may be called from any goroutine.
type Client struct {
	o      Options
	base   url.URL
	tokens tokens
	// mark begins every track id of this process, count ends it.
	mark  string
	count atomic.Uint64
	// policy is how the last RateLimit-Limit was understood.
	policy atomic.Pointer[policy]
	// leftOut is how many jobs of the last list were not understood.
	leftOut atomic.Int64
}

const (
	defaultTimeout  = 30 * time.Second // contract section 3
	defaultInFlight = 8                // contract section 3
	defaultName     = "jobwatcher"     // contract section 3
	maxTrackID      = 64               // zuora-facts.md section 1
	maxPrefix       = maxTrackID - 24  // two dashes, 8 random digits, at most 13 of the count
)

// New checks the options. It makes no request and starts nothing.
func New(o Options) (*Client, error) {
	base, err := origin(o.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("new zuora client: %w", err)
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("new zuora client: %w", err)
	}
	o.fill()
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails
	c := &Client{o: o, base: base, mark: o.TrackPrefix + "-" + hex.EncodeToString(unique[:]) + "-"}
	c.tokens = tokens{ready: o.BearerToken, fetch: c.grant, headers: c.headers, now: o.Now, log: o.Log}
	return c, nil
}

// Close gives the idle connections back. Requests may still be made afterwards.
func (c *Client) Close() {
	if t, ok := c.o.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// check looks for everything that would otherwise fail at each request.
func (o *Options) check() error {
	switch {
	case o.BearerToken.Empty() && (o.ClientID == "" || o.ClientSecret.Empty()):
		return fmt.Errorf("neither client credentials nor a bearer token: %w", job.ErrInvalid)
	case !o.BearerToken.Empty() && (o.ClientID != "" || !o.ClientSecret.Empty()):
		return fmt.Errorf("client credentials and a bearer token: %w", job.ErrInvalid)
	case len(o.TrackPrefix) > maxPrefix || strings.ContainsAny(o.TrackPrefix, `:;"'`) || !printable(o.TrackPrefix):
		return fmt.Errorf("track id prefix: not at most %d printable ASCII characters without : ; \" or ': %w", maxPrefix, job.ErrInvalid)
	case !printable(o.EntityIDs) || !printable(o.OrgIDs) || !printable(o.UserAgent):
		return fmt.Errorf("entity ids, org ids or user agent: not printable ASCII: %w", job.ErrInvalid)
	case o.Timeout < 0 || o.MaxInFlight < 0:
		return fmt.Errorf("time-out or requests in flight: negative: %w", job.ErrInvalid)
	}
	return nil
}

func (o *Options) fill() {
	if o.TrackPrefix == "" {
		o.TrackPrefix = defaultName
	}
	if o.UserAgent == "" {
		o.UserAgent = defaultName
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = defaultInFlight
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Transport == nil {
		o.Transport = newTransport(o.MaxInFlight)
	}
}

// printable reports whether s can stand in a header as it is.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// origin reads the base URL. Its errors do not repeat it: it may hold a
// password.
func origin(text string) (url.URL, error) {
	base, err := url.Parse(text)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "",
		base.Path != "" && base.Path != "/":
		return url.URL{}, fmt.Errorf("base URL: not an origin such as https://rest.zuora.com: %w", job.ErrInvalid)
	case base.Scheme != "https" && (base.Scheme != "http" || !loopback(base.Hostname())):
		return url.URL{}, fmt.Errorf("base URL: not https, which only loopback may do without: %w", job.ErrInvalid)
	}
	return url.URL{Scheme: base.Scheme, Host: base.Host}, nil
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true // RFC 6761 section 6.3
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// newTransport keeps as many connections as there are requests in flight, so
// that none is opened anew in the steady state.
func newTransport(inFlight int) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          inFlight,
		MaxIdleConnsPerHost:   inFlight,
		IdleConnTimeout:       90 * time.Second, // three times the largest interval between looks
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		// The largest answer header that we know of has about 1 KiB.
		MaxResponseHeaderBytes: 64 << 10,
		// We ask for gzip ourselves, to cap what it unfolds to.
		DisableCompression: true,
		// One HTTP/2 connection carries everything: one that has died silently
		// must be found out before every request on it has timed out.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
	}
}

// trackID is unique for each request; Zuora repeats it, which ties our log
// lines to theirs.
func (c *Client) trackID() string {
	var b [maxTrackID]byte
	return string(strconv.AppendUint(append(b[:0], c.mark...), c.count.Add(1), 36))
}

// headers are those of every API request but the track id, made once for each
// token.
func (c *Client) headers(token string) http.Header {
	h := http.Header{
		"Authorization":   {"Bearer " + token},
		"Accept":          {"application/json"},
		"Accept-Encoding": {"gzip"},
		"User-Agent":      {c.o.UserAgent},
	}
	if c.o.EntityIDs != "" {
		h["Zuora-Entity-Ids"] = []string{c.o.EntityIDs}
	}
	if c.o.OrgIDs != "" {
		h["Zuora-Org-Ids"] = []string{c.o.OrgIDs}
	}
	return h
}
