package verify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// Plan is everything that will be done to the daemon, by offsets from the
// start. Equal seeds, lengths and abilities make equal plans.
type Plan struct {
	Seed   uint64        `json:"seed"`
	Length time.Duration `json:"length_ns"`
	// Mode is the daemon's JOBWATCHER_POLL_MODE: every other seed has sweeps.
	Mode  string       `json:"mode"`
	Jobs  []PlannedJob `json:"jobs"`
	Steps []Step       `json:"steps"`
	// Crashes are the commit points at which the daemon's lives end, one life
	// each; "" is a life without one.
	Crashes []string `json:"crashes"`
}

// PlannedJob is one job: when it is submitted, and what becomes of it.
type PlannedJob struct {
	At      time.Duration `json:"at_ns"`
	RunTime time.Duration `json:"run_time_ns"`
	Outcome job.Status    `json:"outcome"`
	// Erased jobs are forgotten by the tenant while they run: they are lost.
	Erased bool `json:"erased,omitempty"`
	// Late jobs have ended before they are tracked.
	Late bool `json:"late,omitempty"`
}

// Step is one fault.
type Step struct {
	At   time.Duration `json:"at_ns"`
	For  time.Duration `json:"for_ns,omitempty"`
	Kind Kind          `json:"kind"`
	// Target is the receiver that a receiver's fault hits.
	Target string `json:"target,omitempty"`
}

func (s Step) String() string {
	text := fmt.Sprintf("%6.2fs  %s", s.At.Seconds(), s.Kind)
	if s.Target != "" {
		text += " (" + s.Target + ")"
	}
	if s.For > 0 {
		text += fmt.Sprintf(" for %.1fs", s.For.Seconds())
	}
	return text
}

// Kind is what a step does.
type Kind string

// The faults: of the tenant, of a receiver, of the daemon's own process and of
// the disk below it.
const (
	ThrottledSaying Kind = "tenant: 429 with Retry-After"
	Throttled       Kind = "tenant: 429 without Retry-After"
	Down            Kind = "tenant: 503"
	Junk            Kind = "tenant: answers that are no JSON"
	Cut             Kind = "tenant: answers cut short"
	Slow            Kind = "tenant: answers that drip"
	Silent          Kind = "tenant: no answers"
	Revoked         Kind = "tenant: all tokens revoked"
	Missing         Kind = "tenant: 404 for jobs that are there"
	Denied          Kind = "tenant: 403 for jobs that are ours"
	ClockAhead      Kind = "tenant: clock jumps ahead"
	ClockBehind     Kind = "tenant: clock jumps back"

	Refusing Kind = "receiver: 500"
	Lying    Kind = "receiver: takes it, then cuts the connection"
	Hanging  Kind = "receiver: never answers"
	Pressed  Kind = "receiver: 429 with Retry-After"
	Gone     Kind = "receiver: 410"
	Turning  Kind = "receiver: 302 to somewhere else"

	Kill     Kind = "process: SIGKILL"
	Freeze   Kind = "process: SIGSTOP, then SIGCONT"
	Stop     Kind = "process: SIGTERM"
	FullDisk Kind = "disk: full"
	CutStore Kind = "store: connections cut"
)

var (
	tenantKinds = []Kind{ThrottledSaying, Throttled, Down, Junk, Cut, Slow, Silent, Revoked, Missing, Denied, ClockAhead, ClockBehind}
	// momentary faults are over at once.
	momentary     = []Kind{Kill, Stop, Revoked, CutStore}
	receiverKinds = []Kind{Refusing, Lying, Hanging, Pressed, Gone, Turning}
)

// CrashPoints are the commit points of the daemon, each before it ("failed and
// not stored") and after it ("failed but stored").
func CrashPoints() []string {
	var all []string
	for _, operation := range []string{"track", "commit", "claim", "settle"} {
		all = append(all, operation+":before:1", operation+":after:1")
	}
	return all
}

