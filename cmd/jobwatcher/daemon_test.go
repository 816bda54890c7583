package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

func TestSIGTERMDrainsWhatIsInTheAir(t *testing.T) {
	t.Parallel()
	w := newWorld(t, zuorasim.Options{})
	w.hook.Then(notifytest.Step{Delay: time.Second})
	ids := w.submit(3, time.Millisecond)
	p := start(t, w.vars(nil))
	c := p.client()
	for _, id := range ids {
		track(t, c, id, apiclient.Item{})
	}
	eventually(t, "three webhooks in the air", func() bool { return len(w.hook.Received()) == 3 })
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	// Had a settlement been refused or thrown away, the next start would repeat it.
	again := start(t, w.vars(nil))
	eventually(t, "the ledger shows every delivery as delivered", func() bool {
		rows, _, err := again.client().Deliveries(t.Context(), map[string][]string{"state": {"delivered"}, "destination": {"webhook"}}, 0, "")
		return err == nil && len(rows) == 3
	})
	if n := len(w.hook.Received()); n != 3 {
		t.Errorf("%d webhooks, want 3", n)
	}
}

func TestSecondSignalExitsAtOnceWithItsOwnCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, zuorasim.Options{})
	w.hook.Then(notifytest.Step{Hang: true})
	p := start(t, w.vars(map[string]string{"JOBWATCHER_SHUTDOWN_GRACE": "60s"}))
	track(t, p.client(), w.submit(1, time.Millisecond)[0], apiclient.Item{})
	eventually(t, "a webhook in the air", func() bool { return len(w.hook.Received()) > 0 })
	p.signal(syscall.SIGTERM)
	p.said("stopping")
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 143 {
		t.Errorf("exit code %d, want 143", code)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestSecondDaemonOnTheSameFileIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, zuorasim.Options{})
	first := start(t, w.vars(nil))
	first.url()
	second := start(t, w.vars(nil))
	if code := second.exit(); code != exitFault {
		t.Errorf("exit code %d, want %d", code, exitFault)
	}
	if text := second.output(); !strings.Contains(text, "jobwatcher: JOBWATCHER_STORE: ") {
		t.Errorf("stderr does not name the store:\n%s", text)
	}
}

func TestBadConfigurationIsRefusedWithALineForEachFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, zuorasim.Options{})
	p := start(t, w.vars(map[string]string{"ZUORA_TIMEOUT": "soon", "JOBWATCHER_LOG_LEVEL": "loud", "JOBWATCHER_WEBHOOK_SECRET": "canary-x"}))
	if code := p.exit(); code != exitFault {
		t.Errorf("exit code %d, want %d", code, exitFault)
	}
	lines := strings.Split(p.output(), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3:\n%s", len(lines), p.output())
	}
	for i, variable := range []string{"ZUORA_TIMEOUT", "JOBWATCHER_WEBHOOK_SECRET", "JOBWATCHER_LOG_LEVEL"} {
		if !strings.HasPrefix(lines[i], "jobwatcher: "+variable+": ") {
			t.Errorf("line %d = %q, want one about %s", i, lines[i], variable)
		}
	}
	notifytest.NoCanary(t, "stderr", p.output(), "canary-x")
}

func TestStoreThatCannotBeWrittenIsAClearRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, zuorasim.Options{})
	corrupt := filepath.Join(w.dir, "corrupt.db")
	if err := os.WriteFile(corrupt, []byte(strings.Repeat("this is no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(w.dir, "none", "jobs.db"), corrupt, w.dir} {
		p := start(t, w.vars(map[string]string{"JOBWATCHER_STORE": "sqlite:" + path}))
		if code := p.exit(); code != exitFault {
			t.Errorf("%s: exit code %d, want %d", path, code, exitFault)
		}
		last := p.output()[strings.LastIndex(p.output(), "\n")+1:]
		if !strings.HasPrefix(last, "jobwatcher: JOBWATCHER_STORE: ") || !strings.Contains(last, filepath.Dir(path)) {
			t.Errorf("%s: last line = %q", path, last)
		}
	}
}

func TestUpstreamThatIsDownAtTheStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, zuorasim.Options{})
	remove := w.tenant.Fault(zuorasim.Fault{Kind: zuorasim.KindDrop})
	removeToken := w.tenant.Fault(zuorasim.Fault{Kind: zuorasim.KindDrop, Path: "/oauth/token"})
	id := w.submit(1, time.Millisecond)[0]
	p := start(t, w.vars(nil))
	url := p.url()
	track(t, p.client(), id, apiclient.Item{})
	eventually(t, "readyz says that the upstream is away, and stays ready", func() bool {
		code, body := fetch(t, url+"/readyz?verbose")
		return code == http.StatusOK && strings.Contains(body, "network")
	})
	remove()
	removeToken()
	w.announced([]job.ID{id}, 0)
}

func TestRefusedCredentialsAreOneErrorAndNoHammering(t *testing.T) {
	t.Parallel()
	w := newWorld(t, zuorasim.Options{})
	ids := w.submit(50, time.Hour)
	p := start(t, w.vars(map[string]string{"ZUORA_CLIENT_SECRET": "wrong"}))
	c := p.client()
	for _, id := range ids {
		track(t, c, id, apiclient.Item{})
	}
	p.line("the error", func(_ string, f map[string]any) bool { return f["level"] == "error" })
	<-time.After(3 * time.Second)
	if n := strings.Count(p.output(), `"level":"error"`); n != 1 {
		t.Errorf("%d errors logged, want 1", n)
	}
	if n := w.tenant.Count(zuorasim.EndpointToken); n > 3 {
		t.Errorf("the token endpoint was asked %d times in 3 s by 50 jobs", n)
	}
	if n := w.tenant.Count(zuorasim.EndpointGet); n != 0 {
		t.Errorf("%d looks without a token", n)
	}
}
