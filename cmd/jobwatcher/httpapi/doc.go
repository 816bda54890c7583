// Package httpapi is the JSON surface of the daemon (contract section 4): jobs
// taken in, looked up, waited for and let go; deliveries and destinations; and
// health.
//
// # Rules that hold for every call
//
//   - What it does is written in openapi.yaml, which is served at /openapi.yaml;
//     the tests send every request and check every answer against it.
//   - Every error is an RFC 9457 problem with a stable code, and every answer
//     carries X-Request-Id, which is in the log as well.
//   - Input is read strictly: an unknown field or query parameter, a value
//     outside of its bounds, and a byte too many are refused by name.
//   - Every change is one audit line: what, and by which token.
//   - An answer that says "tracked" is sent after the job is durable.
//
// The package knows jobs and nothing of SQL, Zuora or Slack: it asks through
// the interfaces of server.go, which the wiring fills.
//
// Files, in reading order:
//
//   - server.go: what it needs, the table of routes, and the handlers for both listeners.
//   - observe.go: one request from its id to its log line, panics included.
//   - auth.go: who may read and write, with tokens or from this machine.
//   - problem.go: the only place where an error becomes a status code.
//   - input.go: query strings and JSON bodies, read strictly.
//   - jobs.go: track one, list, show, untrack, look now.
//   - wait.go: the long poll, and why the next look is when it is.
//   - intake.go: track many in one transaction.
//   - events.go streams what happens; stream.go: track any number, a line each.
//   - deliveries.go: the ledger and its replay.
//   - destinations.go: list, test, pause, resume.
//   - health.go: livez from the loop's heartbeat, readyz from the store and the drain.
package httpapi
