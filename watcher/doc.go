// Package watcher is the heart: one job from tracked to finished.
//
// A job is tracked (by the API, the environment, a file, or discovery), stored,
// and put into a queue ordered by due time. When it is due, one of a fixed
// number of workers asks Zuora about it. [Decide] says what the answer means.
// Nothing new: back into the queue, at no cost. A change: to the committer,
// which stores it with its event and the deliveries that the event owes, all in
// one transaction.
//
//	                 ┌────────────── unchanged, or the look failed ◄──────────┐
//	                 ▼                                                        │
//	track ──► [ waiting ] ──due, gate open──► [ looking ] ──Decide──► [ committing ] ──stored──► finished
//	                 ▲                                                        │
//	                 └───────────── status changed, overdue ◄─────stored──────┘
//
// # Guarantees
//
//   - A job that Track took in is watched until it has an outcome or is
//     untracked, by this replica or by whoever inherits it.
//   - A failed look changes nothing that is known of a job. Only status words
//     that Zuora documents end it; what lasts (403, 404, no end at all) ends it
//     as lost or abandoned, and being overdue is not an end.
//   - Status, outcome, event and deliveries are one transaction. What a failed
//     commit held is committed again from memory and Zuora is not asked twice;
//     what a kill held is seen again at the next start.
//   - An unchanged look writes nothing. Waiting costs a slot of memory: no
//     goroutine, no timer, no pointer.
//   - No request goes out before a tenant-wide Retry-After is over, and never
//     more than MaxInFlight at a time.
//   - A replica that cannot renew its claim stops looking before another may
//     begin, and can commit nothing afterwards.
//
// # Files, in reading order
//
//   - watcher.go: Watcher, its options, and the interfaces that it consumes.
//   - track.go: takes jobs in exactly once, however often it is asked, and lets them go.
//   - queue.go: the jobs that this replica owns, ordered by due time.
//   - slots.go: what a job costs in memory: a slot, a heap entry, a word's number.
//   - run.go: the loop: sleep until something is due, wake a worker, drain at the end.
//   - crew.go: the workers, as many as requests may be in flight.
//   - poll.go: one look, from due to decided.
//   - sweep.go: one list call that answers for many jobs; queue_sweep.go is the
//     queue's part in it; sweep_decide.go, pure: when it is worth its call, and of what size.
//   - decide.go: pure: what one look means for one job.
//   - schedule.go: pure: when to look next; foresee.go, pure: what past runs say of the rest.
//   - learn.go: reads past runs of queries like those that are watched (watcher/forecast).
//   - gate.go: when nothing may be asked of the tenant at all.
//   - budget.go: pure: how much may be asked of it, in every window; account.go
//     keeps that across restarts.
//   - commit.go: stores changes, many at a time, until they are stored.
//   - finish.go: builds the event of a change, and tells who waits for the end.
//   - feed.go: tells those who look on what happens, and never waits for them.
//   - claim.go: under which id this replica acts, and until when.
//   - bus.go: what replicas tell each other; fair.go: how they share the work.
//   - reap.go: registers, renews, inherits, loads, releases, deletes what is old.
//   - intake.go: jobs named by the environment and by a file.
//   - discover.go: jobs that nobody named, from the list, and the first request where there is none.
//   - explain.go: why the next look at a job is when it is.
//
// # Who may change what
//
// The queue's lock guards what is known of watched jobs; the gate's, the
// claim's and the committer's guard their own, and so do those of sweeps and histories. The only
// nesting is sweeps before queue before gate before budget, in sweep and take. No lock is held while anything is waited for. The loop alone
// decides when to wake; the workers alone ask; the committer alone commits; keep
// alone registers and renews, and stock alone loads.
package watcher
