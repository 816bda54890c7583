// Package store keeps jobs, events, deliveries and who works on what, in SQLite
// or PostgreSQL, by the same statements.
//
// Reading order: store.go opens it and brings the schema up to date; dialect.go
// is everything in which the two databases differ, and prepared.go what SQLite
// needs to be quick; combiner.go is the one way to
// write: group commit. replicas.go says who owns what; track.go takes jobs in
// and hands them to their owner; commit.go is the one transaction of state,
// event and deliveries; groups.go is the part of both that is about sets of
// jobs; deliveries.go is the outbox and ledger.go its history
// and replay; jobs.go reads jobs, and runs.go what may be learned from
// those that have ended; budget.go is
// what of the tenant's rate limits is spent; share.go is how replicas
// divide the work, and notes.go what they tell each other; stats.go counts for the scrape; retain.go
// deletes what is old; copy.go moves everything to another database.
package store
