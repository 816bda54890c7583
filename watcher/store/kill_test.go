package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/store/storetest"
)

// victimEnv makes the test binary the process that is killed.
const victimEnv = "JOBWATCHER_STORE_TEST_VICTIM"

func TestMain(m *testing.M) {
	if path := os.Getenv(victimEnv); path != "" {
		err := victim(context.Background(), path, os.Getenv(victimEnv+"_FROM"))
		fmt.Fprintln(os.Stderr, err) // it ends by SIGKILL or not at all
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim tracks and finishes one job after the other, and says so after each.
func victim(ctx context.Context, path, from string) error {
	n, err := strconv.Atoi(from)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, "sqlite:"+path, store.Options{})
	if err != nil {
		return err
	}
	if err := s.Register(ctx, job.Replica{ID: job.ReplicaID("victim-" + from)}, time.Minute, true); err != nil {
		return err
	}
	for ; ; n++ {
		if _, err := s.Track(ctx, job.ReplicaID("victim-"+from), []job.Tracking{tracking(n)}); err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, "tracked", n)
		results, err := s.Commit(ctx, job.ReplicaID("victim-"+from), []job.Update{finish(n)})
		if err != nil || results[0] != nil {
			return fmt.Errorf("commit: %v, %w", results, err)
		}
		fmt.Fprintln(os.Stdout, "finished", n)
	}
}

func TestWhatWasAcknowledgedSurvivesKill9(t *testing.T) {
	t.Parallel()
	const rounds, perRound = 10, 100_000
	path := filepath.Join(t.TempDir(), "jobs.db")
	tracked, finished := map[int]bool{}, map[int]bool{}
	for round := range rounds {
		// Not a multiple of the lines a job takes, so that it dies at both points.
		killVictim(t, path, round*perRound, 3+7*round, tracked, finished)
		s, err := store.Open(t.Context(), "sqlite:"+path, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range tracked {
			j, err := s.Job(t.Context(), tenant, id(n))
			if err != nil {
				t.Errorf("round %d: job %d was acknowledged: %v", round, n, err)
			} else if finished[n] && (j.State != job.Finished || j.Deliveries.Pending != 1) {
				t.Errorf("round %d: the end of job %d was acknowledged: %+v", round, n, j)
			}
		}
		storetest.CheckInvariants(t, s, tenant)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(tracked) < rounds || len(finished) < rounds {
		t.Errorf("acknowledged: %d tracked, %d finished; want at least %d of each", len(tracked), len(finished), rounds)
	}
}

// killVictim kills the process as soon as it has acknowledged so many times,
// and takes down everything that it said before it died.
func killVictim(t *testing.T, path string, from, lines int, tracked, finished map[int]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimEnv+"="+path, victimEnv+"_FROM="+strconv.Itoa(from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		var what string
		var number int
		if _, err := fmt.Sscan(scanner.Text(), &what, &number); err != nil {
			continue // cut off by the kill
		}
		if what == "tracked" {
			tracked[number] = true
		} else {
			finished[number] = true
		}
		if n++; n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the victim ended by itself")
	}
	if n < lines {
		t.Errorf("the victim acknowledged %d times before it ended, want at least %d", n, lines)
	}
}
