// Package forecast learns from past runs of a query how long the next one will
// take, and when it pays to look at it. It is arithmetic only: no clock, no I/O,
// no randomness; the same runs always give the same answer.
//
// Reading order: history.go (what past runs teach, all in all), density.go (how
// their times become a distribution), model.go (what that says: chances, the
// likely end), plan.go (when to look, by dynamic programming), trust.go (when
// history is not to be believed), anomaly.go (what is unusual about a finished
// run).
//
// The objective, its derivation and what was measured are in watcher/DESIGN.md
// section 4b.
package forecast
