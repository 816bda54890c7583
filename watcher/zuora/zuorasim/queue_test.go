package zuorasim

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func (s *sim) statuses() map[string]int64 {
	all := s.Stats().Jobs
	for k, n := range all {
		if n == 0 {
			delete(all, k)
		}
	}
	return all
}

func TestFiveRunTenWaitAndTheNextIsRefused(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{RunTime: Fixed(time.Minute)})
	for i := range 15 {
		if r := s.submit(submission); r.StatusCode != http.StatusOK {
			t.Fatalf("submit %d: %d %s", i, r.StatusCode, r.body)
		}
	}
	if r := s.submit(submission); r.StatusCode != http.StatusBadRequest {
		t.Errorf("the sixteenth: got %d %s", r.StatusCode, r.body)
	}
	if diff := cmp.Diff(map[string]int64{"in_progress": 5, "accepted": 10}, s.statuses()); diff != "" {
		t.Error(diff)
	}
	// The other source has places of its own.
	wide := `{"compression":"NONE","output":{"target":"S3"},"outputFormat":"CSV","query":"SELECT 1","sourceData":"WAREHOUSE"}`
	for i := range 46 {
		if got, want := s.submit(wide).StatusCode == http.StatusOK, i < 45; got != want {
			t.Errorf("warehouse submit %d: got %v, want %v", i, got, want)
		}
	}
	s.clock.pass(time.Minute)
	if diff := cmp.Diff(map[string]int64{"in_progress": 20, "accepted": 20, "completed": 20}, s.statuses()); diff != "" {
		t.Error(diff)
	}
	if r := s.submit(submission); r.StatusCode != http.StatusOK {
		t.Errorf("after a minute: got %d %s", r.StatusCode, r.body)
	}
}

// The same work looked at once a second and looked at once in the end must have
// had the same story.
func TestThingsHappenAtTheirOwnTimes(t *testing.T) {
	t.Parallel()
	story := func(every time.Duration) []string {
		s := newSim(t, Options{Seed: 7, StartAfter: 300 * time.Millisecond, AcceptAfter: time.Second, FailRatio: 0.2})
		for range 30 {
			s.Submit(Spec{})
		}
		for passed := time.Duration(0); passed < time.Hour; passed += every {
			s.clock.pass(every)
			s.Stats()
		}
		var all []string
		for _, j := range s.Jobs() {
			all = append(all, fmt.Sprint(j.ID, j.Status, j.StartedAt, j.EndedAt, j.UpdatedOn))
		}
		return all
	}
	if diff := cmp.Diff(story(time.Hour), story(time.Second)); diff != "" {
		t.Error(diff)
	}
}

func TestAJobRunsThroughItsStates(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{AcceptAfter: time.Second, StartAfter: 2 * time.Second})
	done := s.Submit(Spec{RunTime: 9212 * time.Millisecond, Rows: new(int64(24516))})
	broken := s.Submit(Spec{RunTime: 1500 * time.Millisecond, Outcome: job.Failed, Error: "Table owl.data.x does not exist"})
	odd := s.Submit(Spec{RunTime: time.Second, Outcome: "archived"})
	type seen struct {
		At     time.Duration
		Status job.Status
	}
	var got []seen
	for _, ms := range []int{0, 999, 1000, 2999, 3000, 12211, 12212, 60000} {
		at := time.Duration(ms) * time.Millisecond
		s.clock.pass(at - s.clock.Now().Sub(newClock().now))
		got = append(got, seen{at, s.poll(done).QueryStatus})
	}
	want := []seen{
		{0, job.Submitted},
		{999 * time.Millisecond, job.Submitted},
		{time.Second, job.Accepted},
		{2999 * time.Millisecond, job.Accepted},
		{3 * time.Second, job.InProgress},
		{12211 * time.Millisecond, job.InProgress},
		{12212 * time.Millisecond, job.Completed},
		{time.Minute, job.Completed},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	w := s.poll(done)
	if w.OutputRows == nil || *w.OutputRows != 24516 || w.ProcessingTime == nil || *w.ProcessingTime != 9212 || w.DataFile == "" {
		t.Errorf("completed: got %+v", w)
	}
	if got, want := w.UpdatedOn, "2026-01-05T12:00:12.212Z"; got != want {
		t.Errorf("updatedOn: got %s, want %s", got, want)
	}
	w = s.poll(broken)
	if w.ErrorMessage != "Table owl.data.x does not exist" || w.OutputRows != nil || w.ProcessingTime != nil || w.DataFile != "" {
		t.Errorf("failed: got %+v", w)
	}
	if got := s.raw().poll(odd).QueryStatus; got != "archived" {
		t.Errorf("got %q", got)
	}
}

