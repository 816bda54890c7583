package notify_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/notify/webhook"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/jobwatcher/jobwatcher/watcher/store"
)

// BenchmarkDeliveries sends what waits in a SQLite file to a healthy receiver
// on loopback, each attempt claimed, signed, sent and recorded durably, against
// a bare client that posts the same bodies with as many requests in the air.
// The target of the issue is 1,000 a second without loss.
//
//	go test -run ^$ -bench Deliveries -benchtime 20000x -count 3 ./notify
func BenchmarkDeliveries(b *testing.B) {
	const concurrency = 8 // the dispatcher's own
	var took atomic.Int64
	done := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if took.Add(1) == int64(b.N) {
			done <- struct{}{}
		}
	}))
	b.Cleanup(server.Close)
	hook := notify.Destination{Name: "a", Webhook: &notify.WebhookConfig{
		URL: secret.Fixed(secret.New(server.URL)), Secrets: []secret.Source{secret.Fixed(secret.New("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="))},
	}}
	client := outbound.New(outbound.Options{AllowPrivate: true})
	b.Cleanup(client.CloseIdle)

	s, err := store.Open(b.Context(), "sqlite:"+b.TempDir()+"/jobs.db", store.Options{NoLock: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if err := s.Register(b.Context(), job.Replica{ID: "one"}, time.Minute, true); err != nil {
		b.Fatal(err)
	}
	body := owe(b, s, b.N)
	d, err := notify.NewDispatcher(notify.Options{
		Outbox: s, Replica: func() job.ReplicaID { return "one" }, Tenant: tenant, Destinations: []notify.Destination{hook},
		NewSender: func(d notify.Destination) (notify.Sender, error) { return webhook.New(d, client) },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	began := time.Now()
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	<-done
	ours := time.Since(began)
	cancel()
	running.Wait() // what was sent is recorded before it ends
	b.StopTimer()
	counts, _, err := s.DeliveryStats()
	if err != nil || counts["a"][job.DeliveryDelivered] != int64(b.N) || took.Load() != int64(b.N) {
		b.Fatalf("%d sent, recorded %v, %v; want %d", took.Load(), counts, err, b.N)
	}

	took.Store(-int64(b.N)) // nobody waits for the bare ones
	began = time.Now()
	var wg sync.WaitGroup
	for i := range concurrency {
		wg.Go(func() {
			for range (b.N + concurrency - 1 - i) / concurrency {
				if _, err := client.Post(b.Context(), outbound.Request{URL: secret.New(server.URL), Body: body}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	bare := time.Since(began)
	b.ReportMetric(float64(b.N)/ours.Seconds(), "deliveries/s")
	b.ReportMetric(float64(b.N)/bare.Seconds(), "bare/s")
	b.ReportMetric(bare.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

// owe has n jobs end, each owed to one destination; it returns a body as it
// will be sent.
func owe(b *testing.B, s *store.Store, n int) []byte {
	b.Helper()
	sample := notifytest.Sample(job.EventCompleted)
	now := job.At(time.Now())
	for from := 0; from < n; from += 500 {
		var items []job.Tracking
		var updates []job.Update
		for i := from; i < min(from+500, n); i++ {
			id := job.ID{0: 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
			items = append(items, job.Tracking{Spec: job.Spec{ID: id}, Tenant: tenant, TrackedAt: now, Source: job.SourceAPI})
			e := sample.Event
			e.ID, e.Tenant, e.Subject, e.JobID = job.EventID(tenant, id.String(), job.EventCompleted), tenant, id.String(), id
			e.Time, e.CreatedAt = now, now
			updates = append(updates, job.Update{
				Tenant: tenant, ID: id, At: now, Status: job.Completed, Outcome: job.OutcomeCompleted, FinishedAt: now, Event: &e, Destinations: []string{"a"},
			})
		}
		if _, err := s.Track(b.Context(), "one", items); err != nil {
			b.Fatal(err)
		}
		if errs, err := s.Commit(b.Context(), "one", updates); err != nil || errors.Join(errs...) != nil {
			b.Fatal(errs, err)
		}
	}
	return append([]byte(nil), sample.Event.Data...)
}
