package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store/storetest"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

// lease is that of replicas in tests: long enough for a slow machine with the
// race detector.
const testLease = 4 * time.Second

// replica is one of several daemons on one database, behind a cable of its own.
type replica struct {
	*process
	name  string
	cable *cable
}

// replica starts one. Its requests to the tenant carry its name.
func (w *world) replica(database, name string) *replica {
	w.t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &replica{name: name, cable: lay(w.t, u.Host)}
	u.Host = r.cable.address
	r.process = start(w.t, w.vars(map[string]string{
		"JOBWATCHER_STORE": u.String() + "?sslmode=disable", "ZUORA_TRACK_ID": name, leaseOf: testLease.String(),
		"JOBWATCHER_POLL_INITIAL_INTERVAL": "200ms", "JOBWATCHER_POLL_MAX_INTERVAL": "500ms", "JOBWATCHER_POLL_MODE": "get",
	}))
	r.said("registered")
	return r
}

// cable carries connections to the database until it is cut: then nothing
// passes, and nobody is told.
type cable struct {
	address string
	mu      sync.Mutex
	cut     bool
	mended  chan struct{}
}

func lay(t *testing.T, to string) *cable {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := &cable{address: l.Addr().String(), mended: make(chan struct{})}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to) //nolint:noctx // ends with the connection
			if err != nil {
				_ = near.Close()
				continue
			}
			go c.carry(near, far)
			go c.carry(far, near)
		}
	}()
	return c
}

