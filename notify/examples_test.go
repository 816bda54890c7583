package notify

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// examples reads a file of deploy/destinations as an operator would, with the
// secrets that it names in a directory of the test.
func examples(t *testing.T, file string) []Destination {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"teams-url": "https://teams.example/x", "discord-url": "https://discord.example/x", "slack-url": "https://hooks.slack.example/x",
		"pagerduty-key": "c4n4ry-key", "telegram-url": "telegram://c4n4ry@telegram", "mail-url": "smtp://c4n4ry@mail.example",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "deploy", "destinations", file))
	if err != nil {
		t.Fatal(err)
	}
	all, err := ParseDestinations([]byte(strings.ReplaceAll(string(text), "/var/run/secrets/jobwatcher", dir)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// bodies are what the example sends about a sample of each type.
func bodies(t *testing.T, file string) map[job.EventType]map[string]any {
	t.Helper()
	d := examples(t, file)[0]
	all := map[job.EventType]map[string]any{}
	for _, kind := range job.EventTypes() {
		out := sampleOf(kind)
		text, err := d.Webhook.Template.Execute(d.Data(&out, out.CreatedAt.Time().Add(LateAfter*2)))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		var body map[string]any
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "c4n4ry") || strings.Contains(text, "results.example") || strings.Contains(text, "SELECT") {
			t.Errorf("%s: what was not asked for is in %s", kind, text)
		}
		if kind == job.EventFailed && !strings.Contains(fmt.Sprint(body), sampleError) {
			t.Errorf("the error text is not in %s", text)
		}
		all[kind] = body
	}
	return all
}

// at walks into decoded JSON: keys, and numbers for places in a list.
func dig(t *testing.T, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				t.Fatalf("no %d in %v", p, v)
			}
			v = l[p]
		}
	}
	return v
}

func TestTeamsExampleIsAnAdaptiveCard(t *testing.T) {
	t.Parallel()
	for kind, body := range bodies(t, "teams.yaml") {
		content := dig(t, body, "attachments", 0, "content")
		if dig(t, body, "type") != "message" || dig(t, body, "attachments", 0, "contentType") != "application/vnd.microsoft.card.adaptive" ||
			dig(t, content, "type") != "AdaptiveCard" || dig(t, content, "body", 0, "type") != "TextBlock" {
			t.Errorf("%s: %v", kind, body)
		}
		facts, _ := dig(t, content, "body", 1, "facts").([]any)
		for _, f := range facts {
			if title, _ := dig(t, f, "title").(string); title == "" {
				t.Errorf("%s: a fact without a title: %v", kind, f)
			}
		}
	}
}

func TestDiscordExampleKeepsDiscordsLimits(t *testing.T) {
	t.Parallel()
	// discord.com/developers/docs: embeds.
	for kind, body := range bodies(t, "discord.yaml") {
		embed := dig(t, body, "embeds", 0)
		title, _ := dig(t, embed, "title").(string)
		if title == "" || len(title) > 256 {
			t.Errorf("%s: title %q", kind, title)
		}
		if text, _ := dig(t, embed, "description").(string); len(text) > 4096 {
			t.Errorf("%s: a description of %d bytes", kind, len(text))
		}
		fields, _ := dig(t, embed, "fields").([]any)
		for _, f := range fields {
			if value, _ := dig(t, f, "value").(string); value == "" || len(value) > 1024 || len(fields) > 25 {
				t.Errorf("%s: field %v", kind, f)
			}
		}
		if parse, ok := dig(t, body, "allowed_mentions", "parse").([]any); !ok || len(parse) != 0 {
			t.Errorf("%s: mentions are possible: %v", kind, body)
		}
	}
}

func TestPagerDutyExampleTriggersAndResolvesOneAlertForEachJob(t *testing.T) {
	t.Parallel()
	all := bodies(t, "pagerduty.yaml")
	// developer.pagerduty.com, "Send an alert event".
	for kind, body := range all {
		summary, _ := dig(t, body, "payload", "summary").(string)
		key, _ := dig(t, body, "dedup_key").(string)
		severity, _ := dig(t, body, "payload", "severity").(string)
		if summary == "" || len(summary) > 1024 || key == "" || len(key) > 255 || dig(t, body, "payload", "source") == "" ||
			!slices.Contains([]string{"critical", "error", "warning", "info"}, severity) {
			t.Errorf("%s: %v", kind, body)
		}
	}
	failed, completed := all[job.EventFailed], all[job.EventCompleted]
	if failed["event_action"] != "trigger" || completed["event_action"] != "resolve" || failed["dedup_key"] != completed["dedup_key"] {
		t.Errorf("failed: %v\ncompleted: %v", failed, completed)
	}
	if d := examples(t, "pagerduty.yaml")[0]; d.Webhook.Fields["routing_key"].Path() == "" {
		t.Error("the integration key is not added")
	}
}

func TestEveryExampleIsValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../deploy/destinations/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if all := examples(t, filepath.Base(file)); len(all) == 0 {
			t.Errorf("%s names no destination", file)
		}
	}
}
