package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const goodSecret = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func TestDestinationsFileOfTheContract(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	urlFile, secretFile := filepath.Join(dir, "slack-url"), filepath.Join(dir, "loader")
	for path, text := range map[string]string{urlFile: "https://hooks.slack.example/services/T/B/x\n", secretFile: goodSecret + "\n" + goodSecret + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := ParseDestinations([]byte(`
destinations:
  - name: finance
    slack: {url_file: ` + urlFile + `}
    on: [failed, cancelled, lost, overdue]
    match: {team: finance, env: [prod, stage], owner: {exists: true}, test: {exists: false}}
  - name: loader
    webhook:
      url: https://loader.internal/hooks/zuora
      secrets_file: ` + secretFile + `
      headers: {X-Team: finance}
    include: [query, data_file]
`))
	if err != nil {
		t.Fatal(err)
	}
	finance, loader := &all[0], &all[1]
	want := []Matcher{{Label: "env", In: []string{"prod", "stage"}}, {Label: "owner"}, {Label: "team", In: []string{"finance"}}, {Label: "test", Absent: true}}
	if diff := cmp.Diff(want, finance.Match); diff != "" || finance.Kind() != "slack" || loader.Kind() != "webhook" ||
		!loader.Includes(IncludeDataFile) || finance.Includes(IncludeQuery) || loader.Webhook.Headers["X-Team"].Reveal() != "finance" {
		t.Errorf("destinations: %+v (-want +got):\n%s", all, diff)
	}
	text, err := loader.Webhook.Secrets[0].Get()
	if err != nil {
		t.Fatal(err)
	}
	if secrets, err := SigningSecrets(text); err != nil || len(secrets) != 2 {
		t.Errorf("live secrets: got %d, %v, want 2", len(secrets), err)
	}
}

func TestEveryFaultOfTheFileIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	_, err := ParseDestinations([]byte(`destinations:
  - name: Bad Name
    webhook: {url: "` + canary + `://x/` + canary + `", secret: ` + canary + `}
    on: [finished]
    include: [everything]
    match: {"bad key!": x, team: [], env: "bad value!"}
  - name: twice
    slack: {url: https://hooks.example/` + canary + `, url_file: /there}
  - name: twice
    colour: red
    webhook:
      url_file: /not/there
      secret: ` + canary + `
      secret_file: /not/there/either
      headers: {"webhook-id": "` + canary + `", "Bad Header": x, X-Ok: "line\nbreak"}
  - name: both
    slack: {url: "https://a.example"}
    webhook: {url: "https://a.example"}
  - name: neither
`))
	if err == nil {
		t.Fatal("nothing was refused")
	}
	for _, want := range []string{
		"line 2: destinations[0].name: \"Bad Name\" is not a name",
		"destinations[0].webhook.url: scheme \"" + "c4n4ry\" is not https or http",
		"destinations[0].webhook.secret: a secret is not whsec_",
		`destinations[0].on[0]: "finished" is not one of completed, failed`,
		`destinations[0].include[0]: "everything" is not one of query, data_file`,
		`destinations[0].match.bad key!: "bad key!" is not a label key`,
		"destinations[0].match.team: neither a value, nor a list",
		`destinations[0].match.env: "bad value!" can never be a label's value`,
		"destinations[1].slack.url: given together with url_file",
		`destinations[2].name: "twice" is there twice`,
		"field colour is not known here",
		"destinations[2].webhook.url_file: ",
		"destinations[2].webhook.secret: given more than once",
		`"webhook-id" is set by jobwatcher itself`,
		`"Bad Header" is not a header name`,
		`the value of "X-Ok" has characters`,
		"destinations[3].webhook: one of 2 kinds given",
		"destinations[4].webhook: missing",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if text := strings.ReplaceAll(err.Error(), `scheme "c4n4ry"`, ""); strings.Contains(text, canary) {
		t.Errorf("a secret is repeated:\n%s", text)
	}
	if t.Failed() {
		t.Logf("got:\n%s", err)
	}
}

func TestFileThatIsNoYAMLIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"destinations: [", "\t- x", "destinations: 5", "[]", "destinations: [{name: a, webhook: [c4n4ry]}]"} {
		all, err := ParseDestinations([]byte(text))
		if err == nil || strings.Contains(err.Error(), "c4n4ry") || strings.Contains(err.Error(), "notify.") {
			t.Errorf("%q: got %v, %v", text, all, err)
		}
	}
	if all, err := ParseDestinations([]byte("# nothing yet\n")); err != nil || len(all) != 0 {
		t.Errorf("a file of comments: got %v, %v", all, err)
	}
}

func FuzzParseDestinations(f *testing.F) {
	f.Add([]byte("destinations:\n  - name: a\n    webhook: {url: \"https://a.example\", secret: " + goodSecret + "}\n    match: {a: [b], c: {exists: true}}\n"))
	f.Add([]byte("destinations: [{name: b, slack: {url: \"https://b.example\"}}]"))
	f.Add([]byte("destinations: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := ParseDestinations(text)
		for i := range all {
			d := &all[i]
			if err == nil && (d.Name == "" || (d.Webhook == nil) == (d.Slack == nil)) {
				t.Errorf("accepted: %+v", d)
			}
		}
	})
}
