package httpapi

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// streamed reads a stream for a while, during which things happen, until the
// daemon drains.
func streamed(t *testing.T, w *world, lastID string, during func(c *client)) []string {
	t.Helper()
	draining := make(chan struct{})
	c := newClient(t, w, func(o *Options) { o.Draining = draining })
	if lastID != "" {
		c = c.with("Last-Event-ID", lastID)
	}
	go func() {
		synctest.Wait()
		during(c)
		synctest.Wait()
		close(draining)
	}()
	a := c.do("GET", "/v1/events").want(200, "")
	if a.header.Get("Content-Type") != "text/event-stream" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", a.header)
	}
	return strings.Split(strings.TrimSuffix(string(a.body), "\n\n"), "\n\n")
}

func TestEventsAreToldAsTheyHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1), Query: "SELECT canary", Labels: job.Labels{"team": "finance"}})
		w.happens(job.KindTracked, id(7)) // before anybody looked
		got := streamed(t, w, "", func(*client) {
			w.happens(job.KindStatus, id(1))
			synctest.Wait()
			time.Sleep(heartbeat) //nolint:forbidigo // virtual time
			w.end(id(1), true)
			w.happens(job.KindFinished, id(1))
			w.happens(job.KindUntracked, id(2))
		})
		var kinds []string
		for _, one := range got[1:] {
			first, _, _ := strings.Cut(one, "\n")
			if _, rest, found := strings.Cut(one, "\nevent: "); found {
				first, _, _ = strings.Cut(rest, "\n")
			}
			kinds = append(kinds, first)
		}
		if all := strings.Join(kinds, " "); all != "status : still here finished untracked" {
			t.Fatalf("told %q:\n%s", all, strings.Join(got, "\n\n"))
		}
		text := strings.Join(got, "\n")
		if got[0] != "retry: 3000" || !strings.Contains(got[1], `"team":"finance"`) || !strings.Contains(got[3], `"outcome":"completed"`) ||
			!strings.Contains(got[4], `"job":null`) || strings.Contains(text, "canary") || strings.Contains(text, id(7).String()) {
			t.Errorf("told:\n%s", strings.Join(got, "\n\n"))
		}
	})
}

func TestStreamGoesOnWhereItWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		w.happens(job.KindTracked, id(1), id(2), id(3))
		draining := make(chan struct{})
		close(draining)
		c := newClient(t, w, func(o *Options) { o.Draining = draining })
		first := string(c.do("GET", "/v1/events").want(200, "").body)
		if strings.Contains(first, "event:") {
			t.Errorf("somebody new is told what is over: %s", first)
		}
		w.happens(job.KindStatus, id(1))
		life := string(c.with("Last-Event-ID", "another-1").do("GET", "/v1/events").want(200, "").body)
		_, name, _ := strings.Cut(life, "id: ")
		name, _, _ = strings.Cut(name, "-")
		if !strings.Contains(life, "event: reset") || name == "" {
			t.Fatalf("after another life: %s", life)
		}
		again := string(c.with("Last-Event-ID", name+"-2").do("GET", "/v1/events").want(200, "").body)
		if strings.Contains(again, "reset") || !strings.Contains(again, "id: "+name+"-3\nevent: tracked") || !strings.Contains(again, "id: "+name+"-4\nevent: status") {
			t.Errorf("after the second: %s", again)
		}
		w.forgotten = 3
		for _, last := range []string{name + "-1", name + "-99", name + "-x", "nonsense"} {
			if gap := string(c.with("Last-Event-ID", last).do("GET", "/v1/events").want(200, "").body); !strings.Contains(gap, "event: reset") {
				t.Errorf("after %s: %s", last, gap)
			}
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		draining := make(chan struct{})
		c := newClient(t, w, func(o *Options) { o.Draining = draining })
		for range maxStreams {
			go c.do("GET", "/v1/events")
		}
		synctest.Wait()
		c.do("GET", "/v1/events").want(503, codeNotReady)
		close(draining)
		synctest.Wait()
		c.do("GET", "/v1/events").want(200, "")
		c.do("GET", "/v1/events?since=1").want(422, codeUnknownField)
	})
}

func TestEventsAreForThoseWhoMayRead(t *testing.T) {
	t.Parallel()
	c := newClient(t, newWorld(t), func(o *Options) { o.WriteToken = token("right") })
	c.do("GET", "/v1/events").want(401, codeUnauthorized)
	c = newClient(t, newWorld(t), nil)
	c.peer = "192.0.2.7:1234"
	c.do("GET", "/v1/events").want(403, codeForbidden)
}
