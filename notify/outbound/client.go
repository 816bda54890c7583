package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"golang.org/x/net/http/httpproxy"
)

// DefaultTimeout is how long a receiver may take (contract section 6).
const DefaultTimeout = 15 * time.Second

const (
	// dialTimeout leaves time for a second address within DefaultTimeout.
	dialTimeout = 10 * time.Second
	// patience is how long the body may take once the status is known: the
	// status decides, the body is only kept for people to read.
	patience = 2 * time.Second
	// idlePerReceiver keeps enough connections for the widest lane.
	idlePerReceiver = 64
	// maxHeaders is far above what a receiver has reason to send.
	maxHeaders = 64 << 10
)

// Options says how strangers are spoken to. The zero value is the strict one.
type Options struct {
	// AllowPrivate turns the address guard off altogether.
	AllowPrivate bool
	// AllowCIDRs are ranges that may be dialled although they are special.
	AllowCIDRs []netip.Prefix
	// AllowHosts are names that may resolve to any address: "loader.internal",
	// or "*.internal" for everything below. Case does not matter.
	AllowHosts []string
	// Timeout bounds one Post as a whole; zero means DefaultTimeout.
	Timeout time.Duration
	// UserAgent is sent with each request; "" means "jobwatcher".
	UserAgent string
	// Proxy honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
	Proxy bool
	// Resolver looks names up; nil means the system's.
	Resolver *net.Resolver
	// Transport replaces the network, for tests in virtual time. Nothing is
	// dialled then, so of the guard only the check of literal addresses is left.
	Transport http.RoundTripper
}

// Client sends to foreign receivers. It is safe for concurrent use and starts
// nothing until it is used.
type Client struct {
	transport http.RoundTripper
	guard     *guard
	timeout   time.Duration
	userAgent string
}

// New builds the client.
func New(o Options) *Client {
	c := &Client{guard: newGuard(o), timeout: o.Timeout, userAgent: o.UserAgent, transport: o.Transport}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.userAgent == "" {
		c.userAgent = "jobwatcher"
	}
	if c.transport == nil {
		c.transport = newTransport(c.guard, o.Proxy)
	}
	return c
}

func newTransport(g *guard, useProxy bool) *http.Transport {
	t := &http.Transport{
		DialContext:            g.dial,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // a cap on what is read then is one on what comes in
		MaxIdleConns:           4 * idlePerReceiver,
		MaxIdleConnsPerHost:    idlePerReceiver,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxHeaders,
		// An HTTP/2 connection whose other end has vanished would otherwise fail
		// request after request until TCP gives up.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	if useProxy {
		// Read now and not once in the life of the process, as net/http does.
		choose := httpproxy.FromEnvironment().ProxyFunc()
		t.Proxy = g.throughProxy(func(req *http.Request) (*url.URL, error) { return choose(req.URL) })
	}
	return t
}

// CloseIdle closes connections that are not in use.
func (c *Client) CloseIdle() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Request is one POST.
type Request struct {
	URL    secret.Text
	Header http.Header
	Body   []byte
	// Secrets are further texts that must not come back in an answer or error.
	// The URL's own are known.
	Secrets []string
}

// Answer is what a receiver said.
type Answer struct {
	Code   int
	Header http.Header
	// Body is the first 4 KiB as they came: for parsing, never to be kept or shown.
	Body []byte
	// Head is its first 512 bytes, cleaned and without secrets.
	Head string
}

// Post sends the request once. Any status is an answer, redirects too; an
// *Error says that there was none.
func (c *Client) Post(ctx context.Context, r Request) (Answer, error) {
	target, err := ParseURL(r.URL)
	if err != nil {
		return Answer{}, &Error{text: err.Error()}
	}
	known := func() []string { return knownSecrets(target, r.Secrets) }
	if err := c.guard.checkHost(target.Hostname()); err != nil {
		return Answer{}, newError(ctx, err, known())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, lateError{c.timeout})
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, newError(ctx, err, known())
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	req.Header.Set("User-Agent", c.userAgent)
	if u := target.User; u != nil && req.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	// The transport and not an http.Client: that one looks into redirects even
	// when it is told not to follow them, and puts the URL into its errors.
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return Answer{}, newError(ctx, err, known())
	}
	defer func() { _ = res.Body.Close() }()
	slow := time.AfterFunc(patience, cancel)
	defer slow.Stop()
	body, whole := readHead(res.Body)
	return Answer{Code: res.StatusCode, Header: res.Header, Body: body, Head: cleanHead(body, whole, known)}, nil
}

// Allowed looks a host up and says whether all of its addresses may be dialled:
// for those who dial by themselves. The error is or wraps [ErrBlocked] when one
// may not.
func (c *Client) Allowed(ctx context.Context, host string) error {
	g := c.guard
	if g.off || g.allowsHost(host) {
		return nil
	}
	if err := g.checkHost(host); err != nil {
		return err
	}
	addresses, err := g.resolver().LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, one := range addresses {
		if err := g.check(one); err != nil {
			return err
		}
	}
	return nil
}

// Guarded is a transport with the same guard and limits, for libraries that
// bring a client of their own.
func (c *Client) Guarded() http.RoundTripper { return guarded{c} }

type guarded struct{ c *Client }

// RoundTrip implements [http.RoundTripper].
func (g guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.c.guard.checkHost(req.URL.Hostname()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), g.c.timeout)
	res, err := g.c.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	res.Body = &boundedBody{io.LimitReader(res.Body, maxForeign), res.Body, cancel}
	return res, nil
}

// maxForeign bounds what a library reads of an answer.
const maxForeign = 1 << 20

// boundedBody ends its request's time when it is closed.
type boundedBody struct {
	io.Reader
	io.Closer
	cancel context.CancelFunc
}

// Close implements [io.Closer].
func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.Closer.Close()
}

// ParseURL reads a receiver's URL. Its error never holds the URL.
func ParseURL(text secret.Text) (*url.URL, error) {
	u, err := url.Parse(text.Reveal())
	switch {
	case text.Empty():
		return nil, errors.New("the URL is empty")
	case err != nil:
		return nil, errors.New("the URL cannot be parsed")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the URL does not begin with https:// or http://")
	case u.Hostname() == "":
		return nil, errors.New("the URL names no host")
	}
	u.Fragment = ""
	return u, nil
}
