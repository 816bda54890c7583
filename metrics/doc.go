// Package metrics counts what happens, under the names of contract section 7.
//
// Every name stands in one of these files, every label combination that can be
// known is at zero from the start, and no label has more values than the
// operator configured or than a small bound allows: what Zuora or a receiver
// sends can add no series. A nil *Metrics counts nothing, so that nobody needs
// to ask.
//
// Files, in reading order:
//
//   - metrics.go: New and its options, the scrape handler, and what all families share.
//   - jobs.go: jobs tracked and finished, their time and rows.
//   - upstream.go: looks, and requests to Zuora.
//   - windows.go: Zuora's rate-limit windows as its answers tell of them.
//   - deliveries.go: attempts at destinations and how long they take.
//   - daemon.go: the store, claims, panics and the API.
//   - collector.go: gauges read from watcher and store at scrape time.
//   - series.go: the cap and expiry of opt-in series of single jobs.
//
// # Formats
//
// Histograms are native and classic at once: the scraper's Accept header picks
// protobuf (both) or text (classic). OpenMetrics is not offered: there the
// family of the counter jobwatcher_job_output_rows_total is called
// jobwatcher_job_output_rows, which is the name of a histogram (the same with
// jobwatcher_job_processing_seconds), and a document with both is not valid.
// Nothing is lost by it: we have no exemplars, and native histograms travel in
// protobuf.
package metrics
