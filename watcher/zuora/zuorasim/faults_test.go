package zuorasim

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestStatusFaultsLookLikeZuoras(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  Fault
		body   string
		header map[string]string
	}{
		"401": {
			Fault{Status: 401},
			`{"message":"Authentication error"}`,
			map[string]string{"WWW-Authenticate": "Basic realm=Zuora API, ZSession realm=Zuora API, Bearer realm=Zuora API"},
		},
		"401 transient": {Fault{Status: 401, Message: "Failed to get user info"}, `{"message":"Failed to get user info"}`, nil},
		"403":           {Fault{Status: 403}, `{"code":1009,"message":"Access denied for restricted job ` + sampleID.String() + `"}`, nil},
		"404":           {Fault{Status: 404}, `{"code":1001,"message":"No such query: ` + sampleID.String() + `"}`, nil},
		"429": {
			Fault{Status: 429},
			`{"reasons":[{"code":"50000070","message":"Request limit exceeded"}]}`,
			map[string]string{"Retry-After": "", "RateLimit-Remaining": "49999"},
		},
		"429 of others": {
			Fault{Status: 429, RetryAfter: "7", Exhausted: true, Reset: 33},
			"",
			map[string]string{"Retry-After": "7", "RateLimit-Remaining": "0", "RateLimit-Reset": "33"},
		},
		"500":      {Fault{Status: 500}, `{"code":"500","message":"A temporary problem in the service occurred, you can retry later."}`, nil},
		"502 html": {Fault{Status: 502, HTML: true}, "", map[string]string{"Content-Type": "text/html"}},
		"503":      {Fault{Status: 503, RetryAfter: "Mon, 05 Jan 2026 12:00:30 GMT"}, "", map[string]string{"Retry-After": "Mon, 05 Jan 2026 12:00:30 GMT"}},
		"504":      {Fault{Status: 504}, "", map[string]string{"Retry-After": ""}},
		"own body": {Fault{Status: 418, Body: "teapot"}, "teapot", nil},
	} {
		s := newSim(t, Options{})
		s.Put(Job{ID: sampleID, Status: job.InProgress})
		c.fault.Kind = KindStatus
		s.Fault(c.fault)
		via := s
		if c.fault.Body != "" || c.fault.HTML || strings.Contains(c.fault.RetryAfter, "GMT") { // a date is not in the document
			via = s.raw()
		}
		r := via.get(jobsPath + "/" + sampleID.String())
		if r.StatusCode != c.fault.Status {
			t.Errorf("%s: got %d", name, r.StatusCode)
		}
		if c.body != "" && string(r.body) != c.body {
			t.Errorf("%s: got %s, want %s", name, r.body, c.body)
		}
		for k, want := range c.header {
			if got := r.Header.Get(k); got != want {
				t.Errorf("%s: %s: got %q, want %q", name, k, got, want)
			}
		}
		st := s.Stats()
		if st.Faults[KindStatus] != 1 || st.TooMany() != 0 || st.Codes[c.fault.Status] != 1 {
			t.Errorf("%s: got %+v", name, st)
		}
		s.ClearFaults()
		if got := s.get(jobsPath + "/" + sampleID.String()).StatusCode; got != 200 {
			t.Errorf("%s: after clearing: got %d", name, got)
		}
	}
}

func TestFaultsHitWhatTheyName(t *testing.T) {
	t.Parallel()
	const guest = "00000000-0000-4000-8000-000000000002"
	other := job.MustParseID("bf3b5640-ddd1-4b4f-9a81-906ec2b84a89")
	for name, c := range map[string]struct {
		fault Fault
		want  string // x for a hit: list, GET sample, GET other, submit, GET sample by guest, token
	}{
		"anything":    {Fault{}, "xxxxx."},
		"a method":    {Fault{Method: "POST"}, "...x.."},
		"one job":     {Fault{Job: sampleID}, ".x..x."},
		"GET of one":  {Fault{Path: "/query/jobs/*"}, ".xx.x."},
		"lists":       {Fault{Path: "/query/jobs", Method: "GET"}, "x....."},
		"tokens":      {Fault{Path: "/oauth/token"}, ".....x"},
		"a client":    {Fault{Client: guest}, "....x."},
		"a condition": {Fault{Match: func(r *http.Request) bool { return r.Body != http.NoBody }}, "...x.."},
		"no more":     {Fault{Count: 2}, "xx...."},
		"later":       {Fault{Skip: 3}, "...xx."},
		"from to":     {Fault{Skip: 1, Count: 2}, ".xx..."},
	} {
		s := newSim(t, Options{Users: []User{{ClientID: guest, Admin: true}}}).raw()
		s.Put(Job{ID: sampleID, Status: job.InProgress})
		s.Put(Job{ID: other, Status: job.InProgress})
		c.fault.Kind, c.fault.Status = KindStatus, http.StatusTeapot
		remove := s.Fault(c.fault)
		calls := []func() reply{
			func() reply { return s.get(jobsPath) },
			func() reply { return s.get(jobsPath + "/" + sampleID.String()) },
			func() reply { return s.get(jobsPath + "/" + other.String()) },
			func() reply { return s.submit(submission) },
			func() reply { return s.as(guest).get(jobsPath + "/" + sampleID.String()) },
			func() reply { return s.signIn(DefaultClientID, DefaultClientSecret) },
		}
		round := func() string {
			var got strings.Builder
			for _, call := range calls {
				got.WriteString(map[bool]string{true: "x", false: "."}[call().StatusCode == http.StatusTeapot])
			}
			return got.String()
		}
		if got := round(); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		remove()
		if got := round(); got != "......" {
			t.Errorf("%s: after removal: got %s", name, got)
		}
	}
}

