package watcher

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
)

// These run the loop on the real store, a SQLite file, in virtual time.

func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func onStore(s *store.Store) func(*Options) {
	// A slow heartbeat: a virtual week of them is 60,000 real transactions.
	return func(o *Options) { o.Store, o.Ownership, o.Alone, o.Lease = s, s, true, 3*time.Hour }
}

func TestOnSQLiteJobsAreWatchedOverRestartsAndAnnouncedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, store: newMemory(t), up: newTenant(t)}
		defer b.stop()
		path := filepath.Join(t.TempDir(), "jobs.db")
		short, long, gone, never := idOf(1), idOf(2), idOf(3), idOf(4)
		began := time.Now()
		b.up.set(short, runs(began.Add(5*time.Second)))
		b.up.set(long, runs(began.Add(7*time.Hour)))
		b.up.set(gone, fails(&fault{reason: job.ReasonForbidden}))
		b.up.set(never, always(job.InProgress))

		s := openStore(t, path)
		w, stop := b.start(onStore(s))
		b.track(w, short, long, gone, never)
		// A restart every hour for a day, then a week in one piece.
		for range 24 {
			b.pass(time.Hour)
			stop()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, path)
			_, stop = b.start(onStore(s))
		}
		b.pass(168 * time.Hour)
		stop()
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()

		for id, want := range map[job.ID]struct {
			outcome job.Outcome
			overdue bool
			kinds   []string
			at      time.Duration
		}{
			short: {job.OutcomeCompleted, false, []string{job.KindTracked, job.KindStatus, job.KindFinished}, 5 * time.Second},
			long:  {job.OutcomeCompleted, true, []string{job.KindTracked, job.KindStatus, job.KindOverdue, job.KindFinished}, 7 * time.Hour},
			gone:  {job.OutcomeLost, false, []string{job.KindTracked, job.KindFinished}, 2 * time.Minute},
			never: {job.OutcomeAbandoned, true, []string{job.KindTracked, job.KindStatus, job.KindOverdue, job.KindFinished}, 168 * time.Hour},
		} {
			j, err := s.Job(t.Context(), "acme", id)
			if err != nil {
				t.Fatal(err)
			}
			kinds := make([]string, 0, len(j.History))
			for _, h := range j.History {
				kinds = append(kinds, h.Kind)
			}
			if diff := cmp.Diff(want.kinds, kinds); diff != "" {
				t.Errorf("job %s: history: %s", id, diff)
			}
			if j.State != job.Finished || j.Outcome != want.outcome || j.Overdue != want.overdue || j.FinishedAt != job.At(began.Add(want.at)) {
				t.Errorf("job %s: %s, overdue %v, finished %v after the start; want %+v", id, j.Outcome, j.Overdue, j.FinishedAt.Sub(job.At(began)), want)
			}
			events := int64(1)
			if want.overdue {
				events = 2
			}
			if j.Deliveries.Pending != 2*events {
				t.Errorf("job %s: %d deliveries owed, want %d", id, j.Deliveries.Pending, 2*events)
			}
		}
	})
}

func TestOnSQLiteTheEventShowsTheJobAsItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, store: newMemory(t), up: newTenant(t)}
		defer b.stop()
		s := openStore(t, filepath.Join(t.TempDir(), "jobs.db"))
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		id := idOf(1)
		b.up.set(id, runs(time.Now().Add(time.Minute)))
		w, stop := b.start(onStore(s))
		_, err := w.Track(t.Context(), []job.Spec{{ID: id, Labels: job.Labels{"team": "finance"}}}, job.SourceAPI)
		if err != nil {
			t.Fatal(err)
		}
		b.pass(5 * time.Minute)
		claimed, _, err := s.ClaimDeliveries(t.Context(), w.Replica(), "ledger", 10)
		if err != nil || len(claimed) != 1 {
			t.Fatalf("claimed %v, %v", claimed, err)
		}
		stop()
		var data struct {
			Job job.View `json:"job"`
		}
		if err := json.Unmarshal(claimed[0].Event.Data, &data); err != nil {
			t.Fatal(err)
		}
		j, err := s.Job(t.Context(), "acme", id)
		if err != nil {
			t.Fatal(err)
		}
		j.Deliveries = job.DeliveryCounts{Pending: 2}
		if diff := cmp.Diff(j.View(), data.Job); diff != "" {
			t.Errorf("the event shows another job than the store (-stored +event):\n%s", diff)
		}
	})
}
