package zuora

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// benchServer, in the environment, makes the test binary a server: a process of
// its own, so that the benchmark's CPU time is the client's alone.
const benchServer = "JOBWATCHER_ZUORA_BENCH_SERVER"

var benchJob = job.MustParseID("3a3e85c4-96e7-486b-ae02-827120104301")

// benchBody is an unchanged job, as Zuora's sample has it.
func benchBody(query string) []byte {
	b, err := json.Marshal(map[string]any{"data": map[string]any{
		"id": benchJob, "query": query, "useIndexJoin": false, "sourceData": "LIVE", "queryStatus": "in_progress",
		"remainingRetries": 3, "retries": 3, "updatedOn": "2026-11-23T13:14:18.204Z", "createdOn": "2026-11-23T13:14:17.1Z",
		"createdBy": "514f3ea1-6716-4f44-b6e0-9a8f0cf44bd2", "createdByUserEmail": "amy@mycompany.com",
	}})
	if err != nil {
		panic(err)
	}
	return b
}

var (
	shortQuery = "SELECT accountnumber, balance FROM Account WHERE Account.balance > 100"
	longQuery  = strings.Repeat("SELECT a.accountnumber, a.balance FROM Account a -- \"quoted\"\n", 40)
)

func benchHandler() http.Handler {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(benchBody(longQuery))
	_ = z.Close()
	small := benchBody(shortQuery)
	mux := http.NewServeMux()
	answer := func(body []byte, encoding string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h["Content-Type"] = []string{"application/json"}
			h["Ratelimit-Limit"] = []string{"2250000, 50000;w=60, 2250000;w=3600, 27000000;w=86400"}
			h["Ratelimit-Remaining"] = []string{"2249000"}
			h["Ratelimit-Reset"] = []string{"1234"}
			h["Zuora-Request-Id"] = []string{"0a1b2c3d-0000-4000-8000-000000000001"}
			if id := r.Header["Zuora-Track-Id"]; id != nil {
				h["Zuora-Track-Id"] = id
			}
			if encoding != "" {
				h["Content-Encoding"] = []string{encoding}
			}
			_, _ = w.Write(body)
		}
	}
	mux.Handle("/small/query/jobs/", answer(small, ""))
	mux.Handle("/gzip/query/jobs/", answer(zipped.Bytes(), "gzip"))
	mux.HandleFunc("/oauth/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"c652cbc0ea384b9f81856a93a2a74538","token_type":"bearer","expires_in":3599}`)
	})
	return mux
}

func serveBench() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Println("http://" + l.Addr().String()) //nolint:forbidigo // how the parent learns the address
	_ = http.Serve(l, benchHandler())
	os.Exit(0)
}

// prefixed sends everything but token requests below a path, so that one server
// answers in several ways.
type prefixed struct {
	prefix string
	next   http.RoundTripper
}

func (p prefixed) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != tokenPath {
		r.URL.Path = p.prefix + r.URL.Path
	}
	return p.next.RoundTrip(r)
}

func startBenchServer(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0]) //nolint:noctx // killed below
	cmd.Env = append(os.Environ(), benchServer+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// cost is what a number of requests took.
type cost struct{ cpu, wall time.Duration }

func measure(b *testing.B, n, workers int, one func() error) cost {
	b.Helper()
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	began := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range (n + w) / workers {
				if err := one(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	wall := time.Since(began)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := func(u *syscall.Rusage) time.Duration { return time.Duration(u.Utime.Nano() + u.Stime.Nano()) }
	return cost{cpu: cpu(&after) - cpu(&before), wall: wall}
}

// BenchmarkGet sets the client against a bare net/http loop that sends the same
// GETs over kept connections and decodes the answer with encoding/json. Ratios
// are bare ÷ ours, from one run, the two taking turns: above 1 we are cheaper.
//
//	go test ./watcher/zuora -run '^$' -bench BenchmarkGet$ -benchtime 30000x
func BenchmarkGet(b *testing.B) {
	base := startBenchServer(b)
	for _, body := range []string{"small", "gzip"} {
		for _, workers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/workers=%d", body, workers), func(b *testing.B) { benchGet(b, base, "/"+body, workers) })
		}
	}
}

func benchGet(b *testing.B, base, prefix string, workers int) {
	own := newTransport(workers)
	c, err := New(Options{
		BaseURL: base, ClientID: "me", ClientSecret: secret.Fixed(secret.New("secret")), MaxInFlight: workers,
		Transport: prefixed{prefix, own}, Metrics: metrics.New(prometheus.NewRegistry(), metrics.Options{Tenant: "bench"}),
		OnWindows: func([]Window) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer own.CloseIdleConnections()
	plain := &http.Transport{MaxIdleConnsPerHost: workers}
	defer plain.CloseIdleConnections()
	bare := &http.Client{Transport: plain, Timeout: 30 * time.Second}
	ctx := b.Context()
	get := func() error {
		o, err := c.Get(ctx, benchJob)
		if err == nil && o.Status != job.InProgress {
			err = fmt.Errorf("status %q", o.Status)
		}
		return err
	}
	raw := func() error { return bareGet(ctx, bare, base+prefix+jobsPath+"/"+benchJob.String()) }
	measure(b, 200, workers, get)
	measure(b, 200, workers, raw)

	const rounds = 6
	var ours, bares cost
	n := max(b.N/rounds, 1)
	b.ResetTimer()
	for range rounds {
		c := measure(b, n, workers, raw)
		bares.cpu, bares.wall = bares.cpu+c.cpu, bares.wall+c.wall
		c = measure(b, n, workers, get)
		ours.cpu, ours.wall = ours.cpu+c.cpu, ours.wall+c.wall
	}
	b.StopTimer()
	total := float64(n * rounds)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(bares.cpu)/float64(ours.cpu), "cpu-ratio")
	b.ReportMetric(float64(bares.wall)/float64(ours.wall), "rate-ratio")
	b.ReportMetric(float64(ours.cpu.Microseconds())/total, "cpu-µs/poll")
	b.ReportMetric(total/ours.wall.Seconds(), "polls/s")
}

// bareGet is the reference: what anybody would write.
func bareGet(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer c652cbc0ea384b9f81856a93a2a74538")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Data struct {
			ID             string    `json:"id"`
			Query          string    `json:"query"`
			QueryStatus    string    `json:"queryStatus"`
			UpdatedOn      time.Time `json:"updatedOn"`
			OutputRows     *int64    `json:"outputRows"`
			ProcessingTime *int64    `json:"processingTime"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if answer.Data.QueryStatus != "in_progress" {
		return fmt.Errorf("status %q", answer.Data.QueryStatus)
	}
	return nil
}

// BenchmarkDecode is the JSON alone.
func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name string
		body []byte
	}{{"short", benchBody(shortQuery)}, {"long", benchBody(longQuery)}, {"1MB", benchBody(strings.Repeat("x", 1_000_000))}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			text := benchJob.String()
			for b.Loop() {
				if _, err := decodeJob(c.body, benchJob, text); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				var answer struct {
					Data struct {
						Query       string `json:"query"`
						QueryStatus string `json:"queryStatus"`
					} `json:"data"`
				}
				if err := json.Unmarshal(c.body, &answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
