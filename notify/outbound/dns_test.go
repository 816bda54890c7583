package outbound

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// fakeDNS answers address questions from a table. A name with several entries
// changes its answer with every pair of questions (A and AAAA), as a rebinding
// name does; the last one stays.
type fakeDNS struct {
	mu    sync.Mutex
	names map[string][]netip.Addr
	asked map[string]int
}

func newFakeDNS(names map[string][]string) *fakeDNS {
	d := &fakeDNS{names: map[string][]netip.Addr{}, asked: map[string]int{}}
	for name, texts := range names {
		for _, text := range texts {
			d.names[name+"."] = append(d.names[name+"."], netip.MustParseAddr(text))
		}
	}
	return d
}

// resolver speaks to d over a pipe, in DNS's framing for streams.
func (d *fakeDNS) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go d.serve(server)
		return client, nil
	}}
}

func (d *fakeDNS) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		reply, err := d.reply(query)
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

func (d *fakeDNS) reply(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	q := m.Questions[0]
	addr, found := d.next(q.Name.String())
	if !found {
		m.RCode = dnsmessage.RCodeNameError
	}
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
	switch {
	case found && q.Type == dnsmessage.TypeA && addr.Is4():
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}}}
	case found && q.Type == dnsmessage.TypeAAAA && addr.Is6():
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}}
	}
	return m.Pack()
}

func (d *fakeDNS) next(name string) (netip.Addr, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	addrs := d.names[name]
	if len(addrs) == 0 {
		return netip.Addr{}, false
	}
	look := d.asked[name] / 2
	d.asked[name]++
	return addrs[min(look, len(addrs)-1)], true
}

func TestFakeDNSChangesItsAnswer(t *testing.T) {
	t.Parallel()
	r := newFakeDNS(map[string][]string{"a.test": {"93.184.216.34", "127.0.0.1"}}).resolver()
	for _, want := range []string{"93.184.216.34", "127.0.0.1", "127.0.0.1"} {
		got, err := r.LookupHost(t.Context(), "a.test.")
		if err != nil || len(got) != 1 || got[0] != want {
			t.Fatalf("got %v, %v, want %s", got, err, want)
		}
	}
}
