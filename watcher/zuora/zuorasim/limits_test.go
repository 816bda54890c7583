package zuorasim

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rateLimit(r reply) [3]string {
	return [3]string{
		r.Header.Get("RateLimit-Limit"), r.Header.Get("RateLimit-Remaining"), r.Header.Get("RateLimit-Reset"),
	}
}

func TestRateLimitHeadersAreAsPublished(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	s.clock.pass(15 * time.Second)
	got := rateLimit(s.get(jobsPath))
	if diff := cmp.Diff([3]string{"50000, 50000;w=60, 2250000;w=3600, 27000000;w=86400", "49999", "45"}, got); diff != "" {
		t.Error(diff)
	}
	// The published sample: the hour is closest to exhaustion.
	s.SpendOthers(0, 49_000)
	s.clock.pass(time.Minute)
	got = rateLimit(s.get(jobsPath))
	if diff := cmp.Diff([3]string{"2250000, 50000;w=60, 2250000;w=3600, 27000000;w=86400", "2200998", "3525"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWindowsRefuseAndReset(t *testing.T) {
	t.Parallel()
	for _, retryAfter := range []bool{false, true} {
		plan, err := ParsePlan("3/1m,5/1h,100/24h")
		if err != nil {
			t.Fatal(err)
		}
		s := newSim(t, Options{Plan: plan, RetryAfter: retryAfter})
		var codes []int
		look := func() reply {
			r := s.get(jobsPath + "/" + sampleID.String()) // 404s count as well
			codes = append(codes, r.StatusCode)
			return r
		}
		for range 3 {
			look()
		}
		s.clock.pass(20 * time.Second)
		r := look()
		if diff := cmp.Diff([3]string{"3, 3;w=60, 5;w=3600, 100;w=86400", "0", "40"}, rateLimit(r)); diff != "" {
			t.Error(diff)
		}
		want := ""
		if retryAfter {
			want = "40"
		}
		if got := r.Header.Get("Retry-After"); got != want {
			t.Errorf("Retry-After: got %q, want %q", got, want)
		}
		s.clock.pass(40 * time.Second)
		look()
		r = look() // the refused one counted, so the hour is spent
		if diff := cmp.Diff([3]string{"5, 3;w=60, 5;w=3600, 100;w=86400", "0", "3540"}, rateLimit(r)); diff != "" {
			t.Error(diff)
		}
		s.clock.pass(59 * time.Minute)
		s.token = s.Token("")
		look()
		if diff := cmp.Diff([]int{404, 404, 404, 429, 404, 429, 404}, codes); diff != "" {
			t.Error(diff)
		}
		if got := s.Stats().Limited[LimitWindow]; got != 2 {
			t.Errorf("got %d refusals, want 2", got)
		}
	}
}

func TestOthersSpendTheSameWindows(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Plan: APISandbox(), Others: 1250})
	s.clock.pass(30 * time.Second)
	remaining := func() int {
		n, err := strconv.Atoi(s.get(jobsPath).Header.Get("RateLimit-Remaining"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if got, want := remaining(), 2500-625-1; got != want {
		t.Errorf("half a minute in: got %d, want %d", got, want)
	}
	s.clock.pass(2 * time.Minute)
	if got, want := remaining(), 5000-3125-2; got != want { // now the hour is closest
		t.Errorf("two and a half minutes in: got %d, want %d", got, want)
	}
	s.clock.pass(10 * time.Minute)
	if got := s.get(jobsPath).StatusCode; got != http.StatusTooManyRequests {
		t.Errorf("after others spent the hour: got %d", got)
	}
	if got := s.get(jobsPath).Header.Get("RateLimit-Remaining"); got != "0" {
		t.Errorf("remaining: got %s", got)
	}
}

func TestUnlimitedPlanHasNoHeaders(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Plan: Unlimited()})
	if diff := cmp.Diff([3]string{}, rateLimit(s.get(jobsPath))); diff != "" {
		t.Error(diff)
	}
}

func TestTooManyInFlightAreRefused(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Concurrency: 3}).raw()
	inside, release := make(chan struct{}), make(chan struct{})
	// Three requests are held inside the handler by a body that does not come.
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			body := &heldBody{inside: inside, release: release}
			req, err := http.NewRequest(http.MethodPost, "https://rest.zuora.com"+jobsPath, body)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+s.token)
			req.Header.Set("Content-Type", "application/json")
			res, err := s.via.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
		})
	}
	for range 3 {
		<-inside
	}
	r := s.get(jobsPath)
	if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "" || r.Header.Get("RateLimit-Remaining") == "0" {
		t.Errorf("the fourth: got %d %v", r.StatusCode, r.Header)
	}
	// Token calls are exempt.
	if got := s.signIn(DefaultClientID, DefaultClientSecret).StatusCode; got != http.StatusOK {
		t.Errorf("token: got %d", got)
	}
	close(release)
	wg.Wait()
	if got := s.get(jobsPath).StatusCode; got != http.StatusOK {
		t.Errorf("afterwards: got %d", got)
	}
	st := s.Stats()
	if st.MaxFlight != 4 || st.InFlight != 0 || st.Limited[LimitConcurrency] != 1 || st.TooMany() != 1 {
		t.Errorf("got %+v", st)
	}
}

type heldBody struct{ inside, release chan struct{} }

func (b *heldBody) Read([]byte) (int, error) {
	b.inside <- struct{}{}
	<-b.release
	return 0, http.ErrBodyNotAllowed
}

func (b *heldBody) Close() error { return nil }

func TestParsePlan(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Plan{
		"production":               Production(),
		"":                         Production(),
		"Central-Sandbox":          {"central-sandbox", Production().Windows},
		"developer-sandbox":        {"developer-sandbox", []Window{{12_500, time.Minute}, {25_000, time.Hour}, {50_000, day}}},
		"api-sandbox":              {"api-sandbox", []Window{{2500, time.Minute}, {5000, time.Hour}, {10_000, day}}},
		"unlimited":                {Name: "unlimited"},
		"50000/24h,300/1m,5000/1h": {"50000/24h,300/1m,5000/1h", []Window{{300, time.Minute}, {5000, time.Hour}, {50_000, day}}},
	} {
		got, err := ParsePlan(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	for _, text := range []string{"sandbox", "0/1m", "5/", "/1m", "5/1ms", "-1/1m", "5/1m,", "5/9000h", "9223372036854775808/1m"} {
		if p, err := ParsePlan(text); err == nil {
			t.Errorf("%q: got %v", text, p)
		}
	}
}

func FuzzParsePlan(f *testing.F) {
	for _, s := range []string{"production", "300/1m,5000/1h", "1/1s", "x", "5/1m,,", "9999999999/24h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlan(s)
		if err != nil {
			return
		}
		m := newMeter(time.Unix(1_700_000_000, 0), p.Windows)
		m.take(time.Unix(1_700_000_001, 0))
		h := http.Header{}
		m.headers(h, time.Unix(1_700_000_001, 0))
		if want := len(p.Windows); want > 0 && strings.Count(h.Get("Ratelimit-Limit"), ";w=") != want {
			t.Errorf("%q: got %v", s, h)
		}
	})
}
