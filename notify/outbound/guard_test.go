package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

func TestSpecialAddressesAreRefused(t *testing.T) {
	t.Parallel()
	g := newGuard(Options{})
	for what, addresses := range map[string][]string{
		"loopback":             {"127.0.0.1", "127.255.255.254", "::1"},
		"this network":         {"0.0.0.0", "0.1.2.3", "::"},
		"private":              {"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"},
		"link-local":           {"169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1"},
		"site-local":           {"fec0::1"},
		"metadata":             {"169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"},
		"carrier-grade NAT":    {"100.64.0.1", "100.127.255.255"},
		"protocol assignments": {"192.0.0.1", "2001::1", "2001:10::1"},
		"documentation":        {"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"},
		"benchmarking":         {"198.18.0.1", "198.19.255.255"},
		"multicast":            {"224.0.0.1", "239.255.255.255", "ff02::1"},
		"reserved":             {"240.0.0.1", "255.255.255.255"},
		"IPv4-mapped":          {"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16"},
		"IPv4-compatible":      {"::127.0.0.1", "::7f00:1"},
		"IPv4-translated":      {"::ffff:0:127.0.0.1"},
		"NAT64":                {"64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::10.0.0.1"},
		"6to4":                 {"2002:7f00:1::", "2002:a00:1::1"},
		"Teredo":               {"2001:0:53aa:64c::1"},
		"discard":              {"100::1"},
		"segment routing":      {"5f00::1"},
	} {
		for _, a := range addresses {
			if err := g.check(netip.MustParseAddr(a)); !errors.Is(err, ErrBlocked) {
				t.Errorf("%s: %s: got %v, want it blocked", what, a, err)
			}
			if err := g.control(t.Context(), "tcp4", net.JoinHostPort(a, "443"), nil); !errors.Is(err, ErrBlocked) {
				t.Errorf("%s: %s at dial time: got %v, want it blocked", what, a, err)
			}
		}
	}
}

func TestPublicAddressesAreDialled(t *testing.T) {
	t.Parallel()
	g := newGuard(Options{})
	for _, a := range []string{
		"8.8.8.8", "93.184.216.34", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1",
		"168.63.129.17", "100.63.255.255", "100.128.0.1", "172.32.0.1", "169.253.1.1", "11.0.0.1",
	} {
		if err := g.check(netip.MustParseAddr(a)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestOnlyTCPIsDialled(t *testing.T) {
	t.Parallel()
	g := newGuard(Options{})
	for _, c := range [][2]string{{"udp4", "8.8.8.8:53"}, {"unix", "/run/docker.sock"}, {"tcp4", "no address"}} {
		if err := g.control(t.Context(), c[0], c[1], nil); !errors.Is(err, ErrBlocked) {
			t.Errorf("%v: got %v, want it blocked", c, err)
		}
	}
}

func TestRangesCanBeAllowed(t *testing.T) {
	t.Parallel()
	g := newGuard(Options{AllowCIDRs: []netip.Prefix{
		netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("fd12::/16"), netip.MustParsePrefix("fe80::/10"),
		netip.MustParsePrefix("::ffff:192.168.7.0/120"), netip.MustParsePrefix("64:ff9b::/96"),
		{},
	}})
	for a, allowed := range map[string]bool{
		"10.20.3.4": true, "::ffff:10.20.3.4": true, "10.21.0.1": false, "127.0.0.1": false,
		"fd12::5": true, "fd13::5": false, "fe80::1%eth0": true,
		"192.168.7.9": true, "192.168.8.9": false,
		// NAT64 is allowed, but the address inside must be allowed too.
		"64:ff9b::8.8.8.8": true, "64:ff9b::10.20.3.4": true,
		"64:ff9b::127.0.0.1": false, "64:ff9b::169.254.169.254": false,
	} {
		if err := g.check(netip.MustParseAddr(a)); (err == nil) != allowed {
			t.Errorf("%s: got %v, want allowed: %v", a, err, allowed)
		}
	}
}

func TestHostsCanBeAllowedByName(t *testing.T) {
	t.Parallel()
	g := newGuard(Options{AllowHosts: []string{"Loader.Internal.", "*.svc.cluster.local", "127.0.0.1", " ", "*"}})
	for host, allowed := range map[string]bool{
		"loader.internal": true, "LOADER.internal.": true, "xloader.internal": false, "a.loader.internal": false,
		"a.svc.cluster.local": true, "a.b.svc.cluster.local": true, "svc.cluster.local": false, "xsvc.cluster.local": false,
		"127.0.0.1": true, "127.0.0.2": false, "anything": false,
	} {
		if got := g.allowsHost(host); got != allowed {
			t.Errorf("%s: got %v, want %v", host, got, allowed)
		}
	}
}

// loopback starts a receiver on 127.0.0.1 and returns its port and how often it
// was reached.
func loopback(t *testing.T) (port string, reached func() int) {
	t.Helper()
	hits := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits <- struct{}{} }))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port(), func() int { return len(hits) }
}

