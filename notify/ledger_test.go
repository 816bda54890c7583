package notify_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// ledger is the attempts at the only delivery of a destination.
func (h *house) ledger(destination string) []job.Attempt {
	h.t.Helper()
	ds, _, err := h.store.Deliveries(h.t.Context(), job.DeliveryFilter{Destination: destination})
	if err != nil || len(ds) != 1 {
		h.t.Fatalf("deliveries: %+v, %v", ds, err)
	}
	return ds[0].Attempts
}

func TestRetryAfterThatIsTooLongIsCutAndLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{answer: func(_ context.Context, n int, _ []job.Outgoing) (notify.Answer, error) {
			if n == 1 {
				return refuse(429, 1000*time.Hour)
			}
			return notify.Answer{Code: 200}, nil
		}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a})
		defer h.close()
		h.finish(1)
		pass(time.Second)
		lines := h.logs.FilterMessageSnippet("asks to wait 1000h0m0s").All()
		if len(lines) != 1 || lines[0].ContextMap()["reason"] != "rate_limited" || lines[0].ContextMap()["next_at"] == "" {
			t.Errorf("log: %+v", lines)
		}
		if next := h.ledger("a")[0].NextAt.Sub(job.At(time.Now())); next > 24*time.Hour || next < 23*time.Hour {
			t.Errorf("next try in %s, want a day", next)
		}
		pass(25 * time.Hour)
		if n, _ := a.taken(); n != 1 {
			t.Error("not delivered after a day")
		}
	})
}

func TestSendersNoteIsLoggedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{answer: func(context.Context, int, []job.Outgoing) (notify.Answer, error) {
			return notify.Answer{Code: 200, Head: "ok", Key: "loader#1 5f3a91c2", Note: "the template failed"}, nil
		}}
		h := newHouse(t, nil, notify.Policy{}, map[string]*receiver{"a": a})
		defer h.close()
		h.finish(1)
		pass(time.Second)
		got := h.ledger("a")[0]
		if !strings.Contains(got.Answer, "ok [the template failed]") || got.Key != "loader#1 5f3a91c2" || got.Reason != job.NoReason {
			t.Errorf("ledger: %+v", got)
		}
		if n := h.logs.FilterMessage("the template failed").Len(); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}
