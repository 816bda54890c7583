package slack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Slack's own types for Block Kit accept every message. They know nothing of
// lengths: those are the fuzzer's business.
func TestSlacksOwnTypesAcceptEveryMessage(t *testing.T) {
	t.Parallel()
	modules := notifytest.NodeModules(t, "@slack/types", "typescript")
	r := renderer{page: page(t), query: true, dataFile: true}
	source := "import type { KnownBlock } from \"@slack/types\";\ntype Message = { text: string; mrkdwn: boolean; unfurl_links: boolean; unfurl_media: boolean; blocks: KnownBlock[] };\n"
	var all []job.Outgoing
	for i, kind := range notifytest.SampleTypes() {
		o := notifytest.Sample(kind)
		all = append(all, o)
		source += declaration(t, fmt.Sprintf("one%d", i), r.render([]job.Outgoing{o}, soon().AddDate(0, 0, 1)))
	}
	source += declaration(t, "digest", r.render(all, soon().AddDate(0, 0, 1)))
	source += declaration(t, "storm", r.render(storm(t, 1000, "no such column"), soon()))
	if output, err := compile(t, modules, source); err != nil {
		t.Errorf("%v: %s", err, output)
	}

	// A check that cannot fail is none: mrkdwn does not belong into a header.
	m := newMessage("x")
	m.add(header("x"))
	wrong := strings.Replace(declaration(t, "wrong", m), "plain_text", "mrkdwn", 1)
	if output, err := compile(t, modules, source+wrong); err == nil || !strings.Contains(output, "mrkdwn") {
		t.Errorf("a header in mrkdwn is accepted: %v: %s", err, output)
	}
}

func declaration(t *testing.T, name string, m *message) string {
	t.Helper()
	raw, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("export const %s = %s satisfies Message;\n", name, raw)
}

func compile(t *testing.T, modules, source string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "messages.ts")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return notifytest.Node(t, modules, "", filepath.Join(modules, "typescript", "bin", "tsc"), "--noEmit", "--strict", "--skipLibCheck", file)
}
