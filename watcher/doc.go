// Package watcher is the heart: one job from tracked to finished.
package watcher
