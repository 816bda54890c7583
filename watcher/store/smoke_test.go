package store

import (
	"context"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, "sqlite:"+t.TempDir()+"/a.db", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Register(ctx, job.Replica{ID: "r1"}, time.Minute, true); err != nil {
		t.Fatal(err)
	}
	id := job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104301")
	fresh, err := s.Track(ctx, "r1", []job.Tracking{{Spec: job.Spec{ID: id, Labels: job.Labels{"team": "finance"}}, Tenant: "t", TrackedAt: 5, Source: job.SourceAPI}})
	if err != nil || !fresh[0] {
		t.Fatal(fresh, err)
	}
	fresh, err = s.Track(ctx, "r1", []job.Tracking{{Spec: job.Spec{ID: id}, Tenant: "t", TrackedAt: 5, Source: job.SourceAPI}})
	if err != nil || fresh[0] {
		t.Fatal(fresh, err)
	}
	rows := int64(5)
	e := job.Event{ID: "evt_1", Type: job.EventCompleted, Tenant: "t", Subject: id.String(), JobID: id, Time: 7, Data: []byte(`{"job":{}}`)}
	res, err := s.Commit(ctx, "r1", []job.Update{{Tenant: "t", ID: id, At: 9, Status: job.Completed, Outcome: job.OutcomeCompleted, FinishedAt: 8, Seen: &job.Observation{OutputRows: &rows, Query: "q"}, Event: &e, Destinations: []string{"a", "b"}, History: []job.Change{{At: 9, Kind: job.KindFinished}}}})
	if err != nil || res[0] != nil {
		t.Fatal(res, err)
	}
	js, next, err := s.ListJobs(ctx, job.Filter{Tenant: "t", Labels: job.Labels{"team": "finance"}, States: []job.State{job.Finished}})
	if err != nil || len(js) != 1 || next != "" || js[0].Deliveries.Pending != 2 {
		t.Fatal(js, next, err)
	}
	out, nx, err := s.ClaimDeliveries(ctx, "r1", "a", 5)
	if err != nil || len(out) != 1 || nx != 0 || out[0].Query != "q" {
		t.Fatal(out, nx, err)
	}
	if err := s.Settle(ctx, "r1", []job.Settlement{{DeliveryID: out[0].ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{At: 10, Code: 200}}}); err != nil {
		t.Fatal(err)
	}
	d, err := s.Delivery(ctx, out[0].ID)
	if err != nil || d.State != job.DeliveryDelivered || len(d.Attempts) != 1 {
		t.Fatal(d, err)
	}
	if n, err := s.ReplayWhere(ctx, job.DeliveryFilter{Destination: "a"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	c, o, err := s.DeliveryStats()
	t.Log(c, o, err)
	if n, err := s.ReplicaCount(); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.Purge(ctx, 100, 10); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}