func post(t *testing.T, c *Client, target string) (Answer, error) {
	t.Helper()
	t.Cleanup(c.CloseIdle)
	return c.Post(t.Context(), Request{URL: secret.New(target), Body: []byte("{}")})
}

func TestNamesThatResolveToLoopbackAreNotDialled(t *testing.T) {
	t.Parallel()
	port, reached := loopback(t)
	// Hexadecimal and the like are names to Go; whatever the resolver makes of
	// them is checked. Names of digits and dots alone it does not look up at all.
	hosts := []string{"0x7f000001", "0x7f.1", "localhost.example", "mapped.example", "nat64.example"}
	names := map[string][]string{}
	for _, h := range hosts {
		names[h] = []string{"127.0.0.1"}
	}
	numeric := []string{"2130706433", "0177.0.0.1", "127.1", "017700000001"}
	for _, h := range numeric {
		names[h] = []string{"127.0.0.1"}
	}
	names["mapped.example"], names["nat64.example"] = []string{"::ffff:127.0.0.1"}, []string{"64:ff9b::7f00:1"}
	c := New(Options{Resolver: newFakeDNS(names).resolver()})
	for _, h := range append(hosts, "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]") {
		_, err := post(t, c, "http://"+h+":"+port+"/")
		if !errors.Is(err, ErrBlocked) {
			t.Errorf("%s: got %v, want it blocked", h, err)
		}
	}
	for _, h := range numeric {
		if _, err := post(t, c, "http://"+h+":"+port+"/"); err == nil {
			t.Errorf("%s: it was reached", h)
		}
	}
	if reached() != 0 {
		t.Errorf("the receiver was reached %d times", reached())
	}
}

func TestANameThatChangesItsAnswerIsCheckedWhenDialled(t *testing.T) {
	t.Parallel()
	port, reached := loopback(t)
	dns := newFakeDNS(map[string][]string{"rebind.example": {"93.184.216.34", "127.0.0.1"}})
	resolver := dns.resolver()
	// A look-up ahead of the dial sees a public address …
	addrs, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.example.")
	if err != nil || newGuard(Options{}).check(addrs[0]) != nil {
		t.Fatalf("the first look-up gave %v, %v; it should have been harmless", addrs, err)
	}
	// … and the dialer another one.
	dns.mu.Lock()
	dns.asked["rebind.example."] = 2
	dns.mu.Unlock()
	_, err = post(t, New(Options{Resolver: resolver}), "http://rebind.example:"+port+"/")
	if !errors.Is(err, ErrBlocked) || reached() != 0 {
		t.Errorf("got %v and %d requests, want it blocked", err, reached())
	}
}

