package watcher

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	closing   = "SELECT sum(amount) FROM invoice WHERE period = '2026-%02d'"
	closeTook = 10 * time.Minute
)

// query is a job of one shape that runs for so long from now on and gives so
// many rows; Zuora's clock is off by skew.
func query(text string, took, skew time.Duration, rows int64) func(time.Time) (job.Observation, error) {
	began := time.Now()
	return func(at time.Time) (job.Observation, error) {
		o := job.Observation{
			Status: job.InProgress, Query: text, SourceData: "LIVE",
			CreatedAt: began.Add(skew), UpdatedAt: began.Add(skew), ServerTime: at.Add(skew),
		}
		if at.Sub(began) >= took {
			o.Status, o.UpdatedAt, o.OutputRows, o.ProcessingTime = job.Completed, began.Add(skew).Add(took), &rows, &took
		}
		return o, nil
	}
}

// teach lets n runs of the query end, each of about closeTook.
func (b *bench) teach(w *Watcher, n int, skew time.Duration) {
	b.t.Helper()
	ids := make([]job.ID, n)
	for i := range ids {
		ids[i] = idOf(1000 + i)
		b.up.set(ids[i], query(strings.ReplaceAll(closing, "%02d", ids[i].String()[:2]), closeTook+time.Duration(i%7)*time.Second, skew, 1000+int64(i)))
	}
	b.track(w, ids...)
	b.pass(closeTook + time.Hour)
}

func TestAQueryThatIsKnownIsLookedAtWhenItLikelyEnds(t *testing.T) {
	for _, skew := range []time.Duration{0, 10 * time.Minute, -10 * time.Minute} {
		bubble(t, func(t *testing.T, b *bench) {
			w, _ := b.start()
			b.teach(w, 40, skew)
			for _, r := range b.store.jobs {
				if r.job.Took < closeTook || r.job.Took > closeTook+8*time.Second {
					t.Fatalf("a run of %s is remembered as %s (clocks differ by %s)", closeTook, r.job.Took, skew)
				}
			}
			cold := len(b.up.looks(idOf(1000)))

			id := idOf(1)
			b.up.set(id, query(strings.ReplaceAll(closing, "%02d", "11"), closeTook+3*time.Second, skew, 1003))
			b.track(w, id)
			b.pass(time.Minute)
			why, _ := w.Explain(id)
			live, _ := w.Live(id)
			if !strings.Contains(why.Why, "40 past runs of queries like it") {
				t.Errorf("explain says: %s", why.Why)
			}
			if left := time.Until(live.ETA.Time()); left < closeTook-70*time.Second || left > closeTook {
				t.Errorf("a minute after it began it is foretold to end in %s", left)
			}
			b.pass(closeTook)
			j := b.store.job(id)
			if j.Outcome != job.OutcomeCompleted {
				t.Fatalf("not seen to end within a minute: %+v", j)
			}
			looks := b.up.looks(id)
			if len(looks)*2 > cold {
				t.Errorf("%d looks with a history, %d without", len(looks), cold)
			}
			if late := looks[len(looks)-1].Add(skew).Sub(j.FinishedAt.Time()); late < 0 || late > 15*time.Second {
				t.Errorf("seen %s after its end, by Zuora's clock", late)
			}
		})
	}
}

func TestAJobThatWillPassItsDeadlineIsSeenComing(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		w, _ := b.start(func(o *Options) { o.Policy.WarnEarly = true })
		b.teach(w, 40, 0)
		soon, later := idOf(1), idOf(2)
		for _, id := range []job.ID{soon, later} {
			b.up.set(id, query(closing, closeTook, 0, 1000))
		}
		specs := []job.Spec{{ID: soon, Deadline: 5 * time.Minute}, {ID: later, Deadline: time.Hour}}
		if _, err := w.Track(t.Context(), specs, job.SourceAPI); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Minute)
		_, late := w.Watched()
		if late.Expected != 1 || late.Overdue != 0 || late.LastEnd.IsZero() {
			t.Errorf("a minute after the start: %+v, want one job that will be late", late)
		}
		if got := b.announced(soon); len(got) != 1 || got[0] != "overdue_expected" {
			t.Errorf("announced before the deadline: %v", got)
		}
		b.pass(closeTook)
		if got := b.announced(soon); strings.Join(got, " ") != "completed overdue overdue_expected" {
			t.Errorf("announced in all: %v", got)
		}
		if got := b.announced(later); strings.Join(got, " ") != "completed" {
			t.Errorf("announced about the job in time: %v", got)
		}
		kinds := map[string]int{}
		for _, c := range b.store.job(soon).History {
			kinds[c.Kind]++
		}
		if kinds[job.KindWarned] != 1 || b.logged(zapcore.InfoLevel, "will likely become overdue") != 1 {
			t.Errorf("history: %v", kinds)
		}
	})
}

func TestNothingIsSaidBeforehandUnlessAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		w, _ := b.start()
		b.teach(w, 40, 0)
		b.up.set(idOf(1), query(closing, closeTook, 0, 1000))
		if _, err := w.Track(t.Context(), []job.Spec{{ID: idOf(1), Deadline: 5 * time.Minute}}, job.SourceAPI); err != nil {
			t.Fatal(err)
		}
		b.pass(2 * time.Minute)
		if got := b.announced(idOf(1)); len(got) != 0 {
			t.Errorf("announced: %v", got)
		}
	})
}

// anomalies are those that the event of a finished job carries.
func (b *bench) anomalies(id job.ID) []string {
	b.t.Helper()
	for _, e := range b.store.announced() {
		if e.JobID != id {
			continue
		}
		var data struct {
			Job job.View `json:"job"`
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			b.t.Fatal(err)
		}
		return data.Job.Anomaly
	}
	b.t.Fatal("nothing was announced")
	return nil
}

func TestUnusualResultsAreFlagged(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		w, _ := b.start()
		// Without a history only an empty result is unusual.
		b.up.set(idOf(1), query(closing, time.Second, 0, 0))
		b.up.set(idOf(2), query(closing, time.Hour, 0, 1_000_000))
		b.track(w, idOf(1), idOf(2))
		b.pass(2 * time.Hour)
		b.teach(w, 40, 0)
		b.up.set(idOf(3), query(closing, closeTook, 0, 0))
		b.up.set(idOf(4), query(closing, 2*time.Second, 0, 90_000))
		b.up.set(idOf(5), query(closing, closeTook, 0, 1001))
		b.track(w, idOf(3), idOf(4), idOf(5))
		b.pass(time.Hour)
		for n, want := range map[int]string{1: "no_rows", 2: "", 3: "no_rows", 4: "many_rows fast", 5: ""} {
			if got := strings.Join(b.anomalies(idOf(n)), " "); got != want {
				t.Errorf("job %d: flagged %q, want %q", n, got, want)
			}
		}
	})
}

// A store that cannot tell the past leaves the backoff in force, and nothing
// waits for it.
func TestWithoutHistoriesTheBackoffGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.store.fault = func(op string) (error, bool) {
			if op == "runs" {
				return errors.New("no past"), false
			}
			return nil, false
		}
		w, _ := b.start()
		b.teach(w, 40, 0)
		b.up.set(idOf(1), query(closing, closeTook, 0, 1000))
		b.track(w, idOf(1))
		b.pass(closeTook + time.Minute)
		if got := b.announced(idOf(1)); strings.Join(got, " ") != "completed" {
			t.Errorf("announced: %v", got)
		}
		if n := len(b.up.looks(idOf(1))); n < 20 {
			t.Errorf("%d looks in %s", n, closeTook)
		}
	})
}

// However many shapes there are, what is kept of them is bounded, and those in
// use stay.
func TestHistoriesAreBounded(t *testing.T) {
	t.Parallel()
	h := newHistories()
	now := noon
	for s := job.Shape(1); s <= 2*mostShapes; s++ {
		h.of(s, now)
		now = now.Add(time.Second)
	}
	if len(h.known) != mostShapes {
		t.Errorf("%d histories are kept", len(h.known))
	}
	h.of(2*mostShapes, now)
	if h.known[2*mostShapes] == nil {
		t.Error("the newest is not kept")
	}
	for range 10 {
		h.of(2*mostShapes, now)
	}
	asked := 0
	for {
		s, ok := h.next()
		if !ok {
			break
		}
		if s == 2*mostShapes {
			asked++
		}
		h.put(s, nil, now.Add(time.Hour))
	}
	if asked != 1 {
		t.Errorf("one shape is read %d times", asked)
	}
}
