package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// hanging runs one long poll and says how long it took, in virtual time.
func hanging(c *client, target string) (a reply, took time.Duration) {
	began := time.Now()
	a = c.do("GET", target)
	return a, time.Since(began)
}

func TestALongPollEndsWithTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		c := newClient(t, w, nil)
		go func() {
			time.Sleep(12345 * time.Millisecond) //nolint:forbidigo // virtual time
			w.end(id(1), true)
		}()
		a, took := hanging(c, path(1)+"/wait")
		if v := a.want(200, "").job(); v.Outcome != job.OutcomeCompleted || took != 12345*time.Millisecond {
			t.Errorf("got outcome %q after %s, want completed at once after 12.345 s", v.Outcome, took)
		}
		if w.read > 3 {
			t.Errorf("reads of the store: got %d, want none while the job is watched here", w.read)
		}
	})
}

// Another replica tells us nothing: the store is read again.
func TestALongPollSeesTheEndThatAnotherReplicaSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		delete(w.live, id(1))
		c := newClient(t, w, nil)
		go func() {
			time.Sleep(2500 * time.Millisecond) //nolint:forbidigo // virtual time
			w.end(id(1), false)
		}()
		a, took := hanging(c, path(1)+"/wait?timeout=1m")
		a.want(200, "")
		if took != 3*time.Second {
			t.Errorf("seen after %s, want 3 s: at the next second", took)
		}
	})
}

// A job that was here moved away while somebody waited for it.
func TestALongPollFollowsAJobToAnotherReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		c := newClient(t, w, nil)
		go func() {
			time.Sleep(2500 * time.Millisecond) //nolint:forbidigo // virtual time
			w.mu.Lock()
			delete(w.live, id(1))
			w.mu.Unlock()
			w.end(id(1), false)
		}()
		a, took := hanging(c, path(1)+"/wait?timeout=1m")
		a.want(200, "")
		if took != 3*time.Second {
			t.Errorf("seen after %s, want 3 s", took)
		}
	})
}

func TestALongPollAnswersNotYet(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"": time.Minute, "?timeout=90s": 90 * time.Second, "?timeout=0s": 0, "?timeout=24h": 5 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.put(job.Job{ID: id(1)})
			a, took := hanging(newClient(t, w, nil), path(1)+"/wait"+query)
			if a.want(204, ""); took != want || len(a.body) != 0 {
				t.Errorf("%q: 204 with %d bytes after %s, want none after %s", query, len(a.body), took, want)
			}
		})
	}
}

func TestALongPollEndsWhenTheDaemonStopsOrTheCallerGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		draining := make(chan struct{})
		c := newClient(t, w, func(o *Options) { o.Draining = draining })
		time.AfterFunc(7*time.Second, func() { close(draining) })
		a, took := hanging(c, path(1)+"/wait")
		if a.want(204, ""); took != 7*time.Second {
			t.Errorf("ended after %s, want 7 s when the daemon stops", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		c := newClient(t, w, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r := httptest.NewRequest(http.MethodGet, path(1)+"/wait", http.NoBody).WithContext(ctx)
		r.RemoteAddr, r.Host = c.peer, c.host
		began := time.Now()
		c.h.ServeHTTP(httptest.NewRecorder(), r)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("ended after %s, want 3 s when the caller goes", took)
		}
	})
}

func TestALongPollOfAJobThatIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		time.AfterFunc(4*time.Second, func() { _ = w.Untrack(t.Context(), id(1)) })
		a, took := hanging(newClient(t, w, nil), path(1)+"/wait")
		if a.want(404, codeNotFound); took != 4*time.Second {
			t.Errorf("ended after %s, want 4 s", took)
		}
	})
}

// A channel that is closed although the store does not show the end yet must
// not make us ask in a circle.
func TestALongPollDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		time.AfterFunc(time.Second/2, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, c := range w.ended[id(1)] {
				close(c)
			}
			delete(w.ended, id(1))
		})
		time.AfterFunc(3500*time.Millisecond, func() { w.end(id(1), true) })
		a, took := hanging(newClient(t, w, nil), path(1)+"/wait")
		a.want(200, "")
		if took != 4*time.Second || w.read > 10 {
			t.Errorf("seen after %s with %d reads, want 4 s and one read a second", took, w.read)
		}
	})
}

func TestALongPollOfAStoreInTroubleSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(job.Job{ID: id(1)})
		delete(w.live, id(1))
		time.AfterFunc(1500*time.Millisecond, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.fail = errors.New("disk on fire")
		})
		a, took := hanging(newClient(t, w, nil), path(1)+"/wait")
		if a.want(500, codeInternal); took != 2*time.Second {
			t.Errorf("ended after %s, want 2 s", took)
		}
	})
}

func TestBadTimeoutsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(1)})
	c := newClient(t, w, nil)
	for _, query := range []string{"timeout=60", "timeout=-1s", "timeout=soon", "timeout=1s&timeout=2s"} {
		if p := c.do("GET", path(1)+"/wait?"+query).want(422, codeInvalidField).problem(); p.Field != "timeout" {
			t.Errorf("%s: field: got %q, want timeout", query, p.Field)
		}
	}
}

func TestExplanationsSayWhyAndWho(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(job.Job{ID: id(1), NextPollAt: 77})
	w.put(rich(2))
	w.put(job.Job{ID: id(3), NextPollAt: 88, Polls: 5})
	delete(w.live, id(3))
	c := newClient(t, w, nil)
	for n, want := range map[int]job.Explanation{
		1: {State: job.Watching, NextPollAt: 77, Why: "just tracked"},
		2: {State: job.Finished, Status: job.Completed, Polls: 4, Why: "the job has ended (completed"},
		3: {State: job.Watching, NextPollAt: 88, Polls: 5, Why: "another replica"},
	} {
		var e job.Explanation
		c.do("GET", path(n)+"/explain").want(200, "").decode(&e)
		if e.ID != id(n) || e.State != want.State || e.Status != want.Status || e.NextPollAt != want.NextPollAt || e.Polls != want.Polls ||
			!strings.HasPrefix(e.Why, want.Why) || len(e.Destinations) != 2 {
			t.Errorf("job %d: got %+v, want %+v", n, e, want)
		}
	}
}