func TestAllowedReceiversAreReached(t *testing.T) {
	t.Parallel()
	port, _ := loopback(t)
	dns := newFakeDNS(map[string][]string{"loader.internal": {"127.0.0.1"}})
	for what, c := range map[string]struct {
		o    Options
		host string
	}{
		"everything": {Options{AllowPrivate: true}, "127.0.0.1"},
		"the range":  {Options{AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "loader.internal"},
		"the host":   {Options{AllowHosts: []string{"loader.internal"}}, "loader.internal"},
		"a literal":  {Options{AllowHosts: []string{"127.0.0.1"}}, "127.0.0.1"},
	} {
		c.o.Resolver = dns.resolver()
		if a, err := post(t, New(c.o), "http://"+c.host+":"+port+"/"); err != nil || a.Code != http.StatusOK {
			t.Errorf("%s: got %d, %v", what, a.Code, err)
		}
	}
}

func TestProxiesOfTheEnvironmentCountOnlyWhenAskedFor(t *testing.T) {
	seen := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.URL.String() }))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTP_PROXY", proxy.URL)
	dns := newFakeDNS(map[string][]string{"receiver.example": {"127.0.0.1"}})

	_, err := post(t, New(Options{Resolver: dns.resolver()}), "http://receiver.example/a")
	if !errors.Is(err, ErrBlocked) {
		t.Errorf("without asking: got %v, want the name's own address to be dialled and blocked", err)
	}
	c := New(Options{Resolver: dns.resolver(), Proxy: true})
	if _, err := post(t, c, "http://receiver.example/b"); err != nil {
		t.Errorf("through the proxy: %v", err)
	}
	select {
	case got := <-seen:
		if got != "http://receiver.example/b" {
			t.Errorf("the proxy was asked for %s", got)
		}
	default:
		t.Error("the proxy was not asked")
	}
	// What can be known is still refused: literal addresses, and what goes past
	// the proxy.
	for _, u := range []string{"http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/"} {
		if _, err := post(t, c, u); !errors.Is(err, ErrBlocked) {
			t.Errorf("%s: got %v, want it blocked", u, err)
		}
	}
	t.Setenv("NO_PROXY", "receiver.example")
	if _, err := post(t, New(Options{Resolver: dns.resolver(), Proxy: true}), "http://receiver.example/"); !errors.Is(err, ErrBlocked) {
		t.Errorf("past the proxy: got %v, want it blocked", err)
	}
	if len(seen) != 0 {
		t.Errorf("the proxy was asked for %s", <-seen)
	}
}

func TestProxyIsRememberedWithItsPort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"http://proxy.example": "proxy.example:80", "https://proxy.example": "proxy.example:443",
		"socks5://[fd00::1]": "[fd00::1]:1080", "http://proxy.example:3128": "proxy.example:3128",
	} {
		g := newGuard(Options{})
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.throughProxy(func(*http.Request) (*url.URL, error) { return u, nil })(nil); err != nil || !g.isProxy(want) {
			t.Errorf("%s: %v, %v, want %s", text, err, g.proxies, want)
		}
	}
	g := newGuard(Options{})
	if u, err := g.throughProxy(func(*http.Request) (*url.URL, error) { return nil, nil })(nil); u != nil || err != nil || len(g.proxies) != 0 { //nolint:nilnil // what the library answers for "directly"
		t.Errorf("got %v, %v, want no proxy", u, err)
	}
}

func TestBlockedErrorNamesTheAddressAndNotTheURL(t *testing.T) {
	t.Parallel()
	c := New(Options{Resolver: newFakeDNS(map[string][]string{"inside.example": {"10.1.2.3"}}).resolver()})
	_, err := post(t, c, "http://inside.example/services/T0SECRETSECRET")
	var blocked interface{ Blocked() bool }
	if !errors.As(err, &blocked) || !blocked.Blocked() {
		t.Fatalf("got %#v, want it to say Blocked", err)
	}
	if text := err.Error(); !strings.Contains(text, "10.1.2.3") || strings.Contains(text, "SECRET") {
		t.Errorf("got %q", text)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v says that time ran out", err)
	}
}

func FuzzGuardRefusesWhateverMapsToLoopback(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fe80::1%0", "2002:7f00::", "8.8.8.8"} {
		f.Add(s)
	}
	g := newGuard(Options{})
	f.Fuzz(func(t *testing.T, text string) {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		special := addr.Unmap()
		if g.check(addr) == nil && (special.IsLoopback() || special.IsPrivate() || special.IsLinkLocalUnicast() ||
			special.IsMulticast() || special.IsUnspecified() || special.IsInterfaceLocalMulticast()) {
			t.Errorf("%s would be dialled", text)
		}
	})
}
