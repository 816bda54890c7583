package webhook

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
)

// jsRequest is a webhook as it came in, for testdata/verify.cjs.
type jsRequest struct {
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// The official libraries of another language read every webhook as we mean it.
func TestJavaScriptLibrariesAcceptTheWebhook(t *testing.T) {
	t.Parallel()
	modules := notifytest.NodeModules(t, "standardwebhooks", "cloudevents")
	r := notifytest.NewReceiver()
	d := destination("https://loader.example/hooks", newSecret, oldSecret)
	d.Include = []string{notify.IncludeQuery, notify.IncludeDataFile}
	s := sender(t, d, r)
	var requests []jsRequest
	var want []string
	for i, kind := range notifytest.SampleTypes() {
		send(t, s, notifytest.Sample(kind))
		got := r.Received()[i]
		headers := map[string]string{}
		for name := range got.Header {
			headers[strings.ToLower(name)] = got.Header.Get(name)
		}
		requests = append(requests, jsRequest{headers, string(got.Body)})
		want = append(want, string(kind))
	}
	altered := requests[0]
	altered.Body = strings.Replace(altered.Body, "24516", "24517", 1)
	requests, want = append(requests, altered), append(want, "refused: No matching signature found")
	for _, secret := range []string{newSecret, oldSecret} {
		input, err := json.Marshal(map[string]any{"secret": secret, "requests": requests})
		if err != nil {
			t.Fatal(err)
		}
		output, err := notifytest.Node(t, modules, string(input), "testdata/verify.cjs")
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		if diff := cmp.Diff(strings.Split(strings.TrimSpace(output), "\n"), want); diff != "" {
			t.Error(diff)
		}
	}
}