func TestFaultsHitByChanceAndForAWhile(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Seed: 5}).raw()
	s.Fault(Fault{Kind: KindStatus, Status: 500, Probability: 0.25, For: time.Minute})
	hits := 0
	for range 2000 {
		if s.get(jobsPath).StatusCode == http.StatusInternalServerError {
			hits++
		}
	}
	if hits < 420 || hits > 580 {
		t.Errorf("got %d hits of 2000 at 0.25", hits)
	}
	s.clock.pass(time.Minute)
	for range 100 {
		if s.get(jobsPath).StatusCode == http.StatusInternalServerError {
			t.Fatal("hit after its time")
		}
	}
}

func TestJunkIsNotAnAnswer(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{}).raw()
	s.Put(Job{ID: sampleID, Status: job.InProgress})
	for _, j := range junks {
		remove := s.Fault(Fault{Kind: KindJunk, Junk: j, Bytes: 100_000})
		r := s.get(jobsPath + "/" + sampleID.String())
		remove()
		if r.StatusCode != http.StatusOK || r.err != nil {
			t.Errorf("%s: got %d %v", j, r.StatusCode, r.err)
		}
		if strings.Contains(string(r.body), sampleID.String()) && j != JunkTruncated && j != JunkHuge {
			t.Errorf("%s: got %s", j, r.body)
		}
	}
	s.Fault(Fault{Kind: KindJunk, Junk: JunkHuge})
	r := s.get(jobsPath+"/"+sampleID.String(), "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, z)
	if err != nil || n < hugeBytes || len(r.body) > 1<<20 {
		t.Errorf("got %d bytes from %d, %v", n, len(r.body), err)
	}
}

func TestCutAndDroppedAnswers(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	small, large := s.Submit(Spec{Query: "SELECT 1"}), s.Submit(Spec{Query: strings.Repeat("x", 5000)})
	server := httptest.NewServer(s)
	defer server.Close()
	for name, base := range map[string]struct {
		via  http.RoundTripper
		host string
	}{
		"in process": {s.Transport(), "https://rest.zuora.com"},
		"on a wire":  {&http.Transport{DisableCompression: true, DisableKeepAlives: true}, server.URL},
	} {
		for _, c := range []struct {
			what   string
			fault  Fault
			id     job.ID
			accept string
			least  int
			most   int
		}{
			{"half of a small one", Fault{Kind: KindCut}, small, "", 100, 200},
			{"few bytes", Fault{Kind: KindCut, Bytes: 7}, small, "", 7, 7},
			{"a large one", Fault{Kind: KindCut}, large, "", cutLong, cutLong},
			{"a packed one", Fault{Kind: KindCut, Bytes: 20}, large, "gzip", 20, 20},
			{"after all of it", Fault{Kind: KindCut, Bytes: 1 << 20}, large, "", 5000, 6000},
		} {
			remove := s.Fault(c.fault)
			r, err := exchangeOver(t, base.via, base.host+jobsPath+"/"+c.id.String(), s.token, c.accept)
			remove()
			if err != nil {
				t.Errorf("%s, %s: no header: %v", name, c.what, err)
				continue
			}
			if !errors.Is(r.err, io.ErrUnexpectedEOF) || len(r.body) < c.least || len(r.body) > c.most {
				t.Errorf("%s, %s: got %d bytes, %v", name, c.what, len(r.body), r.err)
			}
		}
		remove := s.Fault(Fault{Kind: KindDrop})
		if r, err := exchangeOver(t, base.via, base.host+jobsPath+"/"+small.String(), s.token, ""); err == nil {
			t.Errorf("%s: dropped: got %d", name, r.StatusCode)
		}
		remove()
	}
}

