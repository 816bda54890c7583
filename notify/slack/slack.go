package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"golang.org/x/time/rate"
)

// batch is how many events one message may carry: about as many as a digest
// can name with labels and durations.
const batch = 100

// maxPage keeps the page's link from crowding out what it links to.
const maxPage = 500

// Options is what all Slack destinations share.
type Options struct {
	Client *outbound.Client
	// Pacer is shared by destinations that may share a URL; nil makes one for
	// this destination alone.
	Pacer *Pacer
	// PageURL is where people find the page; "" means nowhere.
	PageURL string
}

// Sender sends to one incoming webhook.
type Sender struct {
	client   *outbound.Client
	url      secret.Source
	limiter  *rate.Limiter
	renderer renderer
	dest     notify.Destination
}

var _ notify.LaneSender = (*Sender)(nil)

// New makes a sender of a Slack destination. A URL in a file is read when it is
// used; [Sender.Check] reads it without sending.
func New(d notify.Destination, o Options) (*Sender, error) {
	if d.Slack == nil {
		return nil, fmt.Errorf("destination %s: it is no Slack webhook", d.Name)
	}
	s := &Sender{dest: d, client: o.Client, url: d.Slack.URL, renderer: renderer{
		query: d.Includes(notify.IncludeQuery), dataFile: d.Includes(notify.IncludeDataFile),
	}}
	if s.url.Path() == "" {
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("destination %s: %w", d.Name, err)
		}
	}
	if o.PageURL != "" {
		page, err := outbound.ParseURL(secret.New(o.PageURL))
		switch {
		case err != nil:
			return nil, fmt.Errorf("address of the page: %w", err)
		case len(page.String()) > maxPage:
			return nil, fmt.Errorf("address of the page: it is longer than %d bytes", maxPage)
		}
		s.renderer.page = withoutUser(page)
	}
	if o.Pacer == nil {
		o.Pacer = &Pacer{}
	}
	s.limiter = o.Pacer.limiter(s.url)
	return s, nil
}

// withoutUser: a link in a channel must not carry credentials.
func withoutUser(u *url.URL) *url.URL {
	u.User = nil
	return u
}

// Check reads the URL as a send would and says what is wrong with it.
func (s *Sender) Check() error {
	text, err := s.url.Get()
	if err != nil {
		return err
	}
	_, err = outbound.ParseURL(text)
	return err
}

// Lane implements [notify.LaneSender]: one message at a time, one a second, and
// digests of what has piled up meanwhile.
func (s *Sender) Lane() notify.LaneOptions {
	return notify.LaneOptions{Concurrency: 1, Batch: batch, Limiter: s.limiter}
}

// Send implements [notify.Sender].
func (s *Sender) Send(ctx context.Context, batch []job.Outgoing) (notify.Answer, error) {
	if len(batch) == 0 {
		return notify.Answer{}, fault(errors.New("there is no event to send"))
	}
	m, note := s.message(batch, time.Now())
	answer, v, err := s.post(ctx, m, batch)
	answer.Note = note
	if err == nil && v.reason == job.ReasonRejected && strings.HasPrefix(v.word, "invalid_blocks") {
		// Slack's rules for blocks change; better a plain message than none.
		if err := s.limiter.Wait(ctx); err != nil {
			return answer, &notify.SendError{Reason: job.ReasonRejected, Err: fmt.Errorf("the blocks were refused, and there was no time for plain text: %w", err)}
		}
		m.Blocks = nil
		answer, v, err = s.post(ctx, m, batch)
		answer.Note = note
	}
	switch {
	case err != nil:
		return answer, err
	case v.reason == job.NoReason:
		return answer, nil
	case v.word != "":
		err = fmt.Errorf("the receiver answered %d: %s", answer.Code, v.word)
	default:
		err = fmt.Errorf("the receiver answered %d", answer.Code)
	}
	return answer, &notify.SendError{Reason: v.reason, RetryAfter: v.wait, Err: err}
}

// post sends one message; the error is a *notify.SendError: there was no answer.
func (s *Sender) post(ctx context.Context, m *message, batch []job.Outgoing) (notify.Answer, verdict, error) {
	body, err := encode(m)
	if err != nil {
		return notify.Answer{}, verdict{}, fault(fmt.Errorf("encode message: %w", err))
	}
	target, err := s.url.Get()
	if err != nil {
		return notify.Answer{}, verdict{}, fault(fmt.Errorf("read URL: %w", err))
	}
	if _, err := outbound.ParseURL(target); err != nil {
		return notify.Answer{}, verdict{}, fault(err)
	}
	got, err := s.client.Post(ctx, outbound.Request{
		URL: target, Body: body, Secrets: s.known(batch),
		Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
	})
	answer := notify.Answer{Code: got.Code, Head: got.Head}
	if err != nil {
		return answer, verdict{}, &notify.SendError{Reason: notify.ClassifyError(err), Err: err}
	}
	return answer, judge(got, time.Now()), nil
}

// known lists what must not come back in an answer.
func (s *Sender) known(batch []job.Outgoing) []string {
	var known []string
	for i := range batch {
		if s.renderer.query {
			known = append(known, batch[i].Query)
		}
		if s.renderer.dataFile {
			known = append(known, batch[i].DataFile.Reveal())
		}
	}
	return known
}

// fault is an error of ours: nothing was sent.
func fault(err error) error {
	return &notify.SendError{Reason: job.ReasonInternal, Err: err}
}
