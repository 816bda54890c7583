// Package notifytest holds a scripted receiver and the checks that every
// [notify.Sender] must pass. It is for tests, ours and yours.
//
// Reading order: receiver.go (a receiver that does what its script says and
// remembers what it was sent), transport.go (the same receiver without a
// network, so that it works in virtual time), verify.go (whether a message was
// signed, by a verifier that is not ours), samples.go (deliveries of every kind
// of event, full of texts that must not leak), exercise.go (the checks),
// exercise_faults.go (those about receivers that misbehave), node.go (checks
// that are written in JavaScript, with the official libraries of that language).
package notifytest
