package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// maxReceived bounds what a demo receiver reads of one request.
const maxReceived = 1 << 20

// announcement is one message that a demo receiver got.
type announcement struct {
	at       time.Time
	receiver string // "webhook" or "slack"
	eventID  string
	event    job.EventType
	job      job.View // webhook only
	text     string   // slack only: the line that notifications show
	body     string   // slack only: all of it
	fault    string   // why the message was refused; "" when it was taken
}

// receivers plays the two destinations of the demo. One verifies signatures
// with the official Standard Webhooks library, as a user's program would; the
// other answers as Slack does.
type receivers struct {
	verifier *standardwebhooks.Webhook
	announce func(announcement)

	mu  sync.Mutex
	all []announcement
}

func newReceivers(webhookSecret string, announce func(announcement)) (*receivers, error) {
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	if err != nil {
		return nil, err
	}
	return &receivers{verifier: verifier, announce: announce}, nil
}

// ServeHTTP answers /webhook and /slack.
func (r *receivers) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceived))
	if err != nil {
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		return
	}
	var a announcement
	switch req.URL.Path {
	case "/webhook":
		a = r.webhook(req.Header, body)
	case "/slack":
		a = slackMessage(body)
	default:
		http.NotFound(w, req)
		return
	}
	a.at = time.Now()
	r.mu.Lock()
	r.all = append(r.all, a)
	r.mu.Unlock()
	r.announce(a)
	if a.fault != "" {
		http.Error(w, a.fault, http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, "ok")
}

// webhook checks the signature and reads the event.
func (r *receivers) webhook(h http.Header, body []byte) announcement {
	a := announcement{receiver: "webhook"}
	if err := r.verifier.Verify(body, h); err != nil {
		a.fault = "bad signature: " + err.Error()
		return a
	}
	var event struct {
		ID   string        `json:"id"`
		Type job.EventType `json:"type"`
		Data struct {
			Job job.View `json:"job"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		a.fault = "bad body: " + err.Error()
		return a
	}
	a.eventID, a.event, a.job = event.ID, event.Type, event.Data.Job
	if h.Get(standardwebhooks.HeaderWebhookID) != event.ID {
		a.fault = "the header webhook-id is not the event's id"
	}
	return a
}

// slackMessage reads a message as an incoming webhook takes it.
func slackMessage(body []byte) announcement {
	a := announcement{receiver: "slack"}
	var message struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(body, &message); err != nil {
		a.fault = "invalid_payload"
	} else if strings.TrimSpace(message.Text) == "" {
		a.fault = "no_text"
	}
	a.text, a.body = message.Text, string(body)
	return a
}

// told counts the messages that a receiver took about a job's end.
func (r *receivers) told(receiver string, id job.ID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	var ended time.Time
	for i := range r.all {
		a := &r.all[i]
		if a.receiver == "webhook" && a.fault == "" && a.job.ID == id && a.event != job.EventOverdue {
			ended = a.job.FinishedAt.Time()
			n++
		}
	}
	if receiver == "webhook" || ended.IsZero() {
		return n
	}
	// A message to Slack may be about several events; one that came before the
	// end was about a deadline that passed.
	n = 0
	for i := range r.all {
		a := &r.all[i]
		if a.receiver == "slack" && a.fault == "" && !a.at.Before(ended) && strings.Contains(a.body, id.String()) {
			n++
		}
	}
	return n
}