func TestCancelFreesTheSlot(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Live: Queue{Running: 1, Queued: 2}})
	running, waiting, last := s.Submit(Spec{Forever: true}), s.Submit(Spec{Forever: true}), s.Submit(Spec{RunTime: time.Second})
	cancel := func(id job.ID) int { return s.do("DELETE", jobsPath+"/"+id.String(), "").StatusCode }
	s.clock.pass(time.Second)
	if got := cancel(waiting); got != 200 {
		t.Errorf("cancel accepted: got %d", got)
	}
	if got := cancel(running); got != 200 {
		t.Errorf("cancel in_progress: got %d", got)
	}
	if got := cancel(running); got != 400 {
		t.Errorf("cancel cancelled: got %d", got)
	}
	s.clock.pass(time.Second)
	got := []job.Status{s.poll(running).QueryStatus, s.poll(waiting).QueryStatus, s.poll(last).QueryStatus}
	if diff := cmp.Diff([]job.Status{job.Cancelled, job.Cancelled, job.Completed}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSubmittedCannotBeCancelled(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{AcceptAfter: time.Minute})
	id := s.Submit(Spec{})
	if got := s.do("DELETE", jobsPath+"/"+id.String(), "").StatusCode; got != 400 {
		t.Errorf("got %d, want 400", got)
	}
}

func TestRetriesCountDown(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{BearerToken: "t", RunTime: Fixed(5 * time.Hour)})
	s.token = "t"
	long, asked := s.Submit(Spec{}), s.Submit(Spec{RunTime: 3 * time.Minute, Retries: 2})
	var got []int
	for range 4 {
		got = append(got, s.poll(asked).RemainingRetries)
		s.clock.pass(time.Minute)
	}
	if diff := cmp.Diff([]int{3, 2, 1, 1}, got); diff != "" {
		t.Error(diff)
	}
	if got := s.poll(asked).QueryStatus; got != job.Completed {
		t.Errorf("got %s", got)
	}
	s.clock.pass(4*time.Hour - 4*time.Minute - time.Second)
	if w := s.poll(long); w.QueryStatus != job.InProgress || w.RemainingRetries != 0 {
		t.Errorf("just before four hours: got %+v", w)
	}
	s.clock.pass(time.Second)
	if w := s.poll(long); w.QueryStatus != job.Failed || w.ErrorMessage != timeLimitText {
		t.Errorf("after four hours: got %+v", w)
	}
}

func TestOldJobsAreErased(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{BearerToken: "t"})
	s.token = "t"
	s.Put(Job{ID: sampleID, Status: job.InProgress, CreatedAt: s.clock.Now().Add(-90 * day)})
	id := s.Submit(Spec{RunTime: time.Second})
	s.clock.pass(30 * day)
	if got := s.get(jobsPath + "/" + id.String()).StatusCode; got != 200 {
		t.Errorf("on the thirtieth day: got %d", got)
	}
	s.clock.pass(time.Second)
	if got := s.get(jobsPath + "/" + id.String()).StatusCode; got != 404 {
		t.Errorf("after it: got %d", got)
	}
	if got := s.get(jobsPath + "/" + sampleID.String()).StatusCode; got != 200 {
		t.Errorf("one that still runs: got %d", got)
	}
}

func TestScriptedJobs(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Live: Queue{Running: 1, Queued: 1}})
	first, free := s.Submit(Spec{Forever: true}), s.Submit(Spec{RunTime: time.Second, Unlimited: true})
	next := s.Submit(Spec{RunTime: time.Second})
	s.clock.pass(time.Second)
	if got := s.poll(free).QueryStatus; got != job.Completed {
		t.Errorf("a job without limits: got %s", got)
	}
	if !s.Finish(first, job.Completed) {
		t.Error("finish: not found")
	}
	s.clock.pass(time.Second)
	if got := s.poll(next).QueryStatus; got != job.Completed {
		t.Errorf("the next: got %s", got)
	}
	j, ok := s.Job(first)
	if !ok || j.Status != job.Completed || j.Processing == nil || *j.Processing != time.Second || j.Rows == nil {
		t.Errorf("finished: got %+v", j)
	}
	if !s.Forget(first) || s.Forget(first) || s.Finish(first, job.Failed) {
		t.Error("forgetting twice must not work")
	}
	if got := s.get(jobsPath + "/" + first.String()).StatusCode; got != 404 {
		t.Errorf("forgotten: got %d", got)
	}
}