func exchangeOver(t *testing.T, via http.RoundTripper, url, token, accept string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept-Encoding", accept)
	res, err := via.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{Response: res, body: body, err: err}, nil
}

func TestADroppedSubmitHasMadeItsJob(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{}).raw()
	s.Fault(Fault{Kind: KindDrop, Count: 1})
	if _, err := s.try("POST", jobsPath, submission, "Content-Type", "application/json", "Idempotency-Key", "k"); err == nil {
		t.Fatal("the answer arrived")
	}
	if got := s.submit(submission, "Idempotency-Key", "k").StatusCode; got != 200 {
		t.Errorf("again: got %d", got)
	}
	if got := len(s.Jobs()); got != 1 {
		t.Errorf("got %d jobs, want 1", got)
	}
}

func TestSlowAnswersTakeTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{BearerToken: "t"})
		id := s.Submit(Spec{Query: "SELECT 1", Forever: true})
		look := func(limit time.Duration) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			start := time.Now()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://rest.zuora.com"+jobsPath+"/"+id.String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer t")
			res, err := s.Transport().RoundTrip(req)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			return time.Since(start), err
		}
		for name, c := range map[string]struct {
			fault       Fault
			limit       time.Duration
			least, most time.Duration
			ok          bool
		}{
			"latency":       {Fault{Kind: KindLatency, Delay: 3 * time.Second}, time.Minute, 3 * time.Second, 3 * time.Second, true},
			"jitter":        {Fault{Kind: KindLatency, Delay: 3 * time.Second, Jitter: time.Second}, time.Minute, 2 * time.Second, 4 * time.Second, true},
			"too slow":      {Fault{Kind: KindLatency, Delay: time.Hour}, time.Minute, time.Minute, time.Minute, false},
			"hanging":       {Fault{Kind: KindHang}, time.Minute, time.Minute, time.Minute, false},
			"dripping":      {Fault{Kind: KindDrip, Delay: time.Second, Bytes: 100}, time.Minute, 2 * time.Second, 5 * time.Second, true},
			"dripping long": {Fault{Kind: KindDrip, Delay: time.Second}, time.Minute, time.Minute, time.Minute, false},
		} {
			remove := s.Fault(c.fault)
			took, err := look(c.limit)
			remove()
			if (err == nil) != c.ok || took < c.least || took > c.most {
				t.Errorf("%s: took %s, %v", name, took, err)
			}
		}
		synctest.Wait()
		if got := s.Stats().InFlight; got != 0 {
			t.Errorf("%d requests are still in flight", got)
		}
	})
}

func TestTokensExpireOnDemand(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	s.Fault(Fault{Kind: KindExpire, Count: 1})
	first := s.get(jobsPath).StatusCode
	second := s.get(jobsPath).StatusCode
	s.token = s.Token("")
	if diff := cmp.Diff([]int{401, 401, 200}, []int{first, second, s.get(jobsPath).StatusCode}); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownWordsAndRedirects(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{}).raw()
	one, two := s.Submit(Spec{RunTime: time.Second}), s.Submit(Spec{RunTime: time.Second})
	s.clock.pass(time.Second)
	remove := s.Fault(Fault{Kind: KindWord, Word: "hibernating", Job: one})
	page := decode[wireData[[]wireJob]](t, s.get(jobsPath).body).Data
	got := []job.Status{s.poll(one).QueryStatus, s.poll(two).QueryStatus, page[1].QueryStatus, page[0].QueryStatus}
	if diff := cmp.Diff([]job.Status{"hibernating", job.Completed, "hibernating", job.Completed}, got); diff != "" {
		t.Error(diff)
	}
	if j, _ := s.Job(one); !j.EndSeenAt.IsZero() {
		t.Error("its end counts as told")
	}
	remove()
	s.Fault(Fault{Kind: KindRedirect, Location: "http://169.254.169.254/", Status: 307})
	r := s.get(jobsPath)
	if r.StatusCode != http.StatusTemporaryRedirect || r.Header.Get("Location") != "http://169.254.169.254/" {
		t.Errorf("got %d %v", r.StatusCode, r.Header)
	}
}

func TestFaultsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, f := range []Fault{
		{},
		{Kind: "explode"},
		{Kind: KindStatus},
		{Kind: KindStatus, Status: 99},
		{Kind: KindJunk},
		{Kind: KindWord},
		{Kind: KindRedirect},
		{Kind: KindRedirect, Location: "/", Status: 200},
		{Kind: KindHang, Probability: 1.5},
		{Kind: KindHang, Count: -1},
		{Kind: KindHang, Path: "[a"},
		{Kind: KindLatency, Delay: -1},
	} {
		if err := f.Validate(); err == nil {
			t.Errorf("%+v is taken", f)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("Fault took one")
		}
	}()
	New(Options{}).Fault(Fault{})
}
