//go:build !race

package notify_test

// replays is how many the test of replays makes.
const replays = 10_000
