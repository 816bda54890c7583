// Package metrics counts what happens, under the names of contract section 7.
//
// Everything is registered in one place and starts at zero for every label
// combination that is known from the start, so that a rate over the first event
// is right. No label holds what a user or an upstream makes up: job ids only in
// the opt-in series, which are capped and expire.
//
// Reading order: metrics.go registers; jobs.go, upstream.go and deliveries.go
// have the methods that the loops call; collector.go reads gauges at scrape
// time; series.go keeps the opt-in series of single jobs.
package metrics
