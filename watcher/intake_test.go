package watcher

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestParseIDs(t *testing.T) {
	t.Parallel()
	a, c := idOf(1), idOf(2)
	for _, tc := range []struct {
		name string
		in   string
		want []job.ID
		junk []string // the beginnings
	}{
		{"empty", "", nil, nil},
		{"one without a newline", a.String(), []job.ID{a}, nil},
		{"comments, blanks, carriage returns, a byte order mark", "\ufeff# ours\r\n\r\n  " + a.String() + "  # finance\r\n#\n\t\n" + strings.ToUpper(c.String()) + "\n", []job.ID{a, c}, nil},
		{"junk is named by its line", a.String() + "\nnonsense\n" + c.String() + "x\n{" + c.String() + "}\n", []job.ID{a}, []string{"line 2: ", "line 3: ", "line 4: "}},
		{"two on a line", a.String() + " " + c.String(), nil, []string{"line 1: "}},
		{"a line that is too long is one fault", strings.Repeat("x", 3*maxLine) + "\n" + a.String(), []job.ID{a}, []string{"line 1: "}},
		{"an ID hidden at the end of a long comment", "#" + strings.Repeat("x", maxLine) + "\n" + a.String(), []job.ID{a}, []string{"line 1: "}},
		{"much junk is counted", strings.Repeat("x\n", 1000), nil, []string{"line 1:", "line 2:", "line 3:", "line 4:", "line 5:", "line 6:", "line 7:", "line 8:", "line 9:", "line 10:", "and 990 more lines"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, junk, err := parseIDs(strings.NewReader(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if len(junk) != len(tc.junk) {
				t.Fatalf("junk %v, want %v", junk, tc.junk)
			}
			for i := range junk {
				if !strings.HasPrefix(junk[i].Error(), tc.junk[i]) || len(junk[i].Error()) > 300 {
					t.Errorf("junk %q, want %q…", junk[i], tc.junk[i])
				}
			}
		})
	}
}

func FuzzParseIDs(f *testing.F) {
	f.Add([]byte("# ours\n3a3e85c4-96e7-486b-ae02-827120104301 # finance\nnonsense\n"))
	f.Add([]byte("\xff\xfe\x00"))
	f.Add(bytes.Repeat([]byte("a"), maxLine+1))
	f.Fuzz(func(t *testing.T, in []byte) {
		ids, junk, err := parseIDs(bytes.NewReader(in))
		if err != nil {
			t.Fatalf("a reader that does not fail: %v", err)
		}
		if lines := bytes.Count(in, []byte("\n")) + 1; len(ids) > lines || len(junk) > maxJunk+1 {
			t.Errorf("%d ids and %d faults from %d lines", len(ids), len(junk), lines)
		}
		// What it wrote itself it reads again.
		var out strings.Builder
		for _, id := range ids {
			fmt.Fprintln(&out, id)
		}
		again, junk, err := parseIDs(strings.NewReader(out.String()))
		if err != nil || len(junk) != 0 || !slices.Equal(again, ids) {
			t.Errorf("read again: %v, %v, %v", again, junk, err)
		}
	})
}

func write(t *testing.T, path string, ids ...job.ID) {
	t.Helper()
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintln(&b, id)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFileOfIDsIsFollowed(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		path := filepath.Join(t.TempDir(), "ids")
		write(t, path, idOf(1), idOf(2))
		w, _ := b.start(func(o *Options) { o.IDsFile = path })
		b.pass(3 * time.Second)
		if n := w.queue.size(); n != 2 {
			t.Fatalf("%d jobs, want 2", n)
		}
		// Rewritten: one is new, one has gone, which ends nothing.
		write(t, path, idOf(2), idOf(3), idOf(4))
		b.pass(3 * time.Second)
		if n := w.queue.size(); n != 4 {
			t.Fatalf("%d jobs, want 4", n)
		}
		tracks := b.store.count("track")
		b.pass(time.Minute)
		if n := b.store.count("track") - tracks; n != 0 {
			t.Errorf("an unchanged file was tracked %d times again", n)
		}
		// An untracked job does not come back while the file stays as it is.
		if err := w.Untrack(t.Context(), idOf(3)); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Minute)
		if n := w.queue.size(); n != 3 {
			t.Errorf("%d jobs, want 3", n)
		}
		write(t, path, idOf(2), idOf(3), idOf(4), idOf(6))
		b.pass(time.Minute)
		if n := w.queue.size(); n != 4 {
			t.Errorf("%d jobs after one more was named, want 4", n)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Minute)
		if n := w.queue.size(); n != 4 {
			t.Errorf("%d jobs after the file has gone, want 4", n)
		}
		if got := b.logged(zapcore.WarnLevel, "cannot be read"); got != 1 {
			t.Errorf("warned %d times, want once", got)
		}
		write(t, path, idOf(5))
		b.pass(3 * time.Second)
		if n := w.queue.size(); n != 5 {
			t.Errorf("%d jobs after the file came back, want 5", n)
		}
	})
}

