package verify

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

// The canaries: secrets of the stage that must turn up nowhere.
const (
	canaryClient = "canary-client-secret=with+signs&to/encode"
	canaryFile   = "canary-presigned-result-link-token"
	canaryChat   = "canary-slack-path-T0000-B0000"
	canaryQuery  = "SELECT canary_of_the_query FROM account"
)

var (
	loaderSecret = signingSecret("canary-loader-signing-secret-0001")
	auditSecret  = signingSecret("canary-audit-signing-secret-00002")
)

func signingSecret(text string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(text))
}

// lostAfter is longer than any planned silence about a job, and short enough
// for jobs that are gone to be called lost before the end.
const lostAfter = 4 * time.Second

// stage is everything around the daemon.
type stage struct {
	tenant    *zuorasim.Tenant
	url       string // the tenant's
	name      string // the tenant's, in events
	receivers []*receiver
	folder    string
	stop      chan struct{}
	servers   []*http.Server

	mu       sync.Mutex
	inFlight map[string]*flight // GETs of one job
	overlaps []string
	tokens   map[string]bool
}

// newStage puts up tenant and receivers on loopback ports, and writes the
// daemon's files.
func newStage(ctx context.Context, seed uint64, folder string) (_ *stage, err error) {
	s := &stage{
		folder: folder, stop: make(chan struct{}), inFlight: map[string]*flight{}, tokens: map[string]bool{},
		tenant: zuorasim.New(zuorasim.Options{
			Seed: seed, Plan: zuorasim.Unlimited(), ClientSecret: canaryClient, DataFileToken: canaryFile, TokenLife: 10 * time.Minute,
		}),
	}
	defer func() { //nolint:contextcheck // close bounds itself
		if err != nil {
			s.close()
		}
	}()
	if s.url, err = s.serve(ctx, http.HandlerFunc(s.upstream)); err != nil {
		return nil, err
	}
	s.name = strings.TrimPrefix(s.url, "http://")
	var lines []string
	for _, d := range []struct{ name, secret string }{{"loader", loaderSecret}, {"audit", auditSecret}, {"chat", ""}} {
		r := &receiver{name: d.name, chat: d.secret == "", stop: s.stop, troubled: map[string]bool{}}
		if !r.chat {
			if r.verifier, err = standardwebhooks.NewWebhook(d.secret); err != nil {
				return nil, err
			}
		}
		url, err := s.serve(ctx, r)
		if err != nil {
			return nil, err
		}
		s.receivers = append(s.receivers, r)
		if r.chat {
			lines = append(lines, fmt.Sprintf("  - {name: %s, slack: {url: %q}}", d.name, url+"/services/"+canaryChat))
		} else {
			lines = append(lines, fmt.Sprintf("  - {name: %s, webhook: {url: %q, secret: %q}}", d.name, url+"/hook", d.secret))
		}
	}
	return s, os.WriteFile(s.destinationsFile(), []byte("destinations:\n"+strings.Join(lines, "\n")+"\n"), 0o600)
}

func (s *stage) destinationsFile() string { return filepath.Join(s.folder, "destinations.yaml") }

// serve answers on a free loopback port.
func (s *stage) serve(ctx context.Context, h http.Handler) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(l) }() // ends with close
	return "http://" + l.Addr().String(), nil
}

// upstream is the tenant, and whoever looks over its shoulder: two questions
// about one job at a time are one too many.
func (s *stage) upstream(w http.ResponseWriter, r *http.Request) {
	id, one := strings.CutPrefix(r.URL.Path, "/query/jobs/")
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		s.mu.Lock()
		s.tokens[token] = true
		s.mu.Unlock()
	}
	if one && r.Method == http.MethodGet {
		defer s.depart(id, r.Context())()
	}
	s.tenant.ServeHTTP(w, r)
}

// flight is one question about one job.
type flight struct {
	ctx      context.Context //nolint:containedctx // whether the asker has gone
	answered bool
}

// hangUp is how long it may take until we see that an asker has gone: on a busy
// machine his next question can be faster than the end of his connection.
const hangUp = 300 * time.Millisecond

// depart notes a question that is being answered, and that it has been. One
// about a job that is being asked for already is one too many, unless its asker
// has gone without waiting for the answer.
func (s *stage) depart(id string, ctx context.Context) (arrive func()) { //nolint:revive // the context is the asker's
	s.mu.Lock()
	other, mine := s.inFlight[id], &flight{ctx: ctx}
	s.inFlight[id] = mine
	s.mu.Unlock()
	if other != nil {
		select {
		case <-other.ctx.Done():
		case <-time.After(hangUp):
		}
		s.mu.Lock()
		if other.answered || other.ctx.Err() == nil {
			s.overlaps = append(s.overlaps, id)
		}
		s.mu.Unlock()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		mine.answered = ctx.Err() == nil
		if s.inFlight[id] == mine {
			delete(s.inFlight, id)
		}
	}
}

// do begins a step that the stage plays itself; undo ends it.
func (s *stage) do(step Step) (undo func()) {
	at := "/query/jobs/*"
	fault := func(f zuorasim.Fault) func() { return s.tenant.Fault(f) }
	switch step.Kind {
	case ThrottledSaying:
		return fault(zuorasim.Fault{Kind: zuorasim.KindStatus, Status: 429, RetryAfter: "1"})
	case Throttled:
		return fault(zuorasim.Fault{Kind: zuorasim.KindStatus, Status: 429})
	case Down:
		return fault(zuorasim.Fault{Kind: zuorasim.KindStatus, Status: 503, HTML: true})
	case Junk:
		return fault(zuorasim.Fault{Kind: zuorasim.KindJunk, Junk: zuorasim.JunkHTML, Probability: 0.7})
	case Cut:
		return fault(zuorasim.Fault{Kind: zuorasim.KindCut, Probability: 0.7})
	case Slow:
		return fault(zuorasim.Fault{Kind: zuorasim.KindDrip, Delay: 2 * time.Millisecond, Bytes: 16})
	case Silent:
		return fault(zuorasim.Fault{Kind: zuorasim.KindHang, Probability: 0.5})
	case Missing:
		return fault(zuorasim.Fault{Kind: zuorasim.KindStatus, Status: 404, Path: at})
	case Denied:
		return fault(zuorasim.Fault{Kind: zuorasim.KindStatus, Status: 403, Path: at})
	case Revoked:
		s.tenant.RevokeTokens()
	case ClockAhead:
		s.tenant.SetClockSkew(10 * time.Minute)
		return func() { s.tenant.SetClockSkew(0) }
	case ClockBehind:
		s.tenant.SetClockSkew(-10 * time.Minute)
		return func() { s.tenant.SetClockSkew(0) }
	default:
		for _, r := range s.receivers {
			if r.name == step.Target {
				r.misbehave(step.Kind)
				return r.behave
			}
		}
	}
	return func() {}
}

// hits is how many requests have met a fault of the tenant.
func (s *stage) hits() (n int64) {
	for _, hit := range s.tenant.Stats().Faults {
		n += hit
	}
	return n
}

// submit makes a planned job at the tenant.
func (s *stage) submit(p PlannedJob) job.ID {
	return s.tenant.Submit(zuorasim.Spec{RunTime: p.RunTime, Outcome: p.Outcome, Unlimited: true, Query: canaryQuery})
}

func (s *stage) close() {
	close(s.stop)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, server := range s.servers {
		if err := server.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
			_ = server.Close()
		}
	}
}