func TestForgettingARunningJobFreesItsSlot(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Live: Queue{Running: 1, Queued: 1}})
	first, next := s.Submit(Spec{Forever: true}), s.Submit(Spec{Forever: true})
	s.clock.pass(time.Second)
	s.Forget(first)
	if got := s.poll(next).QueryStatus; got != job.InProgress {
		t.Errorf("got %s", got)
	}
}

func TestEqualSeedsGiveEqualTenants(t *testing.T) {
	t.Parallel()
	transcript := func(seed uint64) string {
		s := newSim(t, Options{Seed: seed, Jobs: 20, Arrivals: 6, FailRatio: 0.2, CancelRatio: 0.1}).raw()
		s.Fault(Fault{Kind: KindStatus, Status: 503, Probability: 0.3})
		var b bytes.Buffer
		for range 40 {
			r := s.get(jobsPath+"?pageSize=5", "Zuora-Track-Id", "x")
			fmt.Fprintln(&b, r.StatusCode, r.Header, string(r.body))
			r = s.signIn(DefaultClientID, DefaultClientSecret)
			fmt.Fprintln(&b, r.StatusCode, r.Header, string(r.body))
			s.clock.pass(7 * time.Second)
		}
		return b.String()
	}
	if diff := cmp.Diff(transcript(3), transcript(3)); diff != "" {
		t.Error(diff)
	}
	if transcript(3) == transcript(4) {
		t.Error("another seed gave the same tenant")
	}
}

func TestArrivalsKeepTheTenantBusy(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Seed: 1, Arrivals: 60, RunTime: Fixed(10 * time.Minute)})
	s.clock.pass(3 * time.Hour)
	got := s.Stats().Jobs
	if got["in_progress"] != 20 || got["accepted"] < 35 || got["accepted"] > 40 {
		t.Errorf("one arrival a second, ten minutes each: got %v", got)
	}
}

func TestADayPassesInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Seed: 1, Plan: APISandbox(), BearerToken: "t"})
		client := &http.Client{Transport: s.Transport(), Timeout: 5 * time.Second}
		id := s.Submit(Spec{RunTime: 20 * time.Hour})
		start := time.Now()
		s.Fault(Fault{Kind: KindLatency, Delay: 50 * time.Millisecond})
		polls := 0
		for ended := false; !ended; polls++ {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://rest.zuora.com"+jobsPath+"/"+id.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer t")
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if _, err := b.ReadFrom(res.Body); err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			ended = decode[wireData[wireJob]](t, b.Bytes()).Data.QueryStatus == job.Completed
			time.Sleep(time.Minute) //nolint:forbidigo // virtual
		}
		if took := time.Since(start); took < 20*time.Hour || polls < 1190 || polls > 1201 {
			t.Errorf("%d polls in %s", polls, took)
		}
		if got := s.Stats().TooMany(); got != 0 {
			t.Errorf("%d answers were 429", got)
		}
	})
}

func TestManyJobsAreSmall(t *testing.T) {
	const jobs = 200_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := New(Options{Now: newClock().Now})
	for range jobs {
		s.Submit(Spec{RunTime: time.Hour, Unlimited: true})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / jobs
	t.Logf("%d bytes a job", each)
	if each > 600 {
		t.Errorf("%d bytes a job", each)
	}
	runtime.KeepAlive(s)
}

func TestStartAfterHoldsAnAcceptedJobBack(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{StartAfter: time.Second})
	id := s.Submit(Spec{RunTime: time.Second})
	s.clock.pass(time.Second - 1)
	if got := s.poll(id).QueryStatus; got != job.Accepted {
		t.Errorf("got %s", got)
	}
	s.clock.pass(1)
	if got := s.poll(id).QueryStatus; got != job.InProgress {
		t.Errorf("got %s", got)
	}
}
