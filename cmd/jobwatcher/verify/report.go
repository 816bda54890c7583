package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Report is what came of it.
type Report struct {
	Seed     uint64  `json:"seed"`
	Passed   bool    `json:"passed"`
	Seconds  float64 `json:"seconds"`
	Store    string  `json:"store"`
	Jobs     int     `json:"jobs"`
	Messages int     `json:"messages"` // that receivers took
	Refused  int     `json:"refused"`  // that receivers did not take
	// Faults counts what was done, by kind; Lives how often the daemon was started.
	Faults       map[Kind]int `json:"faults"`
	Lives        int          `json:"lives"`
	CommitPoints []string     `json:"commit_points"` // at which a life ended
	// Repeats are messages that a receiver took more than once; RepeatsExplained
	// is how many the disturbances explain.
	Repeats          int `json:"repeats"`
	RepeatsExplained int `json:"repeats_explained"`
	Losses           int `json:"losses"`
	// WorstDelay is from a job's end, or its being tracked, to the last webhook's yes.
	WorstDelay float64       `json:"worst_delay_seconds"`
	Skipped    []string      `json:"skipped,omitempty"`
	Breaches   []Breach      `json:"breaches"`
	LogTail    []string      `json:"log_tail,omitempty"`
	Plan       *Plan         `json:"-"`
	Evidence   *Evidence     `json:"-"`
	Took       time.Duration `json:"-"`
}

func (p *performance) report() *Report {
	e := &p.evidence
	j := &judge{e: e}
	j.all()
	r := &Report{
		Seed: p.plan.Seed, Passed: len(j.breaches) == 0, Seconds: time.Since(p.began).Round(100 * time.Millisecond).Seconds(),
		Store: "sqlite", Jobs: len(e.Jobs), Faults: p.counts, Lives: len(e.Lives), Repeats: j.repeats, RepeatsExplained: j.allowed,
		WorstDelay: j.worst.Round(time.Millisecond).Seconds(), Breaches: j.breaches, Plan: &p.plan, Evidence: e,
	}
	if p.below.db != nil {
		r.Store = "postgres"
	} else if !p.below.disk.mounted {
		r.Skipped = append(r.Skipped, "full disk: no file system of our own could be mounted here (it takes root on Linux)")
	}
	for _, got := range e.Receptions {
		if got.Taken {
			r.Messages++
		} else {
			r.Refused++
		}
	}
	for _, l := range e.Lives {
		if l.Crash != "" && l.Asked == 0 {
			r.CommitPoints = append(r.CommitPoints, l.Crash)
		}
	}
	slices.Sort(r.CommitPoints)
	lost := map[string]bool{}
	for _, b := range j.breaches {
		if b.JobID != "" && (b.Invariant == 1 || b.Invariant == 3) {
			lost[b.JobID] = true
		}
	}
	r.Losses = len(lost)
	if !r.Passed {
		_, r.LogTail, _ = p.log.results()
	}
	return r
}

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) {
	verdict := "every invariant held"
	if !r.Passed {
		verdict = fmt.Sprintf("%d BREACHES", len(r.Breaches))
	}
	fmt.Fprintf(w, "seed %d, %s, %.0f s: %s\n\n", r.Seed, r.Store, r.Seconds, verdict)
	fmt.Fprintf(w, "  jobs                 %d\n", r.Jobs)
	fmt.Fprintf(w, "  messages taken       %d (and %d refused on purpose)\n", r.Messages, r.Refused)
	fmt.Fprintf(w, "  losses               %d\n", r.Losses)
	fmt.Fprintf(w, "  repeats              %d (same webhook-id; the disturbances explain up to %d)\n", r.Repeats, r.RepeatsExplained)
	fmt.Fprintf(w, "  worst delay          %.1f s from a job's end to the last webhook, faults included\n", r.WorstDelay)
	fmt.Fprintf(w, "  lives of the daemon  %d, of which %d ended at a commit point\n\n", r.Lives, len(r.CommitPoints))
	for _, k := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(w, "  %4d × %s\n", r.Faults[k], k)
	}
	if len(r.CommitPoints) > 0 {
		fmt.Fprintf(w, "  %4d × process: SIGKILL at %s\n", len(r.CommitPoints), strings.Join(slices.Compact(slices.Clone(r.CommitPoints)), ", "))
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "  not tried: %s\n", s)
	}
	if len(r.Breaches) > 0 {
		fmt.Fprintln(w)
	}
	for _, b := range r.Breaches {
		fmt.Fprintf(w, "  BREACH  %s\n", b)
	}
}

// WriteJSON prints it for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	if r.Breaches == nil {
		r.Breaches = []Breach{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}

// fetch reads one page of the daemon.
func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	return string(b), err
}
