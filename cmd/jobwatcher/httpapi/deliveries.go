package httpapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"go.uber.org/zap"
)

func (s *server) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "state", "destination", "job", "since", "limit", "cursor")
	if err != nil {
		return err
	}
	filter, err := s.deliveryFilter(q)
	if err != nil {
		return err
	}
	deliveries, next, err := s.o.Ledger.Deliveries(r.Context(), filter)
	if err != nil {
		return err
	}
	list := struct {
		Deliveries []job.DeliveryView `json:"deliveries"`
		Next       string             `json:"next_cursor"`
	}{make([]job.DeliveryView, len(deliveries)), next}
	for i := range deliveries {
		list.Deliveries[i] = deliveries[i].View()
	}
	return answer(w, http.StatusOK, &list)
}

func (s *server) deliveryFilter(q url.Values) (f job.DeliveryFilter, err error) {
	if f.States, err = words(q, "state", job.DeliveryStates()); err != nil {
		return f, err
	}
	texts := map[string]string{}
	for _, name := range []string{"destination", "job", "since"} {
		if texts[name], err = single(q, name); err != nil {
			return f, err
		}
	}
	if err := s.narrow(&f, texts["destination"], texts["job"], texts["since"]); err != nil {
		return f, err
	}
	f.Limit, f.Cursor, err = page(q)
	return f, err
}

// narrow fills in what lists and replays are filtered by. A name that no
// destination has now is allowed: its deliveries are still in the ledger.
func (s *server) narrow(f *job.DeliveryFilter, destination, id, from string) (err error) {
	if destination != "" {
		if err := job.ValidateName("destination", job.Cut(destination, maxQuoted)); err != nil {
			return err
		}
		f.Destination = destination
	}
	if id != "" {
		if f.Job, err = job.ParseID(id); err != nil {
			return invalid("job", id, "a 36-character UUID")
		}
	}
	f.Since, err = since("since", from, s.o.Now())
	return err
}

// deliveryID reads the id out of the path. There is no syntax to be held to;
// what is longer than any id is simply not there.
func deliveryID(r *http.Request) (string, error) {
	const longest = 64 // job.DeliveryID makes 30
	id := r.PathValue("id")
	if len(id) > longest {
		return "", job.ErrNotFound
	}
	return id, nil
}

func (s *server) showDelivery(w http.ResponseWriter, r *http.Request) error {
	id, err := deliveryID(r)
	if err != nil {
		return err
	}
	if _, err := params(r); err != nil {
		return err
	}
	d, err := s.o.Ledger.Delivery(r.Context(), id)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, d.View())
}

// replayed is how many deliveries will be sent again.
type replayed struct {
	Replayed int `json:"replayed"`
}

// replay sends one delivery again, under the same ids, delivered or not. One
// that is being sent at this moment is left to that.
func (s *server) replay(w http.ResponseWriter, r *http.Request) error {
	id, err := deliveryID(r)
	if err != nil {
		return err
	}
	if _, err := params(r); err != nil {
		return err
	}
	if err := noBody(w, r); err != nil {
		return err
	}
	d, err := s.o.Ledger.Delivery(r.Context(), id)
	if err != nil {
		return err
	}
	n, err := s.o.Ledger.Replay(r.Context(), []string{id})
	if err != nil {
		return err
	}
	s.o.Dispatcher.Wake(d.Destination)
	s.audit(r, "delivery replayed", zap.String("delivery_id", d.ID), zap.String("destination", d.Destination))
	return answer(w, http.StatusAccepted, replayed{n})
}

// replayWhere sends again what a filter picks. A state or a time must be named:
// without either, everything that ever was delivered would be delivered again.
func (s *server) replayWhere(w http.ResponseWriter, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	b, err := body(w, r)
	if err != nil {
		return err
	}
	filter, err := s.replayFilter(b)
	if err != nil {
		return err
	}
	n, err := s.o.Ledger.ReplayWhere(r.Context(), filter)
	if err != nil {
		return err
	}
	if filter.Destination != "" {
		s.o.Dispatcher.Wake(filter.Destination)
	} else {
		s.o.Dispatcher.Wake()
	}
	s.audit(r, strconv.Itoa(n)+" deliveries replayed", zap.String("state", list(filter.States)), zap.String("destination", filter.Destination))
	return answer(w, http.StatusAccepted, replayed{n})
}

func (s *server) replayFilter(b []byte) (f job.DeliveryFilter, err error) {
	if b == nil {
		return f, malformed("the body is empty")
	}
	members, err := object(b, "body", "state", "destination", "job", "since")
	if err != nil {
		return f, err
	}
	texts := map[string]string{}
	for name := range members {
		var text string
		if err := member(members, name, "a text", &text); err != nil {
			return f, err
		}
		texts[name] = text
	}
	// What is being sent cannot be sent again.
	replayable := []job.DeliveryState{job.DeliveryPending, job.DeliveryDelivered, job.DeliveryHeld, job.DeliveryExhausted}
	if f.States, err = words(url.Values{"state": {texts["state"]}}, "state", replayable); err != nil {
		return f, err
	}
	if len(f.States) == 0 && texts["since"] == "" {
		return f, invalid("state", texts["state"], "one of "+list(replayable)+"; or give since, for everything from then on")
	}
	return f, s.narrow(&f, texts["destination"], texts["job"], texts["since"])
}