func (c *cable) carry(from, to net.Conn) {
	defer func() { _ = from.Close(); _ = to.Close() }()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		c.mu.Lock()
		cut, mended := c.cut, c.mended
		c.mu.Unlock()
		if cut {
			<-mended // what was on its way arrives late
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut = cut; !cut {
		close(c.mended)
		c.mended = make(chan struct{})
	}
}

// looks are the GETs of each job, in order, by the replica that made them.
func (w *world) looks() map[job.ID][]zuorasim.Request {
	all := map[job.ID][]zuorasim.Request{}
	for _, r := range w.tenant.Requests() {
		if r.Endpoint == zuorasim.EndpointGet {
			all[r.JobID] = append(all[r.JobID], r)
		}
	}
	return all
}

func by(r *zuorasim.Request) string { name, _, _ := strings.Cut(r.TrackID, "-"); return name }

// neverTogether fails if two replicas had a request about one job in the air at
// one time, or took turns at it more often than it changed hands.
func (w *world) neverTogether(changes int) {
	w.t.Helper()
	for id, looks := range w.looks() {
		turns := 0
		for i := 1; i < len(looks); i++ {
			if by(&looks[i]) == by(&looks[i-1]) {
				continue
			}
			turns++
			if end := looks[i-1].At.Add(looks[i-1].Took); looks[i].At.Before(end) {
				w.t.Errorf("job %s: %s asked at %v while %s was still being answered, until %v", id, by(&looks[i]), looks[i].At, by(&looks[i-1]), end)
			}
		}
		if turns > changes {
			w.t.Errorf("job %s changed hands %d times, expected at most %d", id, turns, changes)
		}
	}
}

// Contract section 9, 1 to 4, with three replicas on one PostgreSQL: one is
// killed, one frozen past its lease and thawed, one cut off from the database
// for longer than its lease. Every end is announced, by the same id if
// repeatedly, and no job is looked at by two.
func TestThreeReplicasLoseNothing(t *testing.T) {
	server := storetest.Postgres(t)
	database := server.Database(t)
	w := newWorld(t, zuorasim.Options{Log: 1 << 20})
	one := w.replica(database, "one")
	c := one.client()
	ids := w.submit(300, 25*time.Second)
	quick := w.submit(100, time.Second)
	long := slices.Concat(ids, quick)
	items := make([]apiclient.Item, len(long))
	for i, id := range long {
		items[i] = apiclient.Item{ID: id.String()}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	if err := c.TrackAll(ctx, slices.Values(items), func(r apiclient.Result) error {
		if r.Result != "tracked" {
			t.Errorf("tracking: %+v", r)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	two, three := w.replica(database, "two"), w.replica(database, "three")
	owners := func() map[string]int {
		n := map[string]int{}
		for _, looks := range w.looks() {
			n[by(&looks[len(looks)-1])]++
		}
		return n
	}
	eventually(t, "every replica watches jobs", func() bool { return len(owners()) == 3 })

	if err := one.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	two.signal(syscall.SIGSTOP)
	three.cable.set(true)
	<-time.After(testLease + testLease/2) // real processes with real leases
	two.signal(syscall.SIGCONT)
	three.cable.set(false)
	four := w.replica(database, "four")

	within(t, 3*testPatience, "every end announced", func() bool {
		return !slices.ContainsFunc(long, func(id job.ID) bool { return len(w.ends(id)) == 0 || w.chats(id) == 0 })
	})
	w.announced(long, len(long)/4)
	w.neverTogether(6)
	owed := four.client()
	eventually(t, "nothing owed any more", func() bool {
		left := 0
		for _, state := range []string{"pending", "sending", "exhausted", "held"} {
			all, _, err := owed.Deliveries(t.Context(), url.Values{"state": {state}}, 1, "")
			if err != nil {
				return false
			}
			left += len(all)
		}
		return left == 0
	})
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var finished, events, deliveries int
	if err := db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM jobs WHERE state = 'finished' AND outcome = 'completed'),
		(SELECT count(*) FROM events WHERE type = 'dev.jobwatcher.job.completed'), (SELECT count(*) FROM deliveries WHERE state = 'delivered')`).
		Scan(&finished, &events, &deliveries); err != nil {
		t.Fatal(err)
	}
	if finished != len(long) || events != len(long) || deliveries != 2*len(long) {
		t.Errorf("%d jobs finished, %d events, %d delivered, want %d, as many, and twice as many", finished, events, deliveries, len(long))
	}
	for _, r := range []*replica{two, three, four} {
		r.signal(syscall.SIGTERM)
		if code := r.exit(); code != 0 {
			t.Errorf("%s: exit code %d after SIGTERM", r.name, code)
		}
	}
}

// SIGTERM hands the work over within a second, and any replica answers for, and
// commands, all jobs.
func TestReplicasStandInForEachOther(t *testing.T) {
	server := storetest.Postgres(t)
	database := server.Database(t)
	w := newWorld(t, zuorasim.Options{Log: 1 << 20})
	one, two := w.replica(database, "one"), w.replica(database, "two")
	id, other := w.submit(1, time.Hour)[0], w.submit(1, time.Hour)[0]
	track(t, one.client(), id, apiclient.Item{})
	track(t, one.client(), other, apiclient.Item{})
	looked := func(name string, id job.ID) bool {
		all := w.looks()[id]
		return len(all) > 0 && by(&all[len(all)-1]) == name
	}
	eventually(t, "the first looks at its job", func() bool { return looked("one", id) && looked("one", other) })

	// Another replica shows it, and streams what happens to it.
	if v, err := two.client().Job(t.Context(), id); err != nil || v.State != job.Watching {
		t.Errorf("the second shows %+v, %v", v, err)
	}
	events := stream(t, two.url()+"/v1/events")
	third := w.submit(1, time.Second)[0]
	track(t, one.client(), third, apiclient.Item{})
	eventually(t, "the second streams the first's end", func() bool {
		return strings.Contains(events(), "event: finished") && strings.Contains(events(), third.String())
	})

	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	if err := post(ctx, two.url()+"/v1/jobs/"+id.String()+"/poll"); err != nil {
		t.Errorf("a look asked for at the second: %v", err)
	}
	if err := two.client().Untrack(ctx, other); err != nil {
		t.Errorf("untracked at the second: %v", err)
	}
	<-time.After(time.Second)
	if n := len(w.looks()[other]); n > 0 {
		before := n
		<-time.After(2 * time.Second)
		if after := len(w.looks()[other]); after != before {
			t.Errorf("untracked at the second, the first looks on: %d looks", after-before)
		}
	}

	one.signal(syscall.SIGTERM)
	if code := one.exit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	gone := time.Now()
	eventually(t, "the second goes on", func() bool { return looked("two", id) })
	for _, r := range w.looks()[id] {
		if by(&r) == "two" {
			if wait := r.At.Sub(gone); wait > time.Second {
				t.Errorf("the second went on %v after the first had gone, want a second", wait)
			}
			break
		}
	}
	w.neverTogether(1)
}

// stream reads server-sent events until the test ends.
func stream(t *testing.T, address string) func() string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	var mu sync.Mutex
	var all strings.Builder
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := answer.Body.Read(b)
			mu.Lock()
			all.Write(b[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

func post(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode >= http.StatusMultipleChoices {
		b, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: %s", answer.Status, b)
	}
	return nil
}

func TestStoreCopy(t *testing.T) {
	w := newWorld(t, zuorasim.Options{})
	d := w.serve(nil)
	id := w.submit(1, 50*time.Millisecond)[0]
	track(t, d.client, id, apiclient.Item{})
	w.announced([]job.ID{id}, 0)
	from, to := "sqlite:"+w.dir+"/jobs.db", "sqlite:"+w.dir+"/copy.db"
	if code, _, stderr := runCLI(t, "", "store", "copy", from, to); code != 1 || !strings.Contains(stderr, "in use by another jobwatcher") {
		t.Errorf("under a running daemon: exit code %d, %s", code, stderr)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := runCLI(t, "", "store", "copy", from, to); code != 0 || !strings.Contains(stdout, "deliveries") || !strings.Contains(stderr, "row for row") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	for _, args := range [][]string{{from, from}, {from, to}, {from, "mysql://x"}, {"sqlite:" + w.dir + "/none/x.db", to}} {
		if code, _, stderr := runCLI(t, "", append([]string{"store", "copy"}, args...)...); code != 1 || stderr == "" {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
	again := w.serve(map[string]string{"JOBWATCHER_STORE": to})
	if v, err := again.client.Job(t.Context(), id); err != nil || v.Outcome != job.OutcomeCompleted || v.Deliveries.Delivered != 2 {
		t.Errorf("after the move: %+v, %v", v, err)
	}
}