func TestConfigMapSwapIsSeen(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		dir := t.TempDir()
		// As the kubelet does it: ids → ..data/ids, ..data → ..2026_1, swapped by rename.
		swap := func(version string, ids ...job.ID) {
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, version, "ids"), ids...)
			next := filepath.Join(dir, "..data_tmp")
			if err := os.Symlink(version, next); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}
		swap("..2026_1", idOf(1))
		path := filepath.Join(dir, "ids")
		if err := os.Symlink(filepath.Join("..data", "ids"), path); err != nil {
			t.Fatal(err)
		}
		w, _ := b.start(func(o *Options) { o.IDsFile = path })
		b.pass(time.Second)
		swap("..2026_2", idOf(2))
		if err := os.RemoveAll(filepath.Join(dir, "..2026_1")); err != nil {
			t.Fatal(err)
		}
		b.pass(3 * time.Second)
		if n := w.queue.size(); n != 2 {
			t.Errorf("%d jobs, want 2", n)
		}
	})
}

func TestIDsFromTheEnvironmentAreTrackedOnceTheStoreIsThere(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		faults := 3
		b.store.fault = func(op string) (error, bool) {
			if op == "track" && faults > 0 {
				faults--
				return errInjected, false
			}
			return nil, false
		}
		w, _ := b.start(func(o *Options) { o.IDs = []job.ID{idOf(1), idOf(2)} })
		b.pass(time.Minute)
		if n := w.queue.size(); n != 2 {
			t.Errorf("%d jobs, want 2", n)
		}
		if s := b.store.job(idOf(1)).Source; s != job.SourceEnv {
			t.Errorf("source %q", s)
		}
	})
}

// history makes n jobs, newest first, one a minute before now.
func history(now time.Time, n int, created bool) []job.Observation {
	jobs := make([]job.Observation, n)
	for i := range jobs {
		at := now.Add(-time.Duration(i) * time.Minute)
		jobs[i] = job.Observation{ID: idOf(1000 + n - i), Status: job.Completed, UpdatedAt: at, ServerTime: now}
		if created {
			jobs[i].CreatedAt = at
		}
	}
	return jobs
}

