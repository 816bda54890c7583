package verify

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// maxReceived bounds what a receiver reads of one request.
const maxReceived = 1 << 20

// Reception is one message as a receiver saw it.
type Reception struct {
	At          time.Time
	Destination string
	// Taken: the receiver said 2xx, and meant it.
	Taken bool
	// Fault is what is wrong with the message itself; "" when nothing is.
	Fault string
	// Of a webhook: what the body says.
	EventID string
	Type    job.EventType
	Subject string
	Time    time.Time
	Job     job.View
	// Body is all of it.
	Body string
}

// receiver is one destination. It misbehaves while a mode is set, and on until
// one message has met it: a fault that meets nobody tests nothing. It never
// does so twice with the same message: the second retry comes after a minute
// only.
type receiver struct {
	name     string
	chat     bool
	verifier *standardwebhooks.Webhook
	stop     <-chan struct{}

	mu       sync.Mutex
	mode     Kind
	met      bool            // a message met the mode
	over     bool            // the mode ends as soon as one has
	troubled map[string]bool // messages that met a mode
	all      []Reception
}

func (r *receiver) misbehave(k Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode, r.met, r.over = k, false, false
}

func (r *receiver) behave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over = true; r.met {
		r.mode = ""
	}
}

func (r *receiver) receptions() []Reception {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Reception(nil), r.all...)
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceived))
	if err != nil {
		return // the sender was killed, or gave up
	}
	got := r.read(req.Header, body)
	mode := r.modeFor(&got, string(body))
	got.Taken = mode == "" && got.Fault == ""
	r.mu.Lock()
	r.all = append(r.all, got)
	r.mu.Unlock()
	r.answer(w, req, mode, got.Fault)
}

// modeFor is how to treat this message.
func (r *receiver) modeFor(got *Reception, body string) Kind {
	key := got.EventID
	if r.chat {
		key = body
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mode == "" || r.troubled[key] {
		return ""
	}
	r.troubled[key], r.met = true, true
	mode := r.mode
	if r.over {
		r.mode = ""
	}
	return mode
}

func (r *receiver) answer(w http.ResponseWriter, req *http.Request, mode Kind, fault string) {
	switch mode {
	case Refusing:
		http.Error(w, "internal error", http.StatusInternalServerError)
	case Lying:
		panic(http.ErrAbortHandler) // it has it, and says nothing
	case Hanging:
		select {
		case <-req.Context().Done():
		case <-r.stop:
		}
		panic(http.ErrAbortHandler)
	case Pressed:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "slow down", http.StatusTooManyRequests)
	case Gone:
		http.Error(w, "gone", http.StatusGone)
	case Turning:
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
	default:
		if fault != "" {
			http.Error(w, fault, http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}
}

// read checks the message as its receiver would.
func (r *receiver) read(h http.Header, body []byte) Reception {
	got := Reception{At: time.Now(), Destination: r.name, Body: string(body)}
	if r.chat {
		var message struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(body, &message); err != nil || message.Text == "" {
			got.Fault = "not a Slack message"
		}
		return got
	}
	var event struct {
		SpecVersion string        `json:"specversion"`
		ID          string        `json:"id"`
		Type        job.EventType `json:"type"`
		Subject     string        `json:"subject"`
		Time        time.Time     `json:"time"`
		Data        struct {
			Job job.View `json:"job"`
		} `json:"data"`
	}
	err := json.Unmarshal(body, &event)
	got.EventID, got.Type, got.Subject, got.Time, got.Job = h.Get(standardwebhooks.HeaderWebhookID), event.Type, event.Subject, event.Time, event.Data.Job
	switch {
	case err != nil:
		got.Fault = "not a CloudEvent: " + err.Error()
	case event.SpecVersion != "1.0" || event.ID != got.EventID:
		got.Fault = "the header webhook-id is not the event's id"
	default:
		if err := r.verifier.Verify(body, h); err != nil {
			got.Fault = "the signature does not hold: " + err.Error()
		}
	}
	return got
}
