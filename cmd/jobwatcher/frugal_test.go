package main

import (
	"context"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/zuora"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

var frugalSpan = flag.Duration("frugal.span", 3*time.Hour, "virtual time of the frugality test")

// day is what came of a while with a tenant in which 60 jobs run all the time,
// 15 live and 45 warehouse, the most that one can have unfinished.
type day struct {
	calls, gets, lists int64
	tooMany            int64 // 429s of our own making
	delays             []time.Duration
}

func (d *day) quantile(q float64) time.Duration {
	return d.delays[min(int(q*float64(len(d.delays))), len(d.delays)-1)]
}

// spend runs it in virtual time: an API sandbox with 10,000 calls a day, of
// which other clients spend half.
func spend(t testing.TB, span time.Duration, mode watcher.Mode) (d day) {
	tenant := zuorasim.New(zuorasim.Options{Seed: 1, Plan: zuorasim.APISandbox(), Others: 5000.0 / (24 * 60)})
	kept, err := store.Open(t.Context(), "sqlite::memory:", store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kept.Close() }()
	var w *watcher.Watcher
	up, err := zuora.New(zuora.Options{
		BaseURL: "https://rest.zuora.example", ClientID: zuorasim.DefaultClientID, ClientSecret: secret.Fixed(secret.New(zuorasim.DefaultClientSecret)),
		Transport: tenant.Transport(), OnWindows: func(all []zuora.Window) {
			told := make([]job.BudgetWindow, len(all))
			for i, one := range all {
				told[i] = job.BudgetWindow{Span: one.Span, Limit: one.Limit, Remaining: one.Remaining, Reset: one.Reset}
			}
			w.Windows(told)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	w, err = watcher.New(watcher.Options{
		Tenant: "sandbox", Upstream: up, Store: kept, Ownership: kept, Alone: true, BudgetStore: kept,
		Mode: mode, Budget: watcher.BudgetPolicy{Share: 0.5}, Policy: watcher.Policy{Randomization: 0.1},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running, people sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	until, cancelPeople := context.WithTimeout(ctx, span)
	defer cancelPeople()
	var mu sync.Mutex
	for slot := range 60 {
		people.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(slot), 7))
			for until.Err() == nil {
				// Log-normal around twelve minutes: some end within seconds, some
				// take hours.
				runs := time.Duration(float64(12*time.Minute) * math.Exp(1.2*dice.NormFloat64()))
				spec := zuorasim.Spec{RunTime: max(runs, time.Second), Outcome: job.Completed, Unlimited: true}
				if slot >= 15 {
					spec.Source = "WAREHOUSE"
				}
				id, began := tenant.Submit(spec), time.Now()
				ended, forget := w.Ended(id)
				if _, err := w.Track(until, []job.Spec{{ID: id}}, job.SourceAPI); err != nil {
					forget()
					return
				}
				select {
				case <-ended:
					mu.Lock()
					d.delays = append(d.delays, time.Since(began)-spec.RunTime)
					mu.Unlock()
				case <-until.Done():
				}
				forget()
			}
		})
	}
	people.Wait()
	cancel()
	running.Wait()
	stats := tenant.Stats()
	d.gets, d.lists, d.tooMany = tenant.Count(zuorasim.EndpointGet), tenant.Count(zuorasim.EndpointList), stats.TooMany()
	d.calls = d.gets + d.lists
	slices.Sort(d.delays)
	return d
}

// Proof of issue 4: an API sandbox's limits, others who spend half of them, 60
// jobs that run all the time: no 429 of our own making, and at least ten times
// fewer calls than one GET each at the same median delay. With
// -frugal.span=24h it is a whole day.
func TestSixtyJobsInASandboxCostATenthOfPollingEach(t *testing.T) {
	t.Parallel()
	span := *frugalSpan
	synctest.Test(t, func(t *testing.T) {
		d := spend(t, span, watcher.ModeAuto)
		polling := d.pollingEach(span)
		t.Logf("%d calls (%d lists), %d jobs, delay p50 %s p95 %s, polling each at that delay: %.0f calls",
			d.calls, d.lists, len(d.delays), d.quantile(0.5), d.quantile(0.95), polling)
		if d.tooMany != 0 {
			t.Errorf("%d answers of 429 that we brought upon ourselves", d.tooMany)
		}
		if float64(d.calls)*10 > polling || len(d.delays) < 200 {
			t.Errorf("%d calls for %d jobs, polling each costs %.0f: want a tenth", d.calls, len(d.delays), polling)
		}
		// Ours of the day's 10,000: a quarter at once, the rest evenly, and the eight
		// that may be in the air before the first answer has told the limits.
		if ours := 5000 * (0.25 + 0.75*span.Hours()/24); float64(d.calls) > ours+8 {
			t.Errorf("%d calls, ours are %.0f", d.calls, ours)
		}
	})
}

// pollingEach is how many calls fixed polling of 60 jobs takes for the same
// median delay, which is half of its interval.
func (d *day) pollingEach(span time.Duration) float64 {
	return 60 * span.Seconds() / (2 * d.quantile(0.5).Seconds())
}
