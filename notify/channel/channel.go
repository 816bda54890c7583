package channel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// plain is what is said unless the destination has a template.
const plain = `{{if eq .Event "group_finished"}}Group {{.Group.Name}} has finished: {{.Group.Jobs}} jobs, {{.Group.Failed}} of them not completed
{{- else if eq .Event "delivery_exhausted"}}Delivery {{.Delivery.ID}} to {{.Delivery.Destination}} was given up: {{.Delivery.Why}}
{{- else if eq .Event "test"}}Test message: somebody tests this destination, nothing has happened to any job
{{- else}}Zuora job {{.Subject}} {{if eq .Event "overdue_expected"}}will likely be overdue{{else}}{{if eq .Event "overdue"}}is {{end}}{{.Event}}{{with .Job.Took}} after {{.}}{{end}}{{end}}{{with .Job.Rows}}, {{.}} rows{{end}}{{range .Job.Anomaly}} ({{.}}){{end}}
{{- range $key, $value := .Job.Labels}}
{{$key}}: {{$value}}{{end}}{{with .Job.Error}}
{{cut 1500 .}}{{end}}{{with .Job.Query}}
{{cut 500 .}}{{end}}{{with .Job.DataFile}}
{{.}}{{end}}{{end}}
{{- if .LateSeconds}}
(sent {{.LateSeconds}} s late: it could not be delivered before){{end}}`

// Sender sends one message for each event to one service. It is safe for
// concurrent use.
type Sender struct {
	dest   notify.Destination
	client *outbound.Client
	url    secret.Source
	plain  *notify.Template
}

// New makes a sender of a channel destination. A URL in a file is read when it
// is used.
func New(d notify.Destination, client *outbound.Client) (*Sender, error) {
	if d.Channel == nil {
		return nil, fmt.Errorf("destination %s: it is no channel", d.Name)
	}
	t, err := notify.ParseTemplate(plain, false)
	if err != nil {
		return nil, fmt.Errorf("destination %s: our own text: %w", d.Name, err)
	}
	s := &Sender{dest: d, client: client, url: d.Channel.URL, plain: t}
	if s.url.Path() == "" {
		text, err := s.url.Get()
		if err == nil {
			err = Check(text)
		}
		if err != nil {
			return nil, fmt.Errorf("destination %s: %w", d.Name, err)
		}
	}
	return s, nil
}

// Send implements [notify.Sender]. The library takes no context: what has not
// come back when ctx ends is given up and counts as a time-out, and may still
// arrive, as with any receiver whose answer is late.
func (s *Sender) Send(ctx context.Context, batch []job.Outgoing) (notify.Answer, error) {
	if len(batch) != 1 {
		return notify.Answer{}, internal(fmt.Errorf("%d events for one message", len(batch)))
	}
	text, note, err := s.text(&batch[0])
	if err != nil {
		return notify.Answer{}, internal(err)
	}
	answer := notify.Answer{Note: note}
	target, err := s.url.Get()
	if err != nil {
		return answer, internal(fmt.Errorf("read URL: %w", err))
	}
	service, u, err := open(target)
	if err != nil {
		return answer, internal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, notify.SendTimeout)
	defer cancel()
	scheme, _, _ := strings.Cut(u.Scheme, "+")
	if services[scheme] && u.Hostname() != "" {
		if err := s.client.Allowed(ctx, u.Hostname()); err != nil {
			err = outbound.Clean(ctx, err, parts(u))
			return answer, &notify.SendError{Reason: notify.ClassifyError(err), Err: err}
		}
	}
	if err := send(ctx, service, text); err != nil {
		known := append(parts(u), batch[0].Query, batch[0].DataFile.Reveal())
		reason := reasonOf(err)
		return answer, &notify.SendError{Reason: reason, Err: fmt.Errorf("%s: %w", scheme, outbound.Clean(ctx, err, known))}
	}
	answer.Head = "sent by " + scheme
	return answer, nil
}

// text is what is said, and a note when the destination's template failed.
func (s *Sender) text(out *job.Outgoing) (text, note string, err error) {
	data := s.dest.Data(out, time.Now())
	if s.dest.Includes(notify.IncludeDataFile) {
		data.Job.DataFile = out.DataFile.Reveal()
	}
	if own := s.dest.Channel.Template; own != nil {
		if text, err = own.Execute(data); err == nil {
			return strings.TrimSpace(text), "", nil
		}
		note = "the template failed and the plain form is sent: " + own.Fault(err, &data)
	}
	text, err = s.plain.Execute(data)
	return text, note, err
}

// send waits for the library no longer than ctx.
func send(ctx context.Context, service types.Service, text string) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("panic: %v", r)
			}
		}()
		done <- service.Send(text, &types.Params{})
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reasonOf tells a receiver that cannot be reached from one that says no; the
// library's errors have no more.
func reasonOf(err error) job.Reason {
	reason := notify.ClassifyError(err)
	var network interface{ Timeout() bool }
	if reason == job.ReasonNetwork && !errors.As(err, &network) {
		return job.ReasonRejected
	}
	return reason
}

// internal is an error of ours: nothing was sent.
func internal(err error) error { return &notify.SendError{Reason: job.ReasonInternal, Err: err} }
