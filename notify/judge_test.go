package notify

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) job.Instant { return job.At(noon.Add(d)) }

func TestJudge(t *testing.T) {
	t.Parallel()
	p := Policy{}.complete()
	for name, c := range map[string]struct {
		tries  int
		reason job.Reason
		after  time.Duration
		want   Verdict
	}{
		"delivered":                          {1, job.NoReason, 0, Verdict{State: job.DeliveryDelivered}},
		"first failure":                      {1, job.ReasonServer, 0, Verdict{State: job.DeliveryPending, NextAt: at(5 * time.Second)}},
		"second failure":                     {2, job.ReasonTimeout, 0, Verdict{State: job.DeliveryPending, NextAt: at(55 * time.Second)}},
		"third failure":                      {3, job.ReasonNetwork, 0, Verdict{State: job.DeliveryPending, NextAt: at(4 * time.Minute)}},
		"last but one":                       {10, job.ReasonServer, 0, Verdict{State: job.DeliveryPending, NextAt: at(4 * time.Hour)}},
		"last":                               {11, job.ReasonServer, 0, Verdict{State: job.DeliveryExhausted}},
		"beyond the last":                    {50, job.ReasonServer, 0, Verdict{State: job.DeliveryExhausted}},
		"gone holds and pauses":              {1, job.ReasonGone, 0, Verdict{State: job.DeliveryHeld, Gone: true}},
		"gone at the last attempt as well":   {11, job.ReasonGone, 0, Verdict{State: job.DeliveryHeld, Gone: true}},
		"Retry-After is a floor":             {1, job.ReasonRateLimited, time.Minute, Verdict{State: job.DeliveryPending, NextAt: at(time.Minute), NotBefore: at(time.Minute)}},
		"Retry-After shorter than the wait":  {3, job.ReasonServer, time.Second, Verdict{State: job.DeliveryPending, NextAt: at(4 * time.Minute), NotBefore: at(time.Second)}},
		"Retry-After is clamped":             {1, job.ReasonServer, 100 * time.Hour, Verdict{State: job.DeliveryPending, NextAt: at(24 * time.Hour), NotBefore: at(24 * time.Hour), Clamped: true}},
		"Retry-After with the last attempt":  {11, job.ReasonServer, time.Minute, Verdict{State: job.DeliveryExhausted, NotBefore: at(time.Minute)}},
		"a rejected event is tried like any": {1, job.ReasonRejected, 0, Verdict{State: job.DeliveryPending, NextAt: at(5 * time.Second)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Judge(c.tries, c.reason, c.after, noon, p)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScheduleEndsADayAfterTheFirstAttempt(t *testing.T) {
	t.Parallel()
	p := Policy{}.complete()
	now, tries := noon, 1
	for ; ; tries++ {
		v := Judge(tries, job.ReasonServer, 0, now, p)
		if v.State == job.DeliveryExhausted {
			break
		}
		now = v.NextAt.Time()
	}
	if tries != 11 || now.Sub(noon) != 24*time.Hour {
		t.Errorf("got %d attempts over %s, want 11 over 24h (contract section 6)", tries, now.Sub(noon))
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(1, "server", int64(0), 0.5)
	f.Add(11, "gone", int64(time.Hour), 0.0)
	f.Add(-5, "", int64(-1), 0.999)
	f.Fuzz(func(t *testing.T, tries int, reason string, after int64, jitter float64) {
		if !(jitter >= 0 && jitter < 1) {
			t.Skip("not a jitter")
		}
		p := Policy{Jitter: func() float64 { return jitter }}.complete()
		v := Judge(tries, job.Reason(reason), time.Duration(after), noon, p)
		now := job.At(noon)
		switch {
		case (v.State == job.DeliveryDelivered) != (reason == ""):
			t.Errorf("delivered if and only if nothing failed: %+v", v)
		case v.State == job.DeliveryPending && (v.NextAt <= now || v.NextAt < v.NotBefore):
			t.Errorf("pending without a time, or one before the receiver's own: %+v", v)
		case v.State != job.DeliveryPending && v.NextAt != 0:
			t.Errorf("a time for what is not tried again: %+v", v)
		case v.NotBefore > now.Add(p.MaxRetryAfter):
			t.Errorf("the receiver stops us for longer than we allow: %+v", v)
		case v.NextAt > now.Add(2*p.MaxRetryAfter):
			t.Errorf("the next attempt is days away: %+v", v)
		}
	})
}
