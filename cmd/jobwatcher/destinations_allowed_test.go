package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/notify/slack"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// A receiver inside the house is refused unless it was named, by range, by
// address or by host.
func TestOnlyAllowedPrivateDestinationsAreDialled(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(receiver.Close)
	byName := strings.Replace(receiver.URL, "127.0.0.1", "localhost", 1)
	for _, tt := range []struct {
		allowed []string
		url     string
		taken   bool
	}{
		{nil, receiver.URL, false},
		{[]string{"10.0.0.0/8", "elsewhere.internal"}, receiver.URL, false},
		{[]string{"127.0.0.0/8"}, receiver.URL, true},
		{[]string{" 127.0.0.1", ""}, receiver.URL, true},
		{[]string{"127.0.0.0/8", "::1"}, byName, true},
		{[]string{"localhost"}, byName, true},
		{[]string{"*.localhost"}, byName, false},
	} {
		c := defaultConfig()
		c.Daemon.AllowedDestinations = tt.allowed
		sender, err := senders(&c, &slack.Pacer{})(notify.Destination{
			Name: "house", Webhook: &notify.WebhookConfig{URL: secret.Fixed(secret.New(tt.url))},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = sender.Send(t.Context(), []job.Outgoing{notifytest.Sample(job.EventCompleted)})
		if taken := err == nil; taken != tt.taken {
			t.Errorf("allowed %q, sent to %s: %v, want taken: %v", tt.allowed, tt.url, err, tt.taken)
		}
	}
}
