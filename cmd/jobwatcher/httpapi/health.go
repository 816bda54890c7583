package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// beatLimit is how long the watcher's loop may stand still. It turns at
	// least every few seconds, whether there is something to do or not.
	beatLimit = 30 * time.Second
	// pingTimeout is below what `jobwatcher healthcheck` and probes wait.
	pingTimeout = 1500 * time.Millisecond
)

// check is one thing that was looked at.
type check struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// livez says that the scheduler still turns, and nothing else: a daemon whose
// store or upstream is away must not be restarted for it. /healthz is the same.
func (s *server) livez(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "verbose")
	if err != nil {
		return err
	}
	still := s.o.Now().Sub(s.o.Pulse.Beat())
	loop := check{OK: still < beatLimit}
	if !loop.OK {
		loop.Detail = fmt.Sprintf("the loop has not turned for %s", still.Round(time.Second))
	}
	return health(w, r, q, map[string]check{"loop": loop}, loop.Detail)
}

// readyz says that calls make sense: the store answers and the daemon is not
// stopping. That the schema is right is made sure when the store is opened.
// The upstream is told of and decides nothing: we are there to outwait it.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "verbose")
	if err != nil {
		return err
	}
	checks, why := map[string]check{"store": {OK: true}, "draining": {OK: true}}, ""
	ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
	defer cancel()
	if s.o.Jobs.Ping(ctx) != nil {
		why = "the store does not answer"
		checks["store"] = check{Detail: why}
	}
	select {
	case <-s.o.Draining:
		why = "the daemon is stopping"
		checks["draining"] = check{Detail: why}
	default:
	}
	checks["upstream"] = upstream(s.o.Pulse.Health())
	return health(w, r, q, checks, why)
}

func upstream(h job.UpstreamHealth) check {
	if h.Reachable {
		return check{OK: true}
	}
	detail := "not reached yet"
	if h.Reason != job.NoReason {
		detail = "not reachable: " + string(h.Reason)
	}
	if !h.Since.IsZero() {
		detail += " since " + h.Since.String()
	}
	return check{Detail: detail}
}

// health answers "ok" in plain text, the checks in JSON to whoever asks for
// them (?verbose, or Accept: application/json), and a problem when why is given.
func health(w http.ResponseWriter, r *http.Request, q url.Values, checks map[string]check, why string) error {
	if why != "" {
		p := notReady(why)
		p.Checks = checks
		return p
	}
	if q.Has("verbose") || strings.Contains(r.Header.Get("Accept"), "application/json") {
		return answer(w, http.StatusOK, struct {
			Status string           `json:"status"`
			Checks map[string]check `json:"checks"`
		}{"ok", checks})
	}
	writeSoon(w)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // the caller has gone if this fails
	return nil
}
