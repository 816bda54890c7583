package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"

	"code.dny.dev/ssrf"
)

// ErrBlocked is why an address was not dialled: it is special, and nobody
// allowed it.
var ErrBlocked = errors.New("address not allowed")

var (
	// azureWireServer is Azure's metadata and agent endpoint. It is the one
	// metadata address that lies in public space, so no registry of special
	// ranges knows it (Microsoft Learn, "What is IP address 168.63.129.16?").
	azureWireServer = netip.MustParsePrefix("168.63.129.16/32")
	// localNAT64 is the second well-known translation prefix, RFC 8215.
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")
)

// guard decides which addresses may be dialled. The list of special ranges is
// code.dny.dev/ssrf's, generated from the IANA registries; added here are the
// ways to allow an address, Azure's metadata address, and a second look at the
// IPv4 address inside an allowed NAT64 one.
type guard struct {
	off    bool
	hosts  []string
	rules  *ssrf.Guardian
	dialer *net.Dialer // every address passes the guard
	open   *net.Dialer // no address does

	mu      sync.Mutex
	proxies map[string]bool // host:port of every proxy the environment named
}

func newGuard(o Options) *guard {
	var v4, v6 []netip.Prefix
	for _, p := range o.AllowCIDRs {
		switch {
		case !p.IsValid():
		case p.Addr().Is4():
			v4 = append(v4, p.Masked())
		case p.Addr().Is4In6() && p.Bits() >= 96:
			v4 = append(v4, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked())
		default:
			v6 = append(v6, p.Masked())
		}
	}
	g := &guard{
		off: o.AllowPrivate,
		rules: ssrf.New(
			ssrf.WithAnyPort(),
			ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...),
			ssrf.WithDeniedV4Prefixes(azureWireServer),
		),
		open:    &net.Dialer{Timeout: dialTimeout, Resolver: o.Resolver},
		proxies: map[string]bool{},
	}
	g.dialer = &net.Dialer{Timeout: dialTimeout, Resolver: o.Resolver, ControlContext: g.control}
	for _, h := range o.AllowHosts {
		if h = canonicalHost(h); h != "" {
			g.hosts = append(g.hosts, h)
		}
	}
	return g
}

func (g *guard) resolver() *net.Resolver {
	if g.open.Resolver != nil {
		return g.open.Resolver
	}
	return net.DefaultResolver
}

// canonicalHost folds case and the root's dot.
func canonicalHost(h string) string {
	return strings.TrimSuffix(strings.ToLower(strings.TrimSpace(h)), ".")
}

// allowsHost reports whether the name was allowed as such.
func (g *guard) allowsHost(host string) bool {
	host = canonicalHost(host)
	for _, allowed := range g.hosts {
		suffix, wildcard := strings.CutPrefix(allowed, "*")
		if host == allowed || wildcard && strings.HasPrefix(suffix, ".") && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// dial is the transport's way to the network.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("read address: %w", err)
	}
	if g.off || g.allowsHost(host) || g.isProxy(address) {
		return g.open.DialContext(ctx, network, address)
	}
	return g.dialer.DialContext(ctx, network, address)
}

// control is asked by the dialer after resolution, with the very address that
// is about to be connected.
func (g *guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: %s is no TCP", ErrBlocked, network)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: it cannot be read", ErrBlocked)
	}
	return g.check(ap.Addr())
}

// check applies the rules to one address.
func (g *guard) check(addr netip.Addr) error {
	// A zone would keep the address out of every prefix, an IPv4-mapped form
	// out of every IPv4 one.
	addr = addr.WithZone("").Unmap()
	if err := g.rules.SafeAddr(addr); err != nil {
		return fmt.Errorf("%w: %s is loopback, private, link-local or otherwise special", ErrBlocked, addr)
	}
	if inner, translated := insideNAT64(addr); translated {
		if err := g.rules.SafeAddr(inner); err != nil {
			return fmt.Errorf("%w: %s translates to %s, which is special", ErrBlocked, addr, inner)
		}
	}
	return nil
}

// insideNAT64 reads the IPv4 address out of a translated one (RFC 6052,
// section 2.2: with a prefix of 96 bits it is the last four bytes). Within the
// local-use prefix operators choose the layout; its last four bytes are where
// the shortest one, /96, has it.
func insideNAT64(addr netip.Addr) (netip.Addr, bool) {
	if !ssrf.IPv6NAT64Prefix.Contains(addr) && !localNAT64.Contains(addr) {
		return netip.Addr{}, false
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:])), true
}

// checkHost refuses a literal address before anything is dialled: behind a
// proxy or a replaced transport no dialer is asked.
func (g *guard) checkHost(host string) error {
	addr, err := netip.ParseAddr(host)
	if err != nil || g.off || g.allowsHost(host) {
		return nil //nolint:nilerr // a name: the dialer checks what it resolves to
	}
	return g.check(addr)
}

// throughProxy remembers the proxies that the environment names: they are the
// operator's own and may be dialled wherever they are.
func (g *guard) throughProxy(choose func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(req *http.Request) (*url.URL, error) {
		proxy, err := choose(req)
		if err != nil || proxy == nil {
			return proxy, err
		}
		port := proxy.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[proxy.Scheme]
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.proxies[net.JoinHostPort(proxy.Hostname(), port)] = true
		return proxy, nil
	}
}

func (g *guard) isProxy(address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.proxies[address]
}
