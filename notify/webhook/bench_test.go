package webhook

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// BenchmarkAgainstBareClient compares signed webhooks with a bare client that
// posts the same bytes to the same loopback receiver at the same concurrency.
// The figure to read is the ratio, both sides being measured in one run.
//
//	go test -run ^$ -bench AgainstBareClient ./notify/webhook
func BenchmarkAgainstBareClient(b *testing.B) {
	const concurrency = 16
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}))
	b.Cleanup(server.Close)
	client := outbound.New(outbound.Options{AllowPrivate: true})
	b.Cleanup(client.CloseIdle)
	s, err := New(destination(server.URL, newSecret), client)
	if err != nil {
		b.Fatal(err)
	}
	o := notifytest.Sample(job.EventCompleted)
	payload := body(b, o, Extras{})
	transport := &http.Transport{MaxIdleConnsPerHost: concurrency}
	b.Cleanup(transport.CloseIdleConnections)
	bare := &http.Client{Transport: transport}

	run := func(n int, once func()) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for i := range concurrency {
			wg.Go(func() {
				for range (n + concurrency - 1 - i) / concurrency {
					once()
				}
			})
		}
		wg.Wait()
		return time.Since(began)
	}
	bareOnce := func() {
		res, err := bare.Post(server.URL, ContentType, bytes.NewReader(payload))
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	ourOnce := func() {
		if _, err := s.Send(b.Context(), []job.Outgoing{o}); err != nil {
			b.Error(err)
		}
	}
	run(1000, bareOnce) // both warm
	run(1000, ourOnce)
	b.ResetTimer()
	var bareTook, ourTook time.Duration
	for left := b.N; left > 0; left -= 1000 { // in turns, so that both meet the same weather
		bareTook += run(min(left, 1000), bareOnce)
		ourTook += run(min(left, 1000), ourOnce)
	}
	b.ReportMetric(float64(b.N)/ourTook.Seconds(), "webhooks/s")
	b.ReportMetric(float64(b.N)/bareTook.Seconds(), "bare/s")
	b.ReportMetric(bareTook.Seconds()/ourTook.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}
