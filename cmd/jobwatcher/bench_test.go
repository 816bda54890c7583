package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"go.uber.org/zap"
)

// These benchmarks stand for contract section 10. Each prints ratios or delays
// measured in one run on one machine; the servers at the other end run in the
// same process, for both sides of a ratio.
//
//	go test ./cmd/jobwatcher -run '^$' -bench . -benchtime 1x

// quickUpstream answers every look as fast as a handler can. A job ends when
// its time has come; when that was first told is remembered.
type quickUpstream struct {
	polls atomic.Int64
	ends  sync.Map // job.ID → time.Time when it ends
	told  sync.Map // job.ID → time.Time of the first answer that said so
}

func (q *quickUpstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q.polls.Add(1)
	id, err := job.ParseID(path.Base(r.URL.Path))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	status, rest := "in_progress", ""
	if at, scheduled := q.ends.Load(id); scheduled && !time.Now().Before(at.(time.Time)) {
		status, rest = "completed", `,"outputRows":24516,"processingTime":9212,"dataFile":"https://example.com/x"`
		q.told.LoadOrStore(id, time.Now())
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"data":{"id":"%s","query":"SELECT id FROM account","queryStatus":"%s","remainingRetries":3,"sourceData":"LIVE","updatedOn":"2026-11-23T12:00:00.123Z","createdBy":"514f3ea1-0000-4000-8000-000000000000"%s}}`, id, status, rest)
}

func numbered(n int) job.ID {
	var id job.ID
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	id[6], id[8] = 0x40, 0x80
	return id
}

// benchDaemon runs the whole daemon with a bearer token and returns its client.
func benchDaemon(b *testing.B, upstream string, change func(*daemonConfig)) (client *apiclient.Client, stop func()) {
	b.Helper()
	c := defaultConfig()
	c.Upstream.BaseUrl, c.Upstream.BearerToken = upstream, secret.New("token")
	c.Daemon.Listen = "127.0.0.1:0"
	c.Daemon.Store = storeURL{"sqlite:" + b.TempDir() + "/bench.db"}
	c.Daemon.AllowPrivateDestinations = true
	change(&c.Daemon)
	if err := c.validate(forDaemon).orNil(); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(b.Context()))
	at, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- serve(ctx, &c, zap.NewNop(), hooks{listening: func(api, _ string) { at <- api }})
	}()
	select {
	case address := <-at:
		client, err := apiclient.New("http://"+address, secret.Source{})
		if err != nil {
			b.Fatal(err)
		}
		return client, func() {
			client.Close()
			cancel(interrupted{15})
			if err := <-done; err != nil {
				b.Error(err)
			}
		}
	case err := <-done:
		b.Fatal(err)
		return nil, nil
	}
}

func trackAll(b *testing.B, c *apiclient.Client, from, to int) {
	b.Helper()
	var items iter.Seq[apiclient.Item] = func(yield func(apiclient.Item) bool) {
		for i := from; i < to; i++ {
			if !yield(apiclient.Item{ID: numbered(i).String()}) {
				return
			}
		}
	}
	if err := c.TrackAll(b.Context(), items, func(apiclient.Result) error { return nil }); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPollsAgainstABareClient: target 0.85 of what a bare client reaches
// at the same concurrency, which is that of ZUORA_MAX_IN_FLIGHT.
func BenchmarkPollsAgainstABareClient(b *testing.B) {
	const (
		jobs     = 5_000
		inFlight = 8
		slice    = 3 * time.Second
	)
	upstream := &quickUpstream{}
	server := httptest.NewServer(upstream)
	b.Cleanup(server.Close)
	rate := func() float64 {
		before, began := upstream.polls.Load(), time.Now()
		<-time.After(slice)
		return float64(upstream.polls.Load()-before) / time.Since(began).Seconds()
	}
	for range b.N {
		var bare, loop float64
		const rounds = 3
		for range rounds { // in turns, so that a slow moment of the machine hits both
			quiet := bareClient(b, server.URL, inFlight)
			<-time.After(slice / 6)
			bare += rate()
			quiet()
			c, stop := benchDaemon(b, server.URL, func(d *daemonConfig) {
				d.PollInitialInterval, d.PollMaxInterval = 100*time.Millisecond, 100*time.Millisecond
			})
			before := upstream.polls.Load()
			trackAll(b, c, 0, jobs)
			for upstream.polls.Load()-before < 3*jobs { // first looks change the status, which is written
				<-time.After(slice / 20)
			}
			loop += rate()
			stop()
		}
		b.ReportMetric(bare/rounds, "bare-polls/s")
		b.ReportMetric(loop/rounds, "daemon-polls/s")
		b.ReportMetric(loop/bare, "ratio")
	}
}

// bareClient sends the same GETs with the same headers and reads the answers.
func bareClient(b *testing.B, url string, inFlight int) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	transport := &http.Transport{MaxIdleConnsPerHost: 2 * inFlight, MaxIdleConns: 2 * inFlight, DisableCompression: true}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	var group sync.WaitGroup
	var next atomic.Int64
	for range inFlight {
		group.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1))
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/query/jobs/"+numbered(n%5_000).String(), nil)
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer token")
				req.Header.Set("Accept", "application/json")
				req.Header.Set("Accept-Encoding", "gzip")
				req.Header.Set("Zuora-Track-Id", fmt.Sprintf("jobwatcher-%08x-%d", 1, n))
				answer, err := client.Do(req)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
		transport.CloseIdleConnections()
	}
}

// BenchmarkFinishToWebhook: 200 jobs end in each second; the delay is from the
// upstream's answer that said so to the webhook's first byte. Target: p99 below
// 100 ms.
func BenchmarkFinishToWebhook(b *testing.B) {
	const (
		perSecond = 200
		seconds   = 15
		jobs      = perSecond * seconds
	)
	for range b.N {
		upstream := &quickUpstream{}
		server := httptest.NewServer(upstream)
		var arrived sync.Map
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at := time.Now() // headers are here: the first byte was just before
			_, _ = io.Copy(io.Discard, r.Body)
			arrived.LoadOrStore(r.Header.Get("Webhook-Id"), at)
		}))
		var delays []time.Duration
		c, stop := benchDaemon(b, server.URL, func(d *daemonConfig) {
			d.PollInitialInterval, d.PollMaxInterval = 500*time.Millisecond, time.Second
			d.WebhookUrl, d.WebhookSecret = secret.New(receiver.URL), secret.New(signingSecret)
		})
		begin := time.Now().Add(3 * time.Second)
		for i := range jobs {
			upstream.ends.Store(numbered(i), begin.Add(time.Duration(i)*time.Second/perSecond))
		}
		trackAll(b, c, 0, jobs)
		missing := jobs
		for limit := time.After(2 * seconds * time.Second); missing > 0; {
			select {
			case <-limit:
				b.Fatalf("%d of %d webhooks did not come", missing, jobs)
			case <-time.After(100 * time.Millisecond):
			}
			missing = jobs
			arrived.Range(func(any, any) bool { missing--; return true })
		}
		stop()
		for i := range jobs {
			id := numbered(i)
			told, _ := upstream.told.Load(id)
			at, ok := arrived.Load(job.EventID("127.0.0.1", id.String(), job.EventCompleted))
			if from, known := told.(time.Time); ok && known {
				delays = append(delays, at.(time.Time).Sub(from))
			}
		}
		server.Close()
		receiver.Close()
		slices.Sort(delays)
		if len(delays) == 0 {
			b.Fatal("no webhook came")
		}
		for _, q := range []struct {
			name  string
			share float64
		}{{"p50-ms", 0.5}, {"p99-ms", 0.99}, {"max-ms", 1}} {
			b.ReportMetric(float64(delays[int(q.share*float64(len(delays)-1))])/float64(time.Millisecond), q.name)
		}
		b.ReportMetric(float64(len(delays)), "webhooks")
	}
}
