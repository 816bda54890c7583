package slack

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"golang.org/x/time/rate"
)

// spacing is contract section 6's one message a second for each URL, and a
// little more, so that two messages which travel unequally fast do not arrive
// within one second.
const spacing = 1050 * time.Millisecond

// Pacer keeps one limiter for each URL, so that destinations which share a URL
// share its pace, and a reload of the configuration does not start it afresh.
// The zero Pacer is ready.
type Pacer struct {
	mu       sync.Mutex
	limiters map[[sha256.Size]byte]*rate.Limiter
	replicas int
}

// Share says how many replicas send: each has its part of every URL's rate, so
// that together they keep within it.
func (p *Pacer) Share(replicas int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if replicas = max(replicas, 1); replicas == p.replicas {
		return
	}
	p.replicas = replicas
	for _, l := range p.limiters {
		l.SetLimit(rate.Every(spacing * time.Duration(replicas)))
	}
}

// limiter is the URL's. One in a file that cannot be read yet goes by the
// file's name.
func (p *Pacer) limiter(source secret.Source) *rate.Limiter {
	text, err := source.Get()
	key := sha256.Sum256([]byte("url\x00" + text.Reveal()))
	if err != nil || text.Empty() {
		key = sha256.Sum256([]byte("file\x00" + source.Path()))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limiters == nil {
		p.limiters = map[[sha256.Size]byte]*rate.Limiter{}
	}
	l, found := p.limiters[key]
	if !found {
		l = rate.NewLimiter(rate.Every(spacing*time.Duration(max(p.replicas, 1))), 1)
		p.limiters[key] = l
	}
	return l
}
