package watcher

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// still is a policy without chance: jitter in the middle.
func still() Policy {
	p := Policy{Jitter: func() float64 { return 0.5 }}
	if err := p.fill(); err != nil {
		panic(err)
	}
	return p
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// watched is a job tracked an hour before noon.
func watched(change ...func(*job.Watch)) job.Watch {
	w := job.Watch{
		ID: idOf(1), Status: job.InProgress, TrackedAt: job.At(noon.Add(-time.Hour)), StartedAt: job.At(noon.Add(-time.Hour)),
		DeadlineAt: job.At(noon.Add(5 * time.Hour)), AbandonAt: job.At(noon.Add(167 * time.Hour)),
		StatusSince: job.At(noon.Add(-50 * time.Minute)), IntervalMS: 10_000, Polls: 20,
	}
	for _, f := range change {
		f(&w)
	}
	return w
}

func seconds(s float64) job.Instant { return job.At(noon.Add(time.Duration(s * float64(time.Second)))) }

func TestDecide(t *testing.T) {
	t.Parallel()
	zuoras := noon.Add(-3 * time.Second)
	for _, tc := range []struct {
		name string
		w    job.Watch
		seen job.Observation
		err  error
		want Decision
	}{
		{
			name: "unchanged: waits longer and writes nothing",
			w:    watched(), seen: job.Observation{Status: job.InProgress},
			want: Decision{Watch: watched(func(w *job.Watch) {
				w.Polls, w.IntervalMS, w.NextPollAt, w.Cause = 21, 15_000, seconds(15), job.CauseBackoff
			})},
		},
		{
			name: "first look",
			w:    watched(func(w *job.Watch) { w.Status, w.StatusSince, w.IntervalMS, w.Polls = "", 0, 0, 0 }),
			seen: job.Observation{Status: job.Accepted},
			want: Decision{Changed: true, Watch: watched(func(w *job.Watch) {
				w.Status, w.StatusSince, w.Polls, w.IntervalMS = job.Accepted, seconds(0), 1, 1000
				w.NextPollAt, w.Cause = seconds(1), job.CauseBackoff
			})},
		},
		{
			name: "completed: by Zuora's clock",
			w:    watched(), seen: job.Observation{Status: job.Completed, UpdatedAt: zuoras, ServerTime: noon},
			want: Decision{Changed: true, Outcome: job.OutcomeCompleted, FinishedAt: job.At(zuoras), Watch: watched(func(w *job.Watch) {
				w.Polls, w.Status, w.StatusSince = 21, job.Completed, seconds(0)
			})},
		},
		{
			name: "canceled in American spelling, without updatedOn",
			w:    watched(), seen: job.Observation{Status: "Canceled", ServerTime: zuoras},
			want: Decision{Changed: true, Outcome: job.OutcomeCancelled, FinishedAt: job.At(zuoras), Watch: watched(func(w *job.Watch) {
				w.Polls, w.Status, w.StatusSince = 21, job.Cancelled, seconds(0)
			})},
		},
		{
			name: "failed, with an updatedOn from the future",
			w:    watched(), seen: job.Observation{Status: job.Failed, UpdatedAt: noon.Add(time.Hour), ServerTime: noon},
			want: Decision{Changed: true, Outcome: job.OutcomeFailed, FinishedAt: seconds(0), Watch: watched(func(w *job.Watch) {
				w.Polls, w.Status, w.StatusSince = 21, job.Failed, seconds(0)
			})},
		},
		{
			name: "unknown status is kept and watched on",
			w:    watched(), seen: job.Observation{Status: "Simmering"},
			want: Decision{Changed: true, Unknown: true, Watch: watched(func(w *job.Watch) {
				w.Polls, w.Status, w.StatusSince = 21, "Simmering", seconds(0)
				w.IntervalMS, w.NextPollAt, w.Cause = 15_000, seconds(15), job.CauseBackoff
			})},
		},
		{
			name: "no status at all: nothing new",
			w:    watched(), seen: job.Observation{},
			want: Decision{Watch: watched(func(w *job.Watch) {
				w.Polls, w.IntervalMS, w.NextPollAt, w.Cause = 21, 15_000, seconds(15), job.CauseBackoff
			})},
		},
		{
			name: "the next look is placed on the deadline",
			w:    watched(func(w *job.Watch) { w.DeadlineAt = seconds(7) }), seen: job.Observation{Status: job.InProgress},
			want: Decision{Watch: watched(func(w *job.Watch) {
				w.DeadlineAt = seconds(7)
				w.Polls, w.IntervalMS, w.NextPollAt, w.Cause = 21, 15_000, seconds(7), job.CauseDeadline
			})},
		},
		{
			name: "overdue: announced, not failed, watched on slowly",
			w:    watched(func(w *job.Watch) { w.DeadlineAt, w.IntervalMS = seconds(0), 30_000 }), seen: job.Observation{Status: job.InProgress},
			want: Decision{Overdue: true, Watch: watched(func(w *job.Watch) {
				w.DeadlineAt, w.Overdue = seconds(0), true
				w.Polls, w.IntervalMS, w.NextPollAt, w.Cause = 21, 45_000, seconds(45), job.CauseOverdue
			})},
		},
		{
			name: "overdue is announced once",
			w:    watched(func(w *job.Watch) { w.DeadlineAt, w.Overdue, w.IntervalMS = seconds(-9), true, 300_000 }), seen: job.Observation{Status: job.InProgress},
			want: Decision{Watch: watched(func(w *job.Watch) {
				w.DeadlineAt, w.Overdue = seconds(-9), true
				w.Polls, w.IntervalMS, w.NextPollAt, w.Cause = 21, 300_000, seconds(300), job.CauseOverdue
			})},
		},
		{
			name: "ended on the deadline: completed and not overdue",
			w:    watched(func(w *job.Watch) { w.DeadlineAt = seconds(0) }), seen: job.Observation{Status: job.Completed, UpdatedAt: noon},
			want: Decision{Changed: true, Outcome: job.OutcomeCompleted, FinishedAt: seconds(0), Watch: watched(func(w *job.Watch) {
				w.DeadlineAt, w.Polls, w.Status, w.StatusSince = seconds(0), 21, job.Completed, seconds(0)
			})},
		},
		{
			name: "abandoned",
			w:    watched(func(w *job.Watch) { w.AbandonAt, w.Overdue = seconds(0), true }), seen: job.Observation{Status: job.InProgress},
			want: Decision{Outcome: job.OutcomeAbandoned, FinishedAt: seconds(0), Watch: watched(func(w *job.Watch) {
				w.AbandonAt, w.Overdue, w.Polls = seconds(0), true, 21
			})},
		},
		{
			name: "abandoned by the third failed look",
			w:    watched(func(w *job.Watch) { w.AbandonAt, w.Failures = seconds(-1), 2 }), err: &fault{reason: job.ReasonServer},
			want: Decision{
				Outcome: job.OutcomeAbandoned, FinishedAt: seconds(0), Fault: Failing{Reason: job.ReasonServer},
				Watch: watched(func(w *job.Watch) {
					w.AbandonAt, w.Polls, w.Failures, w.Reason, w.Cause = seconds(-1), 21, 3, reasonIndex(job.ReasonServer), job.CauseFailed
				}),
			},
		},
		{
			name: "not abandoned by the first failed look after a long absence",
			w:    watched(func(w *job.Watch) { w.AbandonAt = seconds(-1) }), err: &fault{reason: job.ReasonServer},
			want: Decision{Fault: Failing{Reason: job.ReasonServer}, Watch: watched(func(w *job.Watch) {
				w.AbandonAt, w.Polls, w.Failures, w.Reason, w.Cause = seconds(-1), 21, 1, reasonIndex(job.ReasonServer), job.CauseFailed
				w.NextPollAt = seconds(1)
			})},
		},
		{
			name: "a failed look past the deadline announces nothing",
			w:    watched(func(w *job.Watch) { w.DeadlineAt = seconds(-1) }), err: errors.New("broken pipe"),
			want: Decision{Fault: Failing{Reason: job.ReasonNetwork}, Watch: watched(func(w *job.Watch) {
				w.DeadlineAt = seconds(-1)
				w.Polls, w.Failures, w.Reason, w.Cause, w.NextPollAt = 21, 1, reasonIndex(job.ReasonNetwork), job.CauseFailed, seconds(1)
			})},
		},
		{
			name: "failures back off on their own and leave the interval alone",
			w:    watched(func(w *job.Watch) { w.Failures = 3 }), err: fmt.Errorf("get: %w", context.DeadlineExceeded),
			want: Decision{Fault: Failing{Reason: job.ReasonTimeout}, Watch: watched(func(w *job.Watch) {
				w.Polls, w.Failures, w.Reason, w.Cause, w.NextPollAt = 21, 4, reasonIndex(job.ReasonTimeout), job.CauseFailed, seconds(8)
			})},
		},
		{
			name: "the hint is a floor, past the deadline as well",
			w:    watched(func(w *job.Watch) { w.DeadlineAt = seconds(10) }),
			err:  &fault{reason: job.ReasonRateLimited, after: time.Minute, wide: true},
			want: Decision{
				Fault: Failing{Reason: job.ReasonRateLimited, Hint: time.Minute, TenantWide: true},
				Watch: watched(func(w *job.Watch) {
					w.DeadlineAt = seconds(10)
					w.Polls, w.Failures, w.Reason, w.Cause, w.NextPollAt = 21, 1, reasonIndex(job.ReasonRateLimited), job.CauseTenant, seconds(60)
				}),
			},
		},
		{
			name: "denied for the first time",
			w:    watched(), err: &fault{reason: job.ReasonNotFound},
			want: Decision{Fault: Failing{Reason: job.ReasonNotFound}, Watch: watched(func(w *job.Watch) {
				w.Denied, w.DeniedSince = 1, seconds(0)
				w.Polls, w.Failures, w.Reason, w.Cause, w.NextPollAt = 21, 1, reasonIndex(job.ReasonNotFound), job.CauseDenied, seconds(1)
			})},
		},
		{
			name: "two answers are not enough however long it lasts",
			w:    watched(func(w *job.Watch) { w.Denied, w.DeniedSince = 1, seconds(-3600) }), err: &fault{reason: job.ReasonForbidden},
			want: Decision{Fault: Failing{Reason: job.ReasonForbidden}, Watch: watched(func(w *job.Watch) {
				w.Denied, w.DeniedSince = 2, seconds(-3600)
				w.Polls, w.Failures, w.Reason, w.Cause, w.NextPollAt = 21, 1, reasonIndex(job.ReasonForbidden), job.CauseDenied, seconds(1)
			})},
		},
		{
			name: "many answers are not enough when it is short, and the next look is placed where it is long enough",
			w:    watched(func(w *job.Watch) { w.Denied, w.DeniedSince, w.Failures = 9, seconds(-119), 20 }), err: &fault{reason: job.ReasonForbidden},
			want: Decision{Fault: Failing{Reason: job.ReasonForbidden}, Watch: watched(func(w *job.Watch) {
				w.Denied, w.DeniedSince = 10, seconds(-119)
				w.Polls, w.Failures, w.Reason, w.Cause, w.NextPollAt = 21, 21, reasonIndex(job.ReasonForbidden), job.CauseDenied, seconds(1)
			})},
		},
		{
			name: "lost",
			w:    watched(func(w *job.Watch) { w.Denied, w.DeniedSince = 2, seconds(-120) }), err: &fault{reason: job.ReasonForbidden},
			want: Decision{
				Outcome: job.OutcomeLost, FinishedAt: seconds(0), Fault: Failing{Reason: job.ReasonForbidden},
				Watch: watched(func(w *job.Watch) {
					w.Denied, w.DeniedSince = 3, seconds(-120)
					w.Polls, w.Failures, w.Reason, w.Cause = 21, 1, reasonIndex(job.ReasonForbidden), job.CauseDenied
				}),
			},
		},
		{
			name: "what the whole tenant is refused loses no job",
			w:    watched(func(w *job.Watch) { w.Denied, w.DeniedSince = 2, seconds(-120) }), err: &fault{reason: job.ReasonForbidden, wide: true},
			want: Decision{Fault: Failing{Reason: job.ReasonForbidden, TenantWide: true}, Watch: watched(func(w *job.Watch) {
				w.Denied, w.DeniedSince = 2, seconds(-120)
				w.Polls, w.Failures, w.Reason, w.Cause, w.NextPollAt = 21, 1, reasonIndex(job.ReasonForbidden), job.CauseTenant, seconds(1)
			})},
		},
		{
			name: "an answer ends every run",
			w:    watched(func(w *job.Watch) { w.Denied, w.DeniedSince, w.Failures, w.Reason = 2, seconds(-120), 5, 3 }), seen: job.Observation{Status: job.InProgress},
			want: Decision{Watch: watched(func(w *job.Watch) {
				w.Polls, w.IntervalMS, w.NextPollAt, w.Cause = 21, 15_000, seconds(15), job.CauseBackoff
			})},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := Decide(tc.w, tc.seen, tc.err, noon, still())
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Decision{}, "Took")); diff != "" {
				t.Errorf("decision differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDetectionDelay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		tracked time.Duration // before noon
		updated time.Duration // before Zuora's now
		skew    time.Duration // of Zuora's clock
		server  bool
		want    time.Duration
		ok      bool
	}{
		{"by Zuora's clock", time.Minute, 5 * time.Second, 0, true, 5 * time.Second, true},
		{"our clock is ten minutes late", time.Minute, 5 * time.Second, 10 * time.Minute, true, 5 * time.Second, true},
		{"our clock is ten minutes early", time.Minute, 5 * time.Second, -10 * time.Minute, true, 5 * time.Second, true},
		{"no Date header", time.Minute, 5 * time.Second, 0, false, 0, false},
		{"ended before it was tracked", time.Minute, 2 * time.Minute, 0, true, 0, false},
		{"ended before it was tracked, clocks apart", time.Minute, 2 * time.Minute, 10 * time.Minute, true, 0, false},
		{"Date has whole seconds and may lie before", time.Minute, -500 * time.Millisecond, 0, true, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			zuora := noon.Add(tc.skew)
			w := watched(func(w *job.Watch) { w.TrackedAt = job.At(noon.Add(-tc.tracked)) })
			seen := job.Observation{Status: job.Completed, UpdatedAt: zuora.Add(-tc.updated)}
			if tc.server {
				seen.ServerTime = zuora
			}
			d := Decide(w, seen, nil, noon, still())
			got, ok := detectionDelay(&w, &d, &seen, noon)
			if got != tc.want || ok != tc.ok {
				t.Errorf("got %v, %v; want %v, %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}

func FuzzDecide(f *testing.F) {
	f.Add("in_progress", uint8(0), int64(0), false, int64(3_600_000), int64(600_000_000), int64(0), int32(1000), uint16(0), uint16(0), false, 0.5, int64(0))
	f.Add("Completed", uint8(0), int64(0), false, int64(-1), int64(-1), int64(0), int32(0), uint16(2), uint16(9), true, 0.99, int64(-5))
	f.Add("melting", uint8(6), int64(90_000), true, int64(10), int64(20), int64(-200_000), int32(30_000), uint16(2), uint16(2), false, 0.0, int64(99))
	f.Add("", uint8(7), int64(90_000_000_000), false, int64(0), int64(0), int64(0), int32(-5), uint16(65535), uint16(65535), true, 0.1, int64(0))
	reasons := append([]job.Reason{job.NoReason, "nonsense"}, job.PollReasons()...)
	f.Fuzz(func(t *testing.T, status string, why uint8, hintMS int64, wide bool, deadlineMS, abandonMS, deniedMS int64,
		interval int32, denied, failures uint16, overdue bool, jitter float64, updatedMS int64,
	) {
		if !(jitter >= 0 && jitter < 1) {
			t.Skip()
		}
		const year = int64(365 * 24 * 3600 * 1000)
		bound := func(ms int64) int64 { return ms % (10 * year) }
		p := still()
		p.Randomization, p.Jitter = 1, func() float64 { return jitter }
		now := job.At(noon)
		w := job.Watch{
			ID: idOf(1), Status: job.InProgress, TrackedAt: now - 1000,
			DeadlineAt: now + job.Instant(bound(deadlineMS)), AbandonAt: now + job.Instant(bound(abandonMS)),
			DeniedSince: now - job.Instant(max(bound(deniedMS), 0)), Denied: denied, Failures: failures, IntervalMS: interval, Overdue: overdue,
		}
		seen := job.Observation{Status: job.Status(status), UpdatedAt: noon.Add(time.Duration(bound(updatedMS)) * time.Millisecond), ServerTime: noon}
		var err error
		reason := reasons[int(why)%len(reasons)]
		hint := time.Duration(bound(hintMS)) * time.Millisecond
		if reason != job.NoReason {
			err = &fault{reason: reason, after: hint, wide: wide}
		}
		d := Decide(w, seen, err, noon, p)

		ended := d.Outcome != job.Undecided
		if ended == (d.Watch.NextPollAt != 0) {
			t.Errorf("either an outcome or a next time: %q, %v", d.Outcome, d.Watch.NextPollAt)
		}
		if ended && d.Overdue {
			t.Error("two things announced at once")
		}
		if ended && d.FinishedAt == 0 {
			t.Error("ended, but not at any time")
		}
		if !ended {
			if d.Watch.NextPollAt <= now {
				t.Errorf("next look at %v, which is not after %v", d.Watch.NextPollAt, now)
			}
			if floor := min(hint, maxHint); err != nil && d.Watch.NextPollAt < now.Add(floor) {
				t.Errorf("next look %v after, hint %v", d.Watch.NextPollAt.Sub(now), floor)
			}
			// When nothing asks for more, no wait is longer than the largest interval.
			if limit := max(p.OverdueInterval, p.FailedMaxInterval) + time.Millisecond; (err == nil || hint <= 0) && d.Watch.NextPollAt.Sub(now) > limit {
				t.Errorf("next look only after %v", d.Watch.NextPollAt.Sub(now))
			}
			if d.Watch.NextPollAt > w.AbandonAt && w.AbandonAt > now && (err == nil || hint <= 0) {
				t.Error("the next look is past the moment to abandon")
			}
		}
		folded := job.ParseStatus(status)
		switch {
		case err != nil:
			if d.Watch.Status != w.Status || d.Changed || d.Overdue {
				t.Error("a failed look changed what is known of the job")
			}
			if ended && d.Outcome != job.OutcomeLost && d.Outcome != job.OutcomeAbandoned {
				t.Errorf("a failed look ended the job as %q", d.Outcome)
			}
			if d.Outcome == job.OutcomeLost && (wide || denied < lostAnswers-1 || w.Denied > 0 && now.Sub(w.DeniedSince) < p.LostAfter) {
				t.Error("lost too early")
			}
		case folded.Outcome() != job.Undecided:
			if d.Outcome != folded.Outcome() {
				t.Errorf("%q ended as %q", status, d.Outcome)
			}
		case ended && d.Outcome != job.OutcomeAbandoned:
			t.Errorf("status %q ended the job as %q", status, d.Outcome)
		case d.Outcome == job.OutcomeAbandoned && now < w.AbandonAt:
			t.Error("abandoned too early")
		case !ended && !overdue && now >= w.DeadlineAt && !d.Overdue:
			t.Error("past the deadline and not overdue")
		case d.Overdue && (overdue || now < w.DeadlineAt):
			t.Error("overdue twice or too early")
		}
	})
}
