package zuora

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

const (
	// early is how long before its end a token is renewed, as Zuora's own sample
	// does (zuora-facts.md section 5); a short-lived one at half its life.
	early = 5 * time.Minute
	// renewAgain is how long a renewal that failed waits while the old token is
	// still good, with a tenth of [early].
	renewAgain = early / 10
)

// pass is what a request is sent with: a token, and every header but the track
// id. It is shared and never changed; a new token is a new pass.
type pass struct {
	token  string
	header http.Header
}

// granted is a token as the token endpoint gave it.
type granted struct {
	token string
	life  time.Duration
}

// tokens hands out the token in force. It has no goroutine: whoever finds none
// fetches it, and everybody else waits for that one, each no longer than its own
// context lasts.
//
//	fetched ──────────────────────> renewAt ───────────> endsAt
//	   everybody takes it             one renews it;       everybody waits
//	                                  the others, and all  for the one who
//	                                  if it fails, take    fetches
//	                                  the old one
type tokens struct {
	ready   secret.Source // a ready token, never refreshed
	fetch   func(context.Context) (granted, error)
	headers func(token string) http.Header
	now     func() time.Time
	log     *zap.Logger

	mu      sync.Mutex
	held    *pass // nil: none, or refused
	renewAt time.Time
	endsAt  time.Time
	failing bool // the last renewal failed
	flight  *flight
}

// flight is a fetch under way.
type flight struct {
	done chan struct{}
	pass *pass
	err  error
	// deserted: whoever fetched gave up before there was an answer.
	deserted bool
}

// get returns the token in force, fetching one when there is none.
func (t *tokens) get(ctx context.Context) (*pass, error) {
	if !t.ready.Empty() {
		return t.read()
	}
	for {
		p, f, lead := t.take()
		if p != nil {
			return p, nil
		}
		if lead {
			return t.lead(ctx, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, transportError(ctx.Err())
		}
		if !f.deserted {
			return f.pass, f.err
		}
	}
}

// take is a token that may be used now, or else a fetch: to wait for, or to lead.
func (t *tokens) take() (p *pass, f *flight, lead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	good := t.held != nil && now.Before(t.endsAt)
	if good && (t.flight != nil || now.Before(t.renewAt)) {
		return t.held, nil, false
	}
	if t.flight != nil {
		return nil, t.flight, false
	}
	t.flight = &flight{done: make(chan struct{})}
	return nil, t.flight, true
}

// lead fetches, for itself and for all who wait.
func (t *tokens) lead(ctx context.Context, f *flight) (*pass, error) {
	f.deserted = true // until there is an answer; also when fetch panics
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.flight = nil
		close(f.done)
	}()
	began := t.now()
	g, err := t.fetch(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, err // we gave up, which tells the others nothing
	}
	f.deserted = false
	if err == nil {
		f.pass = t.keep(g, began)
		return f.pass, nil
	}
	old, first := t.fallBack()
	if first {
		t.log.Warn("token not renewed; the old one is used as long as it lasts", zap.Error(err))
	}
	if old == nil {
		f.err = err
	}
	f.pass = old
	return f.pass, f.err
}

// keep puts a new token in force. Its life began before we heard of it.
func (t *tokens) keep(g granted, began time.Time) *pass {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = &pass{token: g.token, header: t.headers(g.token)}
	t.endsAt = began.Add(g.life)
	t.renewAt = t.endsAt.Add(-min(early, g.life/2))
	t.failing = false
	return t.held
}

// fallBack is the old token when there is no new one; nil when it is no longer
// good. first: the renewal before this one had not failed.
func (t *tokens) fallBack() (p *pass, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.held == nil || !now.Before(t.endsAt) {
		return nil, false
	}
	t.renewAt = now.Add(renewAgain)
	first, t.failing = !t.failing, true
	return t.held, first
}

// refused drops a token that was answered with 401, if it is still the one in
// force, and reports whether there may be another: for client credentials always,
// for a ready token when its file has changed meanwhile.
func (t *tokens) refused(p *pass) bool {
	if !t.ready.Empty() {
		again, err := t.read()
		return err == nil && again.token != p.token
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == p {
		t.held = nil
	}
	return true
}

// read is the ready token as it is now.
func (t *tokens) read() (*pass, error) {
	text, err := t.ready.Get()
	if err != nil {
		return nil, ourFault(err)
	}
	token := text.Reveal()
	if !bearable(token) {
		return nil, ourFault(errNoToken)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil || t.held.token != token {
		t.held = &pass{token: token, header: t.headers(token)}
	}
	return t.held, nil
}

var errNoToken = errors.New("the bearer token is empty or has characters that no token has")

// ourFault is an [Error] about credentials that never reached Zuora: a file that
// cannot be read, or holds no token.
func ourFault(err error) *Error {
	return &Error{Reason: job.ReasonInternal, TenantWide: true, Err: err}
}

// maxToken is far longer than any token we know of (32 characters), and short
// enough for every server's limit on headers.
const maxToken = 8 << 10

// bearable reports whether a token can stand in a header as it is.
func bearable(token string) bool {
	if token == "" || len(token) > maxToken {
		return false
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return false
		}
	}
	return true
}
