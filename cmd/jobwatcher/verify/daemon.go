package verify

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Life is one life of the daemon's process.
type Life struct {
	Crash       string // the commit point it was to end at, if any
	Began, Over time.Time
	Code        int            // exit code; -1 when a signal ended it
	Signal      syscall.Signal // what ended it; 0 when it exited
	Asked       syscall.Signal // the signal that we sent; 0 when none
}

// daemon is the process under test, started again whenever it ends.
type daemon struct {
	command func(crash string) *exec.Cmd
	env     []string
	folder  string
	log     *leakSearch

	mu    sync.Mutex
	cmd   *exec.Cmd
	asked syscall.Signal
	lives []Life
}

// restPause is between an end and the next life: a container's restart is slower.
const restPause = 50 * time.Millisecond

// run keeps the daemon alive until ctx ends, each life with the next of the
// crashes, and then stops it gently.
func (d *daemon) run(ctx context.Context, crashes []string) {
	for n := 0; ctx.Err() == nil; n++ {
		crash := ""
		if n < 2*len(crashes) && n%2 == 1 { // a plain life before each
			crash = crashes[n/2]
		}
		d.live(ctx, crash)
		pause(ctx, restPause)
	}
}

func (d *daemon) live(ctx context.Context, crash string) {
	cmd := d.command(crash)
	cmd.Dir, cmd.Env = d.folder, d.env
	cmd.Stderr = d.log
	cmd.WaitDelay = time.Second
	l := Life{Crash: crash, Began: time.Now()}
	d.mu.Lock()
	err := cmd.Start()
	if err == nil {
		d.cmd, d.asked = cmd, 0
	}
	d.mu.Unlock()
	if err != nil {
		l.Over, l.Code = time.Now(), 127
		d.keep(l)
		return
	}
	over := make(chan struct{})
	go func() { defer close(over); err = cmd.Wait() }()
	select {
	case <-over:
	case <-ctx.Done():
		d.signal(syscall.SIGCONT)
		d.signal(syscall.SIGTERM)
		select {
		case <-over:
		case <-time.After(stopLimit):
			_ = cmd.Process.Kill()
			<-over
		}
	}
	d.mu.Lock()
	d.cmd, l.Asked = nil, d.asked
	d.mu.Unlock()
	l.Over, l.Code = time.Now(), cmd.ProcessState.ExitCode()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() { //nolint:misspell // not ours
		l.Signal = status.Signal()
	}
	d.keep(l)
}

func (d *daemon) keep(l Life) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lives = append(d.lives, l)
}

// signal sends one to the present life, if there is any.
func (d *daemon) signal(s syscall.Signal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cmd == nil {
		return
	}
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		d.asked = s
	}
	_ = d.cmd.Process.Signal(s) // it may have ended by now
}

// ends counts the lives that are over.
func (d *daemon) ends() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.lives)
}

// fault says what is wrong with how a life ended, if anything.
func (l *Life) fault(excused bool) error {
	switch {
	case l.Signal == syscall.SIGKILL && (l.Asked == syscall.SIGKILL || l.Crash != ""):
		return nil
	case l.Signal == 0 && l.Code == 0 && l.Asked == syscall.SIGTERM:
		return nil
	case excused && l.Signal == 0 && l.Code == 1:
		return nil // it said no at the start: the disk was full
	case l.Signal == syscall.SIGKILL && l.Asked == syscall.SIGTERM:
		return errors.New("SIGTERM did not end it in time")
	case l.Signal != 0:
		return fmt.Errorf("%s ended it", l.Signal)
	}
	return fmt.Errorf("it ended by itself with exit code %d", l.Code)
}

// stopLimit is how long a drain may take: the grace, and some more.
const stopLimit = 10 * time.Second

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
