//go:build race

package notify_test

// replays is how many the test of replays makes. The race detector makes SQLite,
// which is Go here, ten times slower; the pace shows with fewer as well.
const replays = 1_000