// Abilities are what this machine and store let us do.
type Abilities struct {
	FullDisk bool // a file system of our own can be mounted
	CutStore bool // the store is a PostgreSQL whose connections we may end
}

// MakePlan draws the plan. Each kind of fault comes once before any comes twice.
func MakePlan(seed uint64, length time.Duration, jobs int, can Abilities) Plan {
	dice := rand.New(rand.NewPCG(seed, 0x6a6f6277)) // repeatable, not secret
	p := Plan{Seed: seed, Length: length, Mode: []string{"get", "auto"}[seed%2]}
	for range jobs {
		p.Jobs = append(p.Jobs, drawJob(dice, length))
	}
	slices.SortFunc(p.Jobs, func(a, b PlannedJob) int { return int(a.At - b.At) })
	// The tenant's faults leave room between them, so that two short silences
	// about a job do not join into one that is long enough to mean something.
	p.track(dice, tenantKinds, span{300, 900}, span{500, 900}, nil)
	p.track(dice, receiverKinds, span{300, 1200}, span{100, 600}, []string{"loader", "audit", "chat"})
	process := []Kind{Kill, Freeze, Stop, Kill}
	if can.FullDisk {
		process = append(process, FullDisk)
	}
	if can.CutStore {
		process = append(process, CutStore)
	}
	p.track(dice, process, span{300, 1000}, span{900, 1600}, nil)
	slices.SortStableFunc(p.Steps, func(a, b Step) int { return int(a.At - b.At) })
	p.Crashes = CrashPoints()
	dice.Shuffle(len(p.Crashes), func(i, k int) { p.Crashes[i], p.Crashes[k] = p.Crashes[k], p.Crashes[i] })
	return p
}

func drawJob(dice *rand.Rand, length time.Duration) PlannedJob {
	j := PlannedJob{
		At:      time.Duration(dice.Int64N(int64(length * 9 / 10))),
		RunTime: 200*time.Millisecond + time.Duration(dice.Int64N(int64(length/4)+1)),
		Outcome: job.Completed,
	}
	switch n := dice.IntN(20); {
	case n < 4:
		j.Outcome = job.Failed
	case n < 6:
		j.Outcome = job.Cancelled
	case n == 6:
		j.Erased = true
		j.RunTime = length * 4 // it is still running then
	case n == 7:
		j.Late = true
		j.RunTime = time.Millisecond
	}
	return j
}

// span is a range in milliseconds.
type span struct{ least, most int64 }

func (s span) draw(dice *rand.Rand) time.Duration {
	return time.Duration(s.least+dice.Int64N(s.most-s.least+1)) * time.Millisecond
}

// track fills the plan's length with one fault after the other, from a bag that
// is filled again when it is empty.
func (p *Plan) track(dice *rand.Rand, kinds []Kind, lasts, rests span, targets []string) {
	var bag []Kind
	for at := rests.draw(dice); ; {
		s := Step{At: at, For: lasts.draw(dice)}
		if at+s.For >= p.Length {
			return
		}
		if len(bag) == 0 {
			bag = slices.Clone(kinds)
			dice.Shuffle(len(bag), func(i, k int) { bag[i], bag[k] = bag[k], bag[i] })
		}
		s.Kind, bag = bag[0], bag[1:]
		if len(targets) > 0 {
			s.Target = targets[dice.IntN(len(targets))]
		}
		if slices.Contains(momentary, s.Kind) {
			s.For = 0
		}
		p.Steps = append(p.Steps, s)
		at += s.For + rests.draw(dice)
	}
}

// String is the plan for people.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d jobs in %s, looked at by mode %s\n", p.Seed, len(p.Jobs), p.Length, p.Mode)
	for _, s := range p.Steps {
		fmt.Fprintln(&b, s)
	}
	fmt.Fprintf(&b, "commit points: %s\n", strings.Join(p.Crashes, ", "))
	return b.String()
}
