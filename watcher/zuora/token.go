package zuora

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// early is how long before its end a token is renewed, as Zuora's own sample
// does (zuora-facts.md section 5); a short-lived one at half its life.
const early = 5 * time.Minute

// tokens hands out the bearer token: cached, renewed early, fetched once
// however many wait.
type tokens struct {
	static secret.Source // a ready token, never refreshed
	id     string
	secret secret.Source
	url    string
	entity string
	client *http.Client // sends the token request
	now    func() time.Time

	flight singleflight.Group
	mu     sync.Mutex
	token  string
	renew  time.Time
}

// get returns the token in force, fetching one when there is none.
func (t *tokens) get(ctx context.Context) (string, error) {
	if !t.static.Empty() {
		text, err := t.static.Get()
		if err != nil {
			return "", &Error{Reason: job.ReasonAuth, TenantWide: true, Err: err}
		}
		return text.Reveal(), nil
	}
	if token, ok := t.cached(); ok {
		return token, nil
	}
	// The fetch belongs to all who wait: one of them giving up must not end it.
	fetched := t.flight.DoChan("token", func() (any, error) {
		if token, ok := t.cached(); ok {
			return token, nil
		}
		return t.fetch(context.WithoutCancel(ctx))
	})
	select {
	case r := <-fetched:
		if r.Err != nil {
			return "", r.Err
		}
		token, _ := r.Val.(string)
		return token, nil
	case <-ctx.Done():
		return "", transportError(ctx.Err())
	}
}

func (t *tokens) cached() (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.token, t.token != "" && t.now().Before(t.renew)
}

// refused drops a token that was answered with 401, if it is still the cached
// one; it reports whether asking again makes sense.
func (t *tokens) refused(token string) bool {
	if !t.static.Empty() {
		text, err := t.static.Get()
		return err == nil && text.Reveal() != token // rotated meanwhile
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token {
		t.token = ""
	}
	return true
}

func (t *tokens) fetch(ctx context.Context) (string, error) {
	text, err := t.secret.Get()
	if err != nil {
		return "", &Error{Reason: job.ReasonAuth, TenantWide: true, Err: err}
	}
	config := clientcredentials.Config{
		ClientID: t.id, ClientSecret: text.Reveal(), TokenURL: t.url,
		AuthStyle: oauth2.AuthStyleInParams, EndpointParams: url.Values{},
	}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client))
	if err != nil {
		return "", tokenError(err, t.now())
	}
	if token.AccessToken == "" {
		return "", &Error{Reason: job.ReasonMalformed, TenantWide: true, Err: errors.New("the token answer has no token")}
	}
	now := t.now()
	life := time.Hour
	if !token.Expiry.IsZero() {
		life = token.Expiry.Sub(now)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token, t.renew = token.AccessToken, now.Add(life-min(early, life/2))
	return t.token, nil
}

// tokenError translates the library's error, which may repeat the answer.
func tokenError(err error, now time.Time) *Error {
	var answered *oauth2.RetrieveError
	if !errors.As(err, &answered) || answered.Response == nil {
		var own *Error
		if errors.As(err, &own) {
			return own
		}
		e := transportError(err)
		e.Err = fmt.Errorf("fetch token: %w", e.Err)
		e.TenantWide = true
		return e
	}
	status := answered.Response.StatusCode
	e := statusError(status, answered.Response.Header, answered.Body, now)
	e.TenantWide = true
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		e.Reason = job.ReasonAuth
	}
	e.Message, e.Err = "", errors.New("the token endpoint refused") // its body is not documented
	return e
}
