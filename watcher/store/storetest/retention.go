package storetest

import (
	"errors"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func retentionDeletesWhatIsOldAndOwesNothing(w *world) {
	w.track("one", 1, 6)
	w.commit("one", w.ended(1), w.ended(2, "loader"), w.ended(3, "slack"))
	out := w.claim("one", "loader", 1)[0]
	w.settle("one", job.Settlement{DeliveryID: out.ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: w.at(), Code: 200}})
	w.pass(time.Hour)
	w.commit("one", w.ended(4))
	before := job.At(w.now.Add(-time.Minute))
	first, err := w.Purge(w.ctx(), before, 1)
	w.must(err)
	second, err := w.Purge(w.ctx(), before, 10)
	w.must(err)
	third, err := w.Purge(w.ctx(), before, 10)
	w.must(err)
	if first != 1 || second != 1 || third != 0 {
		w.Errorf("purged %d, %d, %d; want 1, 1 and then nothing", first, second, third)
	}
	for n, want := range map[int]bool{1: false, 2: false, 3: true, 4: true, 5: true} {
		if _, err := w.Job(w.ctx(), tenant, id(n)); (err == nil) != want {
			w.Errorf("job %d: got %v, want it kept: %v", n, err, want)
		}
	}
	if _, err := w.Delivery(w.ctx(), out.ID); !errors.Is(err, job.ErrNotFound) {
		w.Errorf("delivery of a purged job: got %v, want ErrNotFound", err)
	}
}

func jobForgottenByRetentionCanBeTrackedAnew(w *world) {
	w.track("one", 1, 2)
	w.commit("one", w.ended(1))
	w.pass(time.Hour)
	_, err := w.Purge(w.ctx(), w.at(), 10)
	w.must(err)
	fresh, err := w.Track(w.ctx(), "one", []job.Tracking{w.tracking(1)})
	w.must(err)
	if !fresh[0] || w.job(1).State != job.Watching {
		w.Errorf("tracked anew: %v", fresh)
	}
}
