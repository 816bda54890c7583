package zuorasim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type wireToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
	JTI         string `json:"jti"`
}

func TestTokensAreIssuedAndExpire(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	r := s.signIn(DefaultClientID, DefaultClientSecret)
	got := decode[wireToken](t, r.body)
	if r.StatusCode != http.StatusOK || got.TokenType != "bearer" || got.ExpiresIn != 3599 || len(got.AccessToken) != 32 || len(got.JTI) != 32 ||
		!strings.HasPrefix(got.Scope, "user.") || !strings.HasSuffix(got.Scope, " service.echo.read tenant.19") {
		t.Errorf("got %d %+v", r.StatusCode, got)
	}
	limit := []string{r.Header.Get("X-RateLimit-Limit-minute"), r.Header.Get("X-RateLimit-Remaining-minute"), r.Header.Get("RateLimit-Limit")}
	if diff := cmp.Diff([]string{"100", "99", ""}, limit); diff != "" {
		t.Error(diff)
	}
	s.token = got.AccessToken
	s.clock.pass(3598 * time.Second)
	if got := s.get(jobsPath).StatusCode; got != 200 {
		t.Errorf("in its last second: got %d", got)
	}
	s.clock.pass(time.Second)
	if got := s.get(jobsPath).StatusCode; got != 401 {
		t.Errorf("after it: got %d", got)
	}
}

func TestTokenFailures(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	s.token = ""
	const form = "application/x-www-form-urlencoded"
	good := "grant_type=client_credentials&client_id=" + DefaultClientID + "&client_secret=simulated-secret%3Dwith%2Bsigns%26to%2Fencode"
	for _, c := range []struct {
		name, kind, body string
		want             int
	}{
		{"good", form, good, 200},
		{"secret not encoded", form, strings.NewReplacer("%3D", "=", "%2B", "+", "%26", "&", "%2F", "/").Replace(good), 401},
		{"json", "application/json", `{"client_id":"x"}`, 400},
		{"nothing", form, "", 400},
		{"other grant", form, strings.Replace(good, "client_credentials", "password", 1), 400},
		{"unknown client", form, strings.Replace(good, DefaultClientID, sampleID.String(), 1), 401},
		{"no secret", form, strings.Split(good, "&client_secret")[0], 400},
		{"too long", form, good + "&x=" + strings.Repeat("x", 70_000), 400},
	} {
		r := s.raw().do(http.MethodPost, "/oauth/token", c.body, "Content-Type", c.kind)
		if r.StatusCode != c.want {
			t.Errorf("%s: got %d %s, want %d", c.name, r.StatusCode, r.body, c.want)
		}
	}
	if got := s.do(http.MethodGet, "/oauth/token", "").StatusCode; got != 405 {
		t.Errorf("GET: got %d", got)
	}
	s.SetUserActive("", false)
	if got := s.signIn(DefaultClientID, DefaultClientSecret).StatusCode; got != 403 {
		t.Errorf("deactivated: got %d", got)
	}
	s.SetUserActive("", true)
	s.SetClientSecret("", "another")
	if got := s.signIn(DefaultClientID, DefaultClientSecret).StatusCode; got != 401 {
		t.Errorf("rotated: got %d", got)
	}
}

func TestATokenMustBeGood(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{BearerToken: "static"})
	status := func(authorization string) int {
		c := *s
		c.token = ""
		return c.get(jobsPath, "Authorization", authorization).StatusCode
	}
	issued := s.Token("")
	got := map[string]int{}
	for _, a := range []string{"Bearer " + issued, "bearer " + issued, "Basic " + issued, "Bearer", "Bearer nonsense", "Bearer static"} {
		got[strings.ReplaceAll(a, issued, "*")] = status(a)
	}
	want := map[string]int{"Bearer *": 200, "bearer *": 200, "Basic *": 401, "Bearer": 401, "Bearer nonsense": 401, "Bearer static": 200}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.RevokeTokens()
	if a, b := status("Bearer "+issued), status("Bearer static"); a != 401 || b != 200 {
		t.Errorf("after revocation: got %d and %d", a, b)
	}
	issued = s.Token("")
	s.SetUserActive("", false)
	if got := status("Bearer " + issued); got != 401 {
		t.Errorf("of a deactivated user: got %d", got)
	}
}

func TestTokenCallsAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	one, two := s.Transport(), s.Transport()
	one.RemoteAddr, two.RemoteAddr = "192.0.2.1:1", "192.0.2.2:1"
	s.via = &checker{t, one}
	for i := range 100 {
		if got := s.signIn(DefaultClientID, DefaultClientSecret); got.StatusCode != http.StatusOK {
			t.Fatalf("call %d: got %d", i, got.StatusCode)
		}
	}
	r := s.signIn(DefaultClientID, DefaultClientSecret)
	if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("X-RateLimit-Remaining-minute") != "0" {
		t.Errorf("the next: got %d %v", r.StatusCode, r.Header)
	}
	s.via = &checker{t, two}
	if got := s.signIn(DefaultClientID, DefaultClientSecret).StatusCode; got != 200 {
		t.Errorf("from another address: got %d", got)
	}
	s.via = &checker{t, one}
	s.clock.pass(time.Minute)
	if got := s.signIn(DefaultClientID, DefaultClientSecret).StatusCode; got != 200 {
		t.Errorf("a minute later: got %d", got)
	}
	if got := s.Stats().Limited[LimitToken]; got != 1 {
		t.Errorf("got %d refusals", got)
	}
}

func TestTokensDoNotPileUp(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{TokenLife: time.Second})
	for range 10_000 {
		s.Token("")
		s.clock.pass(time.Second)
	}
	if got := len(s.accounts.tokens); got > 1000 {
		t.Errorf("%d tokens are kept", got)
	}
}

func TestTheLogIsBoundedAndTheCountersAreNot(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{Log: 10})
	id := s.Submit(Spec{RunTime: time.Second})
	for i := range 25 {
		s.get(jobsPath+"/"+id.String(), "Zuora-Track-Id", fmt.Sprint("t", i))
	}
	var got []string
	for _, q := range s.PollsOf(id) {
		got = append(got, q.TrackID)
	}
	if diff := cmp.Diff([]string{"t15", "t16", "t17", "t18", "t19", "t20", "t21", "t22", "t23", "t24"}, got); diff != "" {
		t.Error(diff)
	}
	if j, _ := s.Job(id); j.Polls != 25 || s.Count(EndpointGet) != 25 {
		t.Errorf("got %d polls, %d counted", j.Polls, s.Count(EndpointGet))
	}
	s.ForgetRequests()
	if got := s.Requests(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestPollsAfterTheEndWasToldAreCounted(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	polled, listed, cut := s.Submit(Spec{RunTime: time.Second}), s.Submit(Spec{RunTime: time.Second}), s.Submit(Spec{RunTime: time.Second})
	late := func() [3]int {
		var n [3]int
		for i, id := range []string{polled.String(), listed.String(), cut.String()} {
			if r, err := s.raw().try(http.MethodGet, jobsPath+"/"+id, ""); err != nil {
				t.Errorf("poll %d: %v", i, err)
			} else if r.err != nil && id != cut.String() {
				t.Errorf("poll %d was cut", i)
			}
		}
		a, _ := s.Job(polled)
		b, _ := s.Job(listed)
		c, _ := s.Job(cut)
		n[0], n[1], n[2] = a.LatePolls, b.LatePolls, c.LatePolls
		return n
	}
	if got := late(); got != [3]int{} {
		t.Errorf("while running: got %v", got)
	}
	s.clock.pass(time.Second)
	if got := s.Stats().EndsUnseen; got != 3 {
		t.Errorf("got %d unseen ends, want 3", got)
	}
	s.Fault(Fault{Kind: KindCut, Job: cut, Count: 1}) // its first telling does not arrive
	if got := late(); got != [3]int{} {
		t.Errorf("at the end: got %v", got)
	}
	if got := late(); got != [3]int{1, 1, 0} {
		t.Errorf("after it: got %v", got)
	}
	if got := late(); got != [3]int{2, 2, 1} {
		t.Errorf("and again: got %v", got)
	}
	st := s.Stats()
	if st.PollsAfterEnd != 5 || st.EndsUnseen != 0 {
		t.Errorf("got %d late polls, %d unseen ends", st.PollsAfterEnd, st.EndsUnseen)
	}
}

func TestAListTellsTheEndToo(t *testing.T) {
	t.Parallel()
	s := newSim(t, Options{})
	id := s.Submit(Spec{RunTime: time.Second})
	s.clock.pass(3 * time.Second)
	s.get(jobsPath)
	s.poll(id)
	j, _ := s.Job(id)
	if j.Listed != 1 || j.LatePolls != 1 || j.EndSeenAt.Sub(j.EndedAt) != 2*time.Second {
		t.Errorf("got %+v", j)
	}
}
