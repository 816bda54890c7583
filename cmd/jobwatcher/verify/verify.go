package verify

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

// Options say what to run and how hard.
type Options struct {
	// Command makes the daemon's process; with crash it ends itself at that
	// commit point (see [ParseCrash]). Its environment and folder are replaced.
	Command func(crash string) *exec.Cmd
	Seed    uint64
	// Length is how long faults go on; Jobs how many jobs there are.
	Length time.Duration
	Jobs   int
	// Patience is how long everything may take to settle once all faults are over.
	Patience time.Duration
	// Store is a postgres:// URL of an empty database; "" means SQLite in a
	// folder of its own.
	Store string
	// Env are more variables of the daemon, as in os.Environ.
	Env []string
	// Plan is carried out in place of one drawn by the seed.
	Plan *Plan
	// Tell hears of each step, for progress; may be nil.
	Tell func(string)
}

// Run makes a plan, carries it out and judges what came of it. The error says
// that it could not be carried out at all; breaches are in the report.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	folder, err := os.MkdirTemp("", "jobwatcher-verify-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	below, err := newUnderneath(ctx, o.Store, folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, below.close()) }()
	s, err := newStage(ctx, o.Seed, folder)
	if err != nil {
		return nil, err
	}
	defer s.close() //nolint:contextcheck // it bounds itself
	listen, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	api, err := apiclient.New("http://"+listen, secret.Source{})
	if err != nil {
		return nil, err
	}
	defer api.Close()
	p := &performance{
		o: o, stage: s, below: below, api: api, began: time.Now(),
		log:    &leakSearch{secrets: s.secrets},
		counts: map[Kind]int{},
	}
	if p.plan = MakePlan(o.Seed, o.Length, o.Jobs, below.abilities()); o.Plan != nil {
		p.plan = *o.Plan
	}
	p.daemon = &daemon{command: o.Command, folder: folder, log: p.log, env: append(s.variables(listen, below.url, p.plan.Mode), o.Env...)}
	if err := p.play(ctx); err != nil {
		return nil, err
	}
	return p.report(), nil
}

// performance is a plan being carried out.
type performance struct {
	o      Options
	plan   Plan
	stage  *stage
	below  *underneath
	daemon *daemon
	api    *apiclient.Client
	log    *leakSearch
	began  time.Time

	mu       sync.Mutex
	counts   map[Kind]int
	evidence Evidence
}

// play runs the daemon through the plan, then lets everything settle, and
// collects what everybody saw.
func (p *performance) play(ctx context.Context) error {
	p.evidence.Tenant = p.stage.name
	p.evidence.Jobs = make([]Watched, len(p.plan.Jobs))
	lives, end := context.WithCancel(ctx)
	var running, acting sync.WaitGroup
	running.Go(func() { p.daemon.run(lives, p.plan.Crashes) })
	defer func() { end(); running.Wait() }()

	clients, noMore := context.WithTimeout(ctx, p.plan.Length+p.o.Patience)
	defer noMore()
	for i := range p.plan.Jobs {
		acting.Go(func() { p.follow(clients, i) })
	}
	for _, step := range p.plan.Steps {
		acting.Go(func() { p.step(ctx, step) })
	}
	acting.Wait()
	p.stage.tenant.ClearFaults()
	p.o.Tell("all faults are over: everything has to settle now")
	p.settle(ctx)
	p.calm(ctx)
	end()
	running.Wait()
	p.collect()
	return context.Cause(ctx)
}

