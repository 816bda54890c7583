// Package verify breaks the daemon on purpose and looks from outside whether it
// keeps what it promises: it runs the real binary as a child process between a
// simulated Zuora tenant and scripted receivers, puts a seeded plan of faults in
// its way (a tenant that is slow, down, confused or throttling; receivers that
// hang, lie and recover; kills at random and at every commit point; freezes; a
// full disk), then clears all faults and checks the invariants of contract
// section 9 by what tenant and receivers saw and by what the daemon's API says.
//
//	plan ──> stage: tenant, receivers, disk ──> daemon, life after life
//	                      └── evidence ──> judge ──> report
//
// A plan is decided by its seed and length alone. What then happens also depends
// on the machine's speed: a failure may need the same seed more than once.
//
// # Files, in reading order
//
//   - verify.go: Run, its options, and the order of events.
//   - steps.go: one fault after the other, begun and ended.
//   - plan.go: the seeded plan of jobs and faults; pure.
//   - stage.go: the tenant and the receivers, on loopback ports.
//   - receiver.go: a receiver that misbehaves when told to, and remembers all.
//   - daemon.go: the child process, life after life.
//   - disk_linux.go: a disk that can be full; disk_other.go: one that cannot.
//   - postgres.go: a database whose connections are cut.
//   - client.go: who tracks the jobs, and insists until each is acknowledged.
//   - evidence.go: what everybody saw, collected.
//   - judge.go: what the evidence means, invariant by invariant; pure.
//   - leaks.go: the search for secrets in everything that comes out.
//   - report.go: the result for people and for programs.
//   - crash.go: a store that kills its process at a chosen commit point.
package verify
