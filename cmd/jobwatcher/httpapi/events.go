package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// maxStreams bounds how many look on at a time: each costs a connection.
	maxStreams = 100
	// eventBatch is how many notices are sent together; a job that changed twice
	// among them is read once.
	eventBatch = 100
	// heartbeat keeps proxies from taking a quiet stream for a dead one.
	heartbeat = 15 * time.Second
	// reconnect is how long a browser waits before it comes back.
	reconnect = 3 * time.Second
)

// events streams what happens to jobs on this replica, as server-sent events.
// An id is the process's name and a number; who comes back with the last id gets
// what has happened since. What cannot be told any more (too long ago, another
// life of the process, another replica) is said by the event reset: read the
// lists again. A reader who does not keep up is cut off, and comes back so.
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return notReady(fmt.Sprintf("%d streams are open already, and there may be no more", maxStreams))
	}
	after, reset := s.resume(r.Header.Get("Last-Event-ID"))
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold it back
	writeSoon(w)
	w.WriteHeader(http.StatusOK)
	first := fmt.Sprintf("retry: %d\n\n", reconnect.Milliseconds())
	if reset {
		first += s.event(after, "reset", []byte("{}"))
	}
	if push(w, first) != nil {
		return nil // the reader has gone
	}
	return s.follow(w, r, after)
}

// resume says after which notice to go on, and whether some are missing.
func (s *server) resume(id string) (after uint64, reset bool) {
	_, newest, _, _ := s.o.Watcher.Notices(0, 0) //nolint:dogsled // the number is all there is to know
	if id == "" {
		return newest, false
	}
	life, number, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || life != s.life {
		return newest, true
	}
	if _, _, gap, _ := s.o.Watcher.Notices(n, 0); gap {
		return newest, true
	}
	return n, false
}

func (s *server) follow(w http.ResponseWriter, r *http.Request, after uint64) error {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		notices, newest, gap, more := s.o.Watcher.Notices(after, eventBatch)
		var text string
		switch {
		case gap:
			after = newest
			text = s.event(after, "reset", []byte("{}"))
		case len(notices) > 0:
			after = notices[len(notices)-1].N
			var err error
			if text, err = s.tell(r.Context(), notices); err != nil {
				return err
			}
		}
		if text != "" {
			if push(w, text) != nil {
				return nil // the reader has gone, or is too slow
			}
			continue
		}
		select {
		case <-more:
		case <-beat.C:
			if push(w, ": still here\n\n") != nil {
				return nil
			}
		case <-s.o.Draining:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// tell is the text of these notices, each with the job as it is now.
func (s *server) tell(ctx context.Context, notices []job.Notice) (string, error) {
	var b strings.Builder
	seen := map[job.ID]*job.View{}
	for _, n := range notices {
		data := struct {
			Kind string      `json:"kind"`
			At   job.Instant `json:"at"`
			ID   job.ID      `json:"id"`
			Job  *job.View   `json:"job"`
		}{n.Kind, n.At, n.ID, nil}
		if n.Kind != job.KindUntracked {
			v, known := seen[n.ID]
			if !known {
				j, err := s.o.Jobs.Job(ctx, s.o.Tenant, n.ID)
				if err == nil {
					view := s.view(&j)
					view.Query = nil // it may be long, and is nobody's business here
					v = &view
				} else if !errors.Is(err, job.ErrNotFound) {
					return "", err
				}
				seen[n.ID] = v
			}
			data.Job = v
		}
		text, err := json.Marshal(data)
		if err != nil {
			return "", fmt.Errorf("encode event: %w", err)
		}
		b.WriteString(s.event(n.N, n.Kind, text))
	}
	return b.String(), nil
}

// event is one server-sent event; JSON has no line break that could end it early.
func (s *server) event(n uint64, kind string, data []byte) string {
	return fmt.Sprintf("id: %s-%d\nevent: %s\ndata: %s\n\n", s.life, n, kind, bytes.TrimSpace(data))
}

// push writes at once; a reader who does not take it within the write's time
// limit has gone.
func push(w http.ResponseWriter, text string) error {
	writeSoon(w)
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
