package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher"
)

// Variables that turn this test binary into the daemon, so that process tests
// run the real main with the race detector in it.
const (
	asMain    = "JOBWATCHER_TEST_MAIN"
	mutatedBy = "JOBWATCHER_TEST_MUTATION" // the name of one of mutations
	leaseOf   = "JOBWATCHER_TEST_LEASE"    // of a replica; 30 s are long for a test
)

// mainForTests is main, mutated where the environment asks for it.
func mainForTests() {
	ctx, stop := withSignals(context.Background(), os.Exit)
	h := mutations[os.Getenv(mutatedBy)]
	if lease, err := time.ParseDuration(os.Getenv(leaseOf)); err == nil {
		h.watcher = func(o *watcher.Options) { o.Lease = lease }
	}
	code := runWith(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, h)
	stop()
	os.Exit(code)
}

// process is a child that runs the real main.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and all it printed was read

	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced at each line
}

// start runs jobwatcher with these arguments and exactly these variables.
func start(t *testing.T, vars map[string]string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], args...), done: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = []string{asMain + "=1", "HOME=" + p.cmd.Dir, "PATH=" + os.Getenv("PATH"), "GORACE=halt_on_error=1"}
	for k, v := range vars {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		scanner := bufio.NewScanner(stderr)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, scanner.Text())
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("stderr of the process:\n%s", p.output())
		}
	})
	return p
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// patience is how long tests wait for what must happen soon; the machine may
// be slow.
const testPatience = 30 * time.Second

// line waits for a log line (or any line of stderr) that matches.
func (p *process) line(what string, match func(text string, fields map[string]any) bool) map[string]any {
	p.t.Helper()
	limit := time.After(testPatience)
	next := 0
	for {
		p.mu.Lock()
		more := p.more
		fresh := p.lines[next:]
		next = len(p.lines)
		p.mu.Unlock()
		for _, text := range fresh {
			fields := map[string]any{}
			_ = json.Unmarshal([]byte(text), &fields)
			if match(text, fields) {
				return fields
			}
		}
		select {
		case <-more:
		case <-p.done:
			p.mu.Lock()
			rest := len(p.lines) > next
			p.mu.Unlock()
			if !rest {
				p.t.Fatalf("the process ended without %s", what)
			}
		case <-limit:
			p.t.Fatalf("no %s after %v", what, testPatience)
		}
	}
}

// said waits for a log line with this message.
func (p *process) said(message string) map[string]any {
	p.t.Helper()
	return p.line(fmt.Sprintf("log line %q", message), func(_ string, f map[string]any) bool { return f["msg"] == message })
}

// url is where the API listens, as the log says.
func (p *process) url() string {
	p.t.Helper()
	f := p.line("address of the API", func(_ string, f map[string]any) bool { return f["msg"] == "listening" && f["name"] == "api" })
	return "http://" + fmt.Sprint(f["addr"])
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end; the code of a killed process is -1.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(testPatience):
		p.t.Fatalf("still running after %v", testPatience)
	}
	return p.cmd.ProcessState.ExitCode()
}
