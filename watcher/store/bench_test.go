package store_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/store/storetest"
)

// The benchmarks below compare the store with the bare driver that writes the
// same rows to the same kind of file, as many in a transaction, with prepared
// statements. Read the ratio: both sides are measured in one run.
//
//	go test -run ^$ -bench . -benchtime 20x -count 3 ./watcher/store

// perTransaction is how many jobs end together.
const perTransaction = 100

// benchStores runs a benchmark on each database.
func benchStores(b *testing.B, run func(b *testing.B, url string)) {
	b.Helper()
	b.Run("sqlite", func(b *testing.B) { run(b, "sqlite:"+b.TempDir()+"/jobs.db") })
	b.Run("postgres", func(b *testing.B) { run(b, storetest.Postgres(b).Database(b)) })
}

func openBench(b *testing.B, url string) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), url, store.Options{NoLock: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if err := s.Register(b.Context(), job.Replica{ID: replica}, time.Hour, true); err != nil {
		b.Fatal(err)
	}
	return s
}

// bare opens the same database without the store.
func bare(b *testing.B, url string) *sql.DB {
	b.Helper()
	driver, dsn := "pgx", url
	if path, lite := strings.CutPrefix(url, "sqlite:"); lite {
		driver, dsn = "sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-16000)&_txlock=immediate"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	b.Cleanup(func() { _ = db.Close() })
	return db
}

// transaction runs prepared statements once for each of n, in one transaction.
func transaction(b *testing.B, db *sql.DB, n int, texts []string, args func(statement, i int) []any) {
	b.Helper()
	tx, err := db.BeginTx(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	for at, text := range texts {
		prepared, err := tx.PrepareContext(b.Context(), text) //nolint:sqlclosecheck // the transaction's end closes it
		if err != nil {
			b.Fatal(err)
		}
		for i := range n {
			if _, err := prepared.ExecContext(b.Context(), args(at, i)...); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

func trackBench(b *testing.B, s *store.Store, from, n int) {
	b.Helper()
	items := make([]job.Tracking, n)
	for i := range items {
		items[i] = tracking(from + i)
	}
	if _, err := s.Track(b.Context(), replica, items); err != nil {
		b.Fatal(err)
	}
}

func report(b *testing.B, rows int, ours, theirs time.Duration) {
	b.Helper()
	b.ReportMetric(float64(rows)/ours.Seconds(), "ours/s")
	b.ReportMetric(float64(rows)/theirs.Seconds(), "bare/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkTrack takes 1,000 new jobs in.
func BenchmarkTrack(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		const n = 1000
		s, db := openBench(b, url), bare(b, url)
		insert := []string{`INSERT INTO jobs (tenant, id, state, owner, status, status_since, tracked_at, deadline_at, abandon_at,
			next_poll_at, interval_ms, polls, overdue, outcome, source, group_name, finished_at, detected_at, updated_at,
			source_data, created_by, error, labels, destinations, history, data_file, query)
			VALUES ($1, $2, 'watching', 'one', '', 0, $3, $3, $3, $3, 0, 0, 0, '', 'api', '', 0, 0, 0, '', '', '', $4, '[]', '[]', '', '')`}
		labels := `{"filler":"` + strings.Repeat("x", 500) + `"}`
		var ours, theirs time.Duration
		for i := range b.N {
			began := time.Now()
			trackBench(b, s, 1+2*i*n, n)
			ours += time.Since(began)
			began = time.Now()
			transaction(b, db, n, insert, func(_, k int) []any { return []any{tenant, id(1 + (2*i+1)*n + k).String(), 1_900_000_000_000, labels} })
			theirs += time.Since(began)
		}
		report(b, b.N*n, ours, theirs)
	})
}

// BenchmarkCommit ends 100 jobs in one transaction, each with its event and one
// delivery. The house's target for the ratio is 0.4.
func BenchmarkCommit(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		s, db := openBench(b, url), bare(b, url)
		n := b.N * perTransaction
		for from := 0; from < 2*n; from += 1000 {
			trackBench(b, s, 1+from, min(1000, 2*n-from))
		}
		texts := []string{
			`UPDATE jobs SET state = 'finished', status = 'completed', outcome = 'completed', finished_at = $3, detected_at = $3, history = $4, query = $5 WHERE tenant = $1 AND id = $2`,
			`INSERT INTO events (id, type, tenant, subject, job_id, time, created_at, data) VALUES ($1, 'dev.jobwatcher.job.completed', $2, $3, $3, $4, $4, $5)`,
			`INSERT INTO deliveries (id, event_id, event_type, tenant, job_id, destination, state, owner, tries, attempts, created_at, next_attempt_at, settled_at)
				VALUES ($1, $2, 'dev.jobwatcher.job.completed', $3, $4, 'loader', 'pending', '', 0, 0, $5, $5, 0)`,
		}
		at := int64(1_900_000_000_000)
		var ours, theirs time.Duration
		for i := range b.N {
			updates := make([]job.Update, perTransaction)
			for k := range updates {
				updates[k] = finish(1 + 2*i*perTransaction + k)
				updates[k].Seen = &job.Observation{Query: "SELECT id FROM account"}
			}
			began := time.Now()
			if _, err := s.Commit(b.Context(), replica, updates); err != nil {
				b.Fatal(err)
			}
			ours += time.Since(began)
			began = time.Now()
			transaction(b, db, perTransaction, texts, func(statement, k int) []any {
				one := id(1 + (2*i+1)*perTransaction + k).String()
				event := job.EventID(tenant, one, job.EventCompleted)
				switch statement {
				case 0:
					return []any{tenant, one, at, `[{"at":"2026-11-23T12:00:00Z","kind":"tracked"},{"at":"2026-11-23T12:00:00Z","kind":"finished"}]`, "SELECT id FROM account"}
				case 1:
					return []any{event, tenant, one, at, `{"job":{}}`}
				}
				return []any{job.DeliveryID(event, "loader"), event, tenant, one, at}
			})
			theirs += time.Since(began)
		}
		report(b, n, ours, theirs)
	})
}

// BenchmarkDeliver claims eight deliveries, as a lane does, and settles them as
// delivered.
func BenchmarkDeliver(b *testing.B) {
	benchStores(b, func(b *testing.B, url string) {
		const lane = 8
		s, db := openBench(b, url), bare(b, url)
		for from := 0; from < b.N*lane; from += perTransaction {
			trackBench(b, s, 1+from, perTransaction)
			updates := make([]job.Update, perTransaction)
			for k := range updates {
				updates[k] = finish(1 + from + k)
			}
			if _, err := s.Commit(b.Context(), replica, updates); err != nil {
				b.Fatal(err)
			}
		}
		texts := []string{
			`UPDATE events SET created_at = created_at WHERE id = $1 AND type <> $2`, // the row that is read
			`UPDATE deliveries SET state = 'delivered', owner = $2 WHERE id = $1`,
			`INSERT INTO attempts (delivery_id, n, at, took_us, code, reason, answer, signed_by, next_at) VALUES ($1, $2, 0, 0, 200, '', '', '', 0)`,
		}
		var ours, theirs time.Duration
		for i := range b.N {
			began := time.Now()
			out, _, err := s.ClaimDeliveries(b.Context(), replica, "loader", lane)
			if err != nil || len(out) != lane {
				b.Fatal(len(out), err)
			}
			done := make([]job.Settlement, lane)
			for k := range out {
				done[k] = job.Settlement{DeliveryID: out[k].ID, State: job.DeliveryDelivered, Attempt: &job.Attempt{Code: 200}}
			}
			if err := s.Settle(b.Context(), replica, done); err != nil {
				b.Fatal(err)
			}
			ours += time.Since(began)
			began = time.Now()
			for step := range 2 { // a claim and a settlement are two transactions
				transaction(b, db, lane, texts[step:step+1+step], func(statement, k int) []any {
					if step == 1 && statement == 1 {
						return []any{out[k].ID, 1000 + i}
					}
					return []any{out[k].ID, "x"}
				})
			}
			theirs += time.Since(began)
		}
		report(b, b.N*lane, ours, theirs)
	})
}
