package notifytest

import (
	"encoding/json"
	"errors"
	"fmt"

	svix "github.com/svix/svix-webhooks/go"
)

// CheckWebhook says what is wrong with a webhook as it came in: the signature
// by Svix's verifier for each of the secrets (none: it must be unsigned), the
// headers, and the body's agreement with them.
func CheckWebhook(got Received, secrets ...string) error {
	if ct := got.Header.Get("Content-Type"); ct != "application/cloudevents+json" {
		return fmt.Errorf("content-type is %q", ct)
	}
	if len(secrets) == 0 && got.Header.Get("webhook-signature") != "" {
		return errors.New("it is signed, but there is no secret")
	}
	for i, s := range secrets {
		verifier, err := svix.NewWebhook(s)
		if err != nil {
			return fmt.Errorf("secret %d: %w", i, err)
		}
		if err := verifier.Verify(got.Body, got.Header); err != nil {
			return fmt.Errorf("secret %d: %w", i, err)
		}
	}
	var event struct {
		SpecVersion string `json:"specversion"`
		ID          string `json:"id"`
		Source      string `json:"source"`
		Type        string `json:"type"`
		Timestamp   string `json:"timestamp"`
	}
	if err := json.Unmarshal(got.Body, &event); err != nil {
		return fmt.Errorf("the body: %w", err)
	}
	switch {
	case event.SpecVersion != "1.0", event.Source == "", event.Type == "":
		return fmt.Errorf("the body is no CloudEvent: %+v", event)
	case event.ID == "" || event.ID != got.Header.Get("webhook-id"):
		return fmt.Errorf("the body's id is %q, the header webhook-id %q", event.ID, got.Header.Get("webhook-id"))
	case got.Header.Get("webhook-timestamp") == "":
		return errors.New("there is no header webhook-timestamp")
	case event.Timestamp == "":
		return errors.New("the body has no timestamp")
	}
	return nil
}