// follow is one job's owner: he submits it, and has it tracked.
func (p *performance) follow(ctx context.Context, i int) {
	planned := p.plan.Jobs[i]
	pause(ctx, time.Until(p.began.Add(planned.At)))
	w := Watched{Planned: planned, ID: p.stage.submit(planned)}
	if planned.Late {
		pause(ctx, 20*planned.RunTime)
	}
	w.AckedAt, w.Acknowledged = track(ctx, p.api, w.ID, i)
	if planned.Erased {
		w.Truth, _ = p.stage.tenant.Job(w.ID)
		pause(ctx, 500*time.Millisecond)
		p.stage.tenant.Forget(w.ID)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.evidence.Jobs[i] = w
}

// settle waits until the daemon says of every job that it has ended and that
// nothing is owed any more. What waits for a later attempt is sent now, as an
// operator would have it.
func (p *performance) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.o.Patience)
	defer cancel()
	for ctx.Err() == nil {
		for _, r := range p.stage.receivers {
			_ = p.api.Resume(ctx, r.name) // one that had said 410; asked again until the daemon is up
		}
		_, _ = p.api.ReplayWhere(ctx, apiclient.ReplayFilter{State: string(job.DeliveryPending)})
		if p.settled(ctx) {
			return
		}
		pause(ctx, 400*time.Millisecond)
	}
}

func (p *performance) settled(ctx context.Context) bool {
	all := true
	for i := range p.evidence.Jobs {
		w := &p.evidence.Jobs[i]
		if done := w.View != nil && w.View.State == job.Finished && owesNothing(w.View); done || !w.Acknowledged {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, askLimit)
		v, err := p.api.Job(limited, w.ID)
		cancel()
		switch {
		case err == nil:
			w.View = &v
			all = all && v.State == job.Finished && owesNothing(&v)
		case apiclient.NotFound(err):
			w.View = nil // for good: that is a breach, and no reason to wait
		default:
			return false
		}
	}
	return all
}

func owesNothing(v *job.View) bool {
	return v.Deliveries.Pending+v.Deliveries.Held+v.Deliveries.Exhausted == 0 && v.Deliveries.Delivered > 0
}

// calmFor is how long the daemon is watched doing nothing.
const calmFor = 1500 * time.Millisecond

// calm kills the daemon once more. Everything has been recorded, so that the
// next life has nothing to say, and nothing to ask.
func (p *performance) calm(ctx context.Context) {
	if !p.settled(ctx) {
		return // the breaches are found elsewhere
	}
	lives := p.daemon.ends()
	p.evidence.Calm = time.Now()
	polls := map[job.ID]int{}
	for _, j := range p.stage.tenant.Jobs() {
		polls[j.ID] = j.Polls
	}
	p.daemon.signal(syscall.SIGKILL)
	limit := time.Now().Add(p.o.Patience)
	for ctx.Err() == nil && time.Now().Before(limit) {
		if _, err := p.api.Destinations(ctx); err == nil && p.daemon.ends() > lives {
			break
		}
		pause(ctx, 50*time.Millisecond)
	}
	pause(ctx, calmFor)
	for _, j := range p.stage.tenant.Jobs() {
		if j.Polls > polls[j.ID] {
			p.evidence.PolledAfter = append(p.evidence.PolledAfter, j.ID.String())
		}
	}
	p.leaksInPages(ctx)
}

// leaksInPages searches what the daemon's own pages show.
func (p *performance) leaksInPages(ctx context.Context) {
	for _, path := range []string{"/metrics", "/v1/deliveries?limit=500", "/v1/destinations", "/v1/jobs?limit=500", "/readyz?verbose"} {
		body, err := fetch(ctx, p.api.Server()+path)
		if err != nil {
			p.evidence.Leaks = append(p.evidence.Leaks, "could not be searched: "+path)
			continue
		}
		for _, found := range holds(body, p.stage.secrets()) {
			p.evidence.Leaks = append(p.evidence.Leaks, path+": "+found)
		}
	}
}

