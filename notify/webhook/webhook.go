package webhook

import (
	"context"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// ContentType is a CloudEvent's in structured JSON mode.
const ContentType = "application/cloudevents+json"

// Sender sends to one generic webhook.
type Sender struct {
	client  *outbound.Client
	url     secret.Source
	secrets []secret.Source
	headers map[string]secret.Text
	extras  Extras
	dest    notify.Destination
}

var _ notify.Sender = (*Sender)(nil)

// reserved are the headers that a destination may not set itself: they belong
// to the protocol, or to the connection.
var reserved = []string{
	"Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection", "Host", "Trailer",
	"Upgrade", "Te", "Expect", "User-Agent", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature",
}

// New makes a sender of a webhook destination. What is kept in files is read
// when it is used; [Sender.Check] reads it without sending.
func New(d notify.Destination, client *outbound.Client) (*Sender, error) {
	c := d.Webhook
	if c == nil {
		return nil, fmt.Errorf("destination %s: it is no webhook", d.Name)
	}
	s := &Sender{
		dest: d, client: client, url: c.URL, secrets: c.Secrets, headers: map[string]secret.Text{},
		extras: Extras{Query: d.Includes(notify.IncludeQuery), DataFile: d.Includes(notify.IncludeDataFile)},
	}
	for name, value := range c.Headers {
		if err := checkHeader(name, value); err != nil {
			return nil, fmt.Errorf("destination %s: %w", d.Name, err)
		}
		s.headers[textproto.CanonicalMIMEHeaderKey(name)] = value
	}
	// What was given directly is checked now, even while a file is not there yet.
	if c.URL.Path() == "" {
		if err := checkURL(c.URL); err != nil {
			return nil, fmt.Errorf("destination %s: %w", d.Name, err)
		}
	}
	given := slices.DeleteFunc(slices.Clone(c.Secrets), func(one secret.Source) bool { return one.Path() != "" })
	if _, err := newSigner(given); err != nil {
		return nil, fmt.Errorf("destination %s: %w", d.Name, err)
	}
	return s, nil
}

// checkHeader refuses what the HTTP library would refuse at every attempt.
func checkHeader(name string, value secret.Text) error {
	const allowed = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" // RFC 9110, 5.6.2
	if name == "" || strings.Trim(name, allowed) != "" {
		return fmt.Errorf("header %q is not a name", job.Cut(name, 80))
	}
	if slices.Contains(reserved, textproto.CanonicalMIMEHeaderKey(name)) {
		return fmt.Errorf("header %q is set by jobwatcher itself", name)
	}
	if strings.ContainsFunc(value.Reveal(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("header %q: its value holds control characters", name)
	}
	return nil
}

// Check reads URL and secrets as a send would and says what is wrong with them.
func (s *Sender) Check() error {
	if err := checkURL(s.url); err != nil {
		return err
	}
	_, err := newSigner(s.secrets)
	return err
}

func checkURL(source secret.Source) error {
	text, err := source.Get()
	if err != nil {
		return err
	}
	_, err = outbound.ParseURL(text)
	return err
}

// Send implements [notify.Sender]. A webhook takes one event at a time.
func (s *Sender) Send(ctx context.Context, batch []job.Outgoing) (notify.Answer, error) {
	if len(batch) != 1 {
		return notify.Answer{}, fault(fmt.Errorf("a webhook takes one event at a time, not %d", len(batch)))
	}
	request, key, note, err := s.request(batch[0], time.Now())
	if err != nil {
		return notify.Answer{}, fault(err)
	}
	got, err := s.client.Post(ctx, request)
	answer := notify.Answer{Code: got.Code, Head: got.Head, Key: key, Note: note}
	if err != nil {
		return answer, &notify.SendError{Reason: notify.ClassifyError(err), Err: err}
	}
	if reason, wait := notify.ClassifyStatus(got.Code, got.Header, time.Now()); reason != job.NoReason {
		return answer, &notify.SendError{Reason: reason, RetryAfter: wait, Err: fmt.Errorf("the receiver answered %d", got.Code)}
	}
	return answer, nil
}

// request builds the POST with everything read anew, and says which secrets
// sign; note says that the template failed.
func (s *Sender) request(out job.Outgoing, at time.Time) (r outbound.Request, key, note string, err error) {
	target, err := s.url.Get()
	if err != nil {
		return outbound.Request{}, "", "", fmt.Errorf("read URL: %w", err)
	}
	if _, err := outbound.ParseURL(target); err != nil {
		return outbound.Request{}, "", "", err
	}
	signing, err := newSigner(s.secrets)
	if err != nil {
		return outbound.Request{}, "", "", err
	}
	extras := s.extras
	extras.Late = notify.Late(out.Event.CreatedAt, at)
	body, contentType, fields, note, err := s.body(out, extras, at)
	if err != nil {
		return outbound.Request{}, "", "", err
	}
	h := http.Header{}
	known := append(signing.known(), fields...)
	for name, value := range s.headers {
		h.Set(name, value.Reveal())
		// "Bearer abc" is as secret without its first word.
		known = append(append(known, value.Reveal()), strings.Fields(value.Reveal())...)
	}
	h.Set("Content-Type", contentType)
	if err := signing.sign(h, out.Event.ID, at, body); err != nil {
		return outbound.Request{}, "", "", err
	}
	known = append(known, strings.Fields(h.Get("Webhook-Signature"))...)
	if s.extras.Query {
		known = append(known, out.Query)
	}
	if s.extras.DataFile {
		known = append(known, out.DataFile.Reveal())
	}
	return outbound.Request{URL: target, Header: h, Body: body, Secrets: long(known)}, signing.key(), note, nil
}

// long leaves out what is too short to be a secret: blanking "on" or "v1" would
// spoil honest answers.
func long(texts []string) []string {
	const shortest = 6
	return slices.DeleteFunc(texts, func(s string) bool { return len(s) < shortest })
}

// fault is an error of ours: nothing was sent.
func fault(err error) error {
	return &notify.SendError{Reason: job.ReasonInternal, Err: err}
}
