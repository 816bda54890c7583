package httpapi

import (
	"context"
	"net/http"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"go.uber.org/zap"
)

func (s *server) listDestinations(w http.ResponseWriter, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	all, err := s.o.Dispatcher.Views(r.Context())
	if err != nil {
		return err
	}
	if all == nil {
		all = []job.DestinationView{}
	}
	return answer(w, http.StatusOK, struct {
		Destinations []job.DestinationView `json:"destinations"`
	}{all})
}

// budget shows each rate-limit window of the tenant.
func (s *server) budget(w http.ResponseWriter, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	return answer(w, http.StatusOK, s.o.Watcher.Budget())
}

// testDestination sends a test event at once and says what became of it. A
// destination that refuses it is an answer, not a fault of the call.
func (s *server) testDestination(w http.ResponseWriter, r *http.Request) error {
	name, err := destinationIn(w, r)
	if err != nil {
		return err
	}
	attempt, err := s.o.Dispatcher.Test(r.Context(), name)
	if err != nil {
		return err
	}
	s.audit(r, "destination tested", zap.String("destination", name), zap.String("reason", string(attempt.Reason)))
	return answer(w, http.StatusOK, struct {
		Destination string `json:"destination"`
		Delivered   bool   `json:"delivered"`
		job.AttemptView
	}{name, attempt.Reason == job.NoReason, attempt.View()})
}

func (s *server) pauseDestination(w http.ResponseWriter, r *http.Request) error {
	return s.hold(w, r, true, "destination paused", s.o.Dispatcher.Pause)
}

func (s *server) resumeDestination(w http.ResponseWriter, r *http.Request) error {
	return s.hold(w, r, false, "destination resumed", s.o.Dispatcher.Resume)
}

func (s *server) hold(w http.ResponseWriter, r *http.Request, paused bool, what string, act func(context.Context, string) error) error {
	name, err := destinationIn(w, r)
	if err != nil {
		return err
	}
	if err := act(r.Context(), name); err != nil {
		return err
	}
	s.audit(r, what, zap.String("destination", name))
	return answer(w, http.StatusOK, struct {
		Destination string `json:"destination"`
		Paused      bool   `json:"paused"`
	}{name, paused})
}

// destinationIn reads the name out of the path of a call that takes nothing
// else. One that cannot be a name is not there.
func destinationIn(w http.ResponseWriter, r *http.Request) (string, error) {
	name := r.PathValue("name")
	if job.ValidateName("name", name) != nil {
		return "", job.ErrNotFound
	}
	if _, err := params(r); err != nil {
		return "", err
	}
	return name, noBody(w, r)
}