func TestDiscoveryAdoptsWhatIsNewAndAnnouncesItOnce(t *testing.T) {
	for _, created := range []bool{true, false} {
		t.Run(fmt.Sprintf("createdOn=%v", created), func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				began := time.Now()
				jobs := history(began, 2000, created) // 33 hours of them
				b.up.lists(func(int) ([]job.Observation, error) { return jobs, nil })
				b.up.setAll(func(_ job.ID, at time.Time) (job.Observation, error) { return runs(at.Add(-time.Hour))(at) })
				b.start(func(o *Options) {
					o.Discover, o.DiscoverSince, o.DiscoverEvery = true, 10*time.Hour, time.Minute
				})
				b.pass(50 * time.Second)
				if n := len(b.store.announced()); n != 601 {
					t.Errorf("%d jobs announced, want the 601 of the last ten hours", n)
				}
				if diff := cmp.Diff([]int{100, 500, 1000}, b.up.pages()); diff != "" {
					t.Errorf("pages: %s", diff)
				}
				// Three new ones: a small page suffices, and nothing old is adopted.
				b.up.mu.Lock()
				b.up.size = nil
				b.up.mu.Unlock()
				fresh := history(began.Add(2*time.Minute), 3, created)
				for i := range fresh {
					fresh[i].ID = idOf(9000 + i)
				}
				b.up.lists(func(int) ([]job.Observation, error) { return append(slices.Clone(fresh), jobs...), nil })
				b.pass(5 * time.Minute)
				if n := len(b.store.announced()); n != 604 {
					t.Errorf("%d jobs announced, want three more", n)
				}
				if len(b.up.pages()) != 5 || slices.Max(b.up.pages()[1:]) > leastPage {
					t.Errorf("pages %v, want five of which only the first is large", b.up.pages())
				}
				if s := b.store.job(idOf(9000)).Source; s != job.SourceDiscover {
					t.Errorf("source %q", s)
				}
			})
		})
	}
}

func TestFailingListHarmsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.setAll(inProgress)
		w, _ := b.start(func(o *Options) { o.Discover = true })
		b.many(w, 10)
		b.pass(time.Hour)
		if n := len(b.up.pages()); n < 5 || n > 15 {
			t.Errorf("%d list calls in an hour of refusals, want them slower and slower", n)
		}
		if got := b.logged(zapcore.WarnLevel, "discovery"); got != 1 {
			t.Errorf("warned %d times, want once", got)
		}
		if n := len(b.up.looks(idOf(1))); n < 100 {
			t.Errorf("%d looks at a watched job", n)
		}
		if h := w.Health(); !h.Reachable {
			t.Errorf("a forbidden list made the tenant unreachable: %+v", h)
		}
	})
}

func TestDiscoveryKeepsToTheGateAndToTheRequestsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.up.takes(100 * time.Millisecond)
		b.up.lists(func(int) ([]job.Observation, error) { return nil, nil })
		b.up.setAll(func(job.ID, time.Time) (job.Observation, error) {
			return job.Observation{}, &fault{reason: job.ReasonRateLimited, after: 10 * time.Minute, wide: true}
		})
		w, _ := b.start(func(o *Options) { o.Discover, o.DiscoverEvery, o.MaxInFlight = true, 5*time.Second, 2 })
		b.pass(30 * time.Second)
		if len(b.up.pages()) == 0 {
			t.Fatal("nothing was listed")
		}
		b.many(w, 1)
		b.pass(time.Second)
		at := time.Now()
		b.pass(9 * time.Minute)
		if n := between(b.up.requests(), at, time.Now()); n != 0 {
			t.Errorf("%d requests while the tenant had asked for none", n)
		}
	})
}

func TestDiscoveryAdoptsOnlyWhatItIsToldTo(t *testing.T) {
	t.Parallel()
	o := job.Observation{CreatedBy: "ann", SourceData: "LIVE", Query: "SELECT id FROM Invoice"}
	for _, tc := range []struct {
		name string
		f    DiscoverFilter
		want bool
	}{
		{"no filter", DiscoverFilter{}, true},
		{"one of the creators", DiscoverFilter{CreatedBy: []string{"bob", "ann"}}, true},
		{"another creator", DiscoverFilter{CreatedBy: []string{"bob"}}, false},
		{"the source, in any case", DiscoverFilter{Sources: []string{"live"}}, true},
		{"another source", DiscoverFilter{Sources: []string{"WAREHOUSE"}}, false},
		{"the text, in any case", DiscoverFilter{Query: "from invoice"}, true},
		{"another text", DiscoverFilter{Query: "from account"}, false},
		{"all but one", DiscoverFilter{CreatedBy: []string{"ann"}, Sources: []string{"LIVE"}, Query: "account"}, false},
	} {
		if got := tc.f.takes(&o); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
