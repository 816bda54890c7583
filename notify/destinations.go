package notify

import (
	"slices"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"golang.org/x/time/rate"
)

// Destination is somewhere that events go. Exactly one of Webhook, Slack
// and Channel is set.
type Destination struct {
	Name string
	// On lists the events it is told about, by job.EventType.Short; empty means
	// every outcome and overdue.
	On []string
	// Match lists what a job's labels must be like, all of it.
	Match []Matcher
	// When restricts it further; nil does not.
	When *When
	// Include lists what it is told beside the ordinary: "query", "data_file".
	Include []string

	Webhook *WebhookConfig
	Slack   *SlackConfig
	Channel *ChannelConfig
}

// WebhookConfig is a generic webhook.
type WebhookConfig struct {
	URL secret.Source
	// Secrets sign; each source may hold several, one a line, while rotating.
	Secrets []secret.Source
	Headers map[string]secret.Text
	// Template makes the body instead of the CloudEvent; nil does not. ContentType
	// goes with it.
	Template    *Template
	ContentType string
	// Fields are added at the top of a templated JSON body: what a receiver wants
	// there and a template may not see, such as PagerDuty's routing_key.
	Fields map[string]secret.Source
}

// SlackConfig is a Slack incoming webhook.
type SlackConfig struct {
	URL secret.Source
	// Template makes the text of a message about one event; nil does not.
	Template *Template
}

// ChannelConfig is a service that a library speaks to, such as Telegram.
type ChannelConfig struct {
	// URL names service, credentials and address in the library's way; all of it
	// is secret.
	URL secret.Source
	// Template makes the text of a message; nil does not.
	Template *Template
}

// What a destination may include.
const (
	IncludeQuery    = "query"
	IncludeDataFile = "data_file"
)

// Includes reports whether the destination asks for more than the ordinary.
func (d *Destination) Includes(what string) bool { return slices.Contains(d.Include, what) }

// Kind is the word for what sort of destination it is.
func (d *Destination) Kind() string {
	switch {
	case d.Slack != nil:
		return "slack"
	case d.Channel != nil:
		return "channel"
	}
	return "webhook"
}

// Matcher is one condition on a job's labels.
type Matcher struct {
	Label string
	// In lists the values allowed; nil means that the label need only exist.
	In []string
	// Absent turns it round: the label must not be there.
	Absent bool
}

func (m *Matcher) matches(labels job.Labels) bool {
	value, found := labels[m.Label]
	switch {
	case m.Absent:
		return !found
	case m.In == nil:
		return found
	}
	return found && slices.Contains(m.In, value)
}

// LaneOptions is how a Sender wants its destination to be served.
type LaneOptions struct {
	// Concurrency is how many sends may be in the air; 0 means the dispatcher's.
	Concurrency int
	// Batch is how many deliveries one message may carry; 0 means 1. With more
	// than one, a single message is in the air at a time.
	Batch int
	// Limiter paces messages; nil does not. Destinations that share a URL share it.
	Limiter *rate.Limiter
}

// LaneSender is a Sender that has wishes about its lane.
type LaneSender interface {
	Sender
	Lane() LaneOptions
}

// SendTimeout is how long a receiver may take (contract section 6).
const SendTimeout = 15 * time.Second
