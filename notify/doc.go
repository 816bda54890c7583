// Package notify tells destinations what has happened: at least once, never
// dropped, and as little as possible twice.
//
// A delivery is a row in the outbox, written in the transaction that made its
// event true. Each destination has a lane of its own, which claims what is due,
// sends it, has the attempt judged, and settles it:
//
//	due ──> claim ──> send ──> judge ──> settle
//
// A crash between sending and settling repeats the send, under the same
// webhook-id. A receiver that is slow or dead delays nobody else. What cannot be
// delivered is tried for a day, then exhausted: kept, visible, replayable. What
// waits for a paused destination is held.
//
// Besides jobs, two events are about more: a delivery that is given up is
// announced to others, and a group of jobs is announced once, when the first of
// them has not completed or the last one has. What a destinations file may hold,
// templates and the rule for groups are in deploy/destinations/README.md.
//
// Reading order: notify.go has the two interfaces; destinations.go what a
// destination is, parse.go its file, when.go its conditions beyond labels,
// template.go the operator's own texts, tried with template_samples.go; route.go which destinations an event owes;
// classify.go and judge.go what an attempt means, purely; dispatcher.go starts
// the lanes and answers the operator; lane.go is the loop; reload.go
// replaces destinations under way; settle.go records
// attempts; exhausted.go announces what was given up.
package notify
