package httpapi

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

type healthAnswer struct {
	Status string           `json:"status"`
	Checks map[string]check `json:"checks"`
}

func TestLivenessIsTheLoopsHeartbeatAlone(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/livez", "/healthz"} {
		w := newWorld(t)
		w.fail = errors.New("disk on fire")
		w.health = job.UpstreamHealth{Reason: job.ReasonNetwork}
		c := newClient(t, w, nil)
		if a := c.do("GET", target).want(200, ""); string(a.body) != "ok\n" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: got %q as %q, want ok as text", target, a.body, a.header.Get("Content-Type"))
		}
		w.clock = w.beat.Add(29 * time.Second)
		c.do("GET", target).want(200, "")
		w.clock = w.beat.Add(30 * time.Second)
		p := c.do("GET", target).want(503, codeNotReady).problem()
		if p.Checks["loop"].OK || !strings.Contains(p.Detail, "30s") {
			t.Errorf("%s: got %q and %v, want a loop that stands still for 30s", target, p.Detail, p.Checks)
		}
		c.do("GET", target+"?chatty").want(422, codeUnknownField)
	}
}

func TestReadinessIsStoreAndDrain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	draining := make(chan struct{})
	c := newClient(t, w, func(o *Options) { o.Draining = draining })
	c.do("GET", "/readyz").want(200, "")
	c.do("GET", "/readyz?chatty=1").want(422, codeUnknownField)
	w.beat = w.clock.Add(-time.Hour) // the loop is livez' concern
	w.health = job.UpstreamHealth{Reason: job.ReasonAuth, Since: 1000}
	for name, a := range map[string]reply{
		"verbose": c.do("GET", "/readyz?verbose"), "accept": c.with("Accept", "application/json").do("GET", "/readyz"),
	} {
		var got healthAnswer
		a.want(200, "").decode(&got)
		want := healthAnswer{"ok", map[string]check{
			"store": {OK: true}, "draining": {OK: true}, "upstream": {Detail: "not reachable: auth since 1970-01-01T00:00:01.000Z"},
		}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: an upstream that is away is told of and decides nothing (-want +got):\n%s", name, diff)
		}
	}
	w.fail = errors.New("disk on fire at postgres://user:canary@db")
	a := c.do("GET", "/readyz").want(503, codeNotReady)
	if p := a.problem(); p.Checks["store"].OK || strings.Contains(string(a.body), "canary") {
		t.Errorf("a store that is away: %s", a.body)
	}
	w.fail = nil
	c.do("GET", "/readyz").want(200, "")
	close(draining)
	if p := c.do("GET", "/readyz").want(503, codeNotReady).problem(); p.Checks["draining"].OK || p.Detail != "the daemon is stopping" {
		t.Errorf("a daemon that stops: %+v", p)
	}
	c.do("GET", "/livez?verbose=1").want(503, codeNotReady)
	w.beat = w.clock
	c.do("GET", "/livez?verbose=1").want(200, "")
}

func TestAnUpstreamThatNobodyHasAskedYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.health = job.UpstreamHealth{}
	var got healthAnswer
	newClient(t, w, nil).do("GET", "/readyz?verbose").want(200, "").decode(&got)
	if got.Checks["upstream"] != (check{Detail: "not reached yet"}) {
		t.Errorf("upstream: got %+v", got.Checks["upstream"])
	}
}