// collect gathers what everybody else saw.
func (p *performance) collect() {
	e := &p.evidence
	for i := range e.Jobs {
		if w := &e.Jobs[i]; !w.Planned.Erased {
			w.Truth, _ = p.stage.tenant.Job(w.ID)
		}
	}
	for _, r := range p.stage.receivers {
		e.Receptions = append(e.Receptions, r.receptions()...)
	}
	slices.SortStableFunc(e.Receptions, func(a, b Reception) int { return a.At.Compare(b.At) })
	for _, r := range e.Receptions {
		for _, found := range holds(r.Body, p.stage.secrets()) {
			e.Leaks = append(e.Leaks, "a message to "+r.Destination+": "+found)
		}
		if strings.Contains(r.Body, canaryQuery) {
			e.Leaks = append(e.Leaks, "a message to "+r.Destination+": the query")
		}
	}
	leaks, _, _ := p.log.results()
	e.Leaks = append(e.Leaks, leaks...)
	e.Lives = p.daemon.lives
	for _, l := range e.Lives {
		kind := Kill
		if l.Asked == syscall.SIGTERM && l.Signal == 0 {
			kind = Stop
		}
		e.Disturbances = append(e.Disturbances, Disturbance{kind, l.Over.Add(-afterwards), l.Over.Add(afterwards)})
	}
	p.stage.mu.Lock()
	e.Overlaps = slices.Clone(p.stage.overlaps)
	p.stage.mu.Unlock()
	e.SelfMade = p.stage.tenant.Stats().TooMany()
}

// secrets are what must turn up nowhere.
func (s *stage) secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []string{canaryClient, canaryFile, canaryChat, loaderSecret, auditSecret}
	for token := range s.tokens {
		all = append(all, token)
	}
	return all
}

// variables configure the daemon.
func (s *stage) variables(listen, store, mode string) []string {
	return []string{
		"HOME=" + s.folder, "PATH=" + os.Getenv("PATH"), "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"),
		"ZUORA_BASE_URL=" + s.url,
		"ZUORA_CLIENT_ID=" + zuorasim.DefaultClientID,
		"ZUORA_CLIENT_SECRET=" + canaryClient,
		"ZUORA_TIMEOUT=2s",
		"JOBWATCHER_TENANT=" + s.name,
		"JOBWATCHER_STORE=" + store,
		"JOBWATCHER_LISTEN=" + listen,
		"JOBWATCHER_DESTINATIONS_FILE=" + s.destinationsFile(),
		"JOBWATCHER_ALLOW_PRIVATE_DESTINATIONS=true",
		"JOBWATCHER_POLL_INITIAL_INTERVAL=100ms",
		"JOBWATCHER_POLL_MAX_INTERVAL=400ms",
		"JOBWATCHER_POLL_MODE=" + mode,
		"JOBWATCHER_LOST_AFTER=" + lostAfter.String(),
		"JOBWATCHER_LOG_FORMAT=json", "JOBWATCHER_LOG_LEVEL=debug",
		"JOBWATCHER_SHUTDOWN_GRACE=5s",
	}
}

// freeAddress is a loopback address that was free a moment ago: every life of
// the daemon listens there.
func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// underneath is what the daemon's store stands on.
type underneath struct {
	url  string
	disk *disk
	db   *database
}

func newUnderneath(ctx context.Context, url, folder string) (*underneath, error) {
	if url != "" {
		db, err := openDatabase(ctx, url)
		return &underneath{url: url, db: db}, err
	}
	d := newDisk(folder)
	return &underneath{url: "sqlite:" + filepath.Join(d.folder, "jobs.db"), disk: d}, nil
}

func (u *underneath) abilities() Abilities {
	return Abilities{FullDisk: u.disk != nil && u.disk.mounted, CutStore: u.db != nil}
}

// do makes a fault of the store.
func (u *underneath) do(ctx context.Context, k Kind) (undo func(), err error) {
	if k == CutStore {
		return func() {}, u.db.cut(ctx)
	}
	return func() { _ = u.disk.free() }, u.disk.fill() // the settling finds out if it stays full
}

func (u *underneath) close() error {
	if u.db != nil {
		return u.db.close()
	}
	return u.disk.close()
}
