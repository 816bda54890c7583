package storetest

import (
	"testing"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
)

// CheckInvariants walks a whole database after a scenario: ids are derived as
// they must be, what is finished has an outcome and is no longer watched, what
// waits has a time, what is delivered has an attempt that says so.
func CheckInvariants(t *testing.T, s *store.Store, tenant string) {
	t.Helper()
	for f := (job.Filter{Tenant: tenant, Limit: 1000}); ; {
		jobs, next, err := s.ListJobs(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for i := range jobs {
			checkJob(t, &jobs[i])
		}
		if f.Cursor = next; next == "" {
			break
		}
	}
	for f := (job.DeliveryFilter{Limit: 1000}); ; {
		ds, next, err := s.Deliveries(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ds {
			checkDelivery(t, &ds[i])
		}
		if f.Cursor = next; next == "" {
			break
		}
	}
}

func checkJob(t *testing.T, j *job.Job) {
	t.Helper()
	finished := j.State == job.Finished
	switch {
	case finished != (j.Outcome != job.Undecided):
		t.Errorf("job %s: state %s with outcome %q", j.ID, j.State, j.Outcome)
	case finished && (j.NextPollAt != 0 || j.DetectedAt == 0):
		t.Errorf("job %s: finished, next poll %s, detected %s", j.ID, j.NextPollAt, j.DetectedAt)
	case finished && j.Status.Outcome() != job.Undecided && j.Status.Outcome() != j.Outcome:
		t.Errorf("job %s: status %s with outcome %s", j.ID, j.Status, j.Outcome)
	case len(j.History) == 0 || j.History[0].Kind != job.KindTracked:
		t.Errorf("job %s: history does not begin with tracking: %+v", j.ID, j.History)
	}
}

func checkDelivery(t *testing.T, d *job.Delivery) {
	t.Helper()
	if want := job.DeliveryID(d.EventID, d.Destination); d.ID != want {
		t.Errorf("delivery %s of %s to %s: id should be %s", d.ID, d.EventID, d.Destination, want)
	}
	if d.JobID != (job.ID{}) && d.EventType != job.EventDeliveryExhausted {
		if want := job.EventID(d.Tenant, d.JobID.String(), d.EventType); d.EventID != want {
			t.Errorf("delivery %s: event id %s should be %s", d.ID, d.EventID, want)
		}
	}
	last := job.NoReason
	for i, a := range d.Attempts {
		if a.N != i+1 {
			t.Errorf("delivery %s: attempt %d is numbered %d", d.ID, i+1, a.N)
		}
		last = a.Reason
	}
	switch d.State {
	case job.DeliveryDelivered:
		if len(d.Attempts) == 0 || last != job.NoReason {
			t.Errorf("delivery %s: delivered, and its last attempt says %q (%d attempts)", d.ID, last, len(d.Attempts))
		}
	case job.DeliveryExhausted:
		if len(d.Attempts) == 0 || last == job.NoReason {
			t.Errorf("delivery %s: exhausted, and its last attempt says %q (%d attempts)", d.ID, last, len(d.Attempts))
		}
	case job.DeliveryPending:
		if d.NextAttemptAt == 0 {
			t.Errorf("delivery %s: pending without a time", d.ID)
		}
	case job.DeliverySending, job.DeliveryHeld:
	}
}
