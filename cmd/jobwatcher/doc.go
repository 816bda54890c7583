// Command jobwatcher watches Zuora Data Query jobs and announces how they end.
//
// This package is everything that the operator touches; the HTTP API, its
// client and the writing to terminals are packages below it. Reading order:
//
//   - main.go picks the command, runs it, turns its error into one line and an exit code.
//   - serve.go builds the parts in order of dependency and starts the loops: the only file that knows all packages.
//   - serve_http.go gives the HTTP API its parts and opens the addresses.
//   - listen.go serves HTTP on one address, with limits and TLS.
//   - lifecycle.go runs named loops together and unwinds named clean-ups in reverse, within a time limit.
//   - config.go is the Config struct whose tags are the reference, read once.
//   - config_check.go checks it, all faults at once.
//   - config_values.go holds the values that are more than a word: budget, store URL, secrets with their files.
//   - config_destinations.go gathers the destinations of variables and file.
//   - reload.go takes a changed destinations file over while the daemon runs.
//   - config_unknown.go warns about variables that nobody reads.
//   - config_cli.go prints and checks the configuration, and makes deploy/config.md.
//   - logger.go builds the zap logger.
//   - watch.go is the one-shot verb: the same parts in memory, live progress, exit code.
//   - progress.go is what it shows while it waits.
//   - cli.go holds what the verbs over the HTTP API share.
//   - track_cli.go has track and untrack.
//   - jobs_cli.go has list, show and explain.
//   - wait_cli.go has wait.
//   - ops_cli.go has deliveries, replay and destinations.
//   - budget_cli.go is the verb budget.
//   - healthcheck.go asks the local daemon whether it is ready.
//   - version.go says what this binary is.
//   - simulate.go serves the stand-in for Zuora.
//   - completion_cli.go completes ids and names in the shell.
//   - store_cli.go moves everything to another database.
//   - verify_cli.go breaks the daemon on purpose; the package verify does it.
//   - demo.go runs simulator, receivers and daemon in one process.
//   - demo_story.go is what happens in it.
//   - demo_receivers.go plays the demo's two destinations.
package main
