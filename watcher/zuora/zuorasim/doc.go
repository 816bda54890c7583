// Package zuorasim is a Zuora tenant that runs Data Query jobs, as an
// [http.Handler]: for jobwatcher simulate, demo and verify, and for the tests of
// everything that talks to Zuora. It follows the published OpenAPI document
// (watcher/zuora/testdata/openapi-dataquery.yaml), to which a test holds every
// one of its answers, and it misbehaves on demand.
//
//	t := zuorasim.New(zuorasim.Options{Seed: 1})
//	client := &http.Client{Transport: t.Transport()}
//	id := t.Submit(zuorasim.Spec{RunTime: time.Minute, Rows: new(int64(42))})
//	defer t.Fault(zuorasim.Fault{Kind: zuorasim.KindStatus, Status: 503, Count: 3})()
//
// # Time
//
// A tenant has no goroutine and needs no closing. Everything that happens to a
// job has an instant of its own, fixed by the seed and by what was submitted
// before; a request only brings the state up to the clock. So the answers do not
// depend on who looks when, the tenant works in the virtual time of
// testing/synctest (through Transport, without a socket), and a day passes as
// fast as its requests can be answered.
//
//	submitted ── AcceptAfter ──> accepted ── slot free, StartAfter ──> in_progress ── run time ──> its fate
//	     counts as queued            counts as queued, DELETE works        holds a slot, DELETE works
//
// # Where Zuora's documentation is silent
//
// The tenant then does something definite, and a client must not rely on it:
//   - POST answers accepted at once, as the samples do; set AcceptAfter to see submitted.
//   - processingTime is the time from in_progress to the end: in a recorded case
//     without a queue it was that from acceptance, which is the same here.
//   - remainingRetries counts down with each failed attempt of an hour; drawn run
//     times end at four hours with the message of the time limit, as failed.
//   - A full queue refuses a submit with 400; so are a pageSize above the maximum,
//     a queryStatus outside the five and a malformed Zuora-Track-Id.
//   - An unknown entity is 403; DELETE of an unknown job is 404.
//   - Rate-limit windows begin at full minutes, hours and UTC days, every request
//     counts, refused ones too, and the 429's body is a reasons list. Retry-After
//     is sent with Options.RetryAfter: the two guides disagree about it.
//   - Failed token calls have bodies as in RFC 6749.
//   - Jobs are erased 30 days after their creation and are then 404.
//   - dataFile is the same link at each look, and nothing is behind it.
//
// # Control over HTTP
//
// With Options.Control the paths under /_sim/ take JSON (declared as such):
//
//	POST   /_sim/jobs              {"count":5,"run_time":"20s","outcome":"failed","rows":10,"source":"WAREHOUSE",
//	                               "query":"…","error":"…","forever":false,"unlimited":true,"retries":1,"client":"…","id":"…"},
//	                               every field optional, or {"jobs":[{…},…]}; answers {"ids":[…]}
//	GET    /_sim/jobs, /_sim/jobs/{id}      what the tenant knows, with how often each was asked for
//	POST   /_sim/jobs/{id}/finish  {"status":"completed"}
//	DELETE /_sim/jobs/{id}         forgets it: 404 from now on
//	POST   /_sim/faults            {"kind":"status","status":503,"retry_after":"2","probability":0.1,"count":3,"for":"1m",…},
//	                               the fields of [Fault]; answers {"name":"flt_1"}
//	GET    /_sim/faults            the rules in force and their hits
//	DELETE /_sim/faults, /_sim/faults/{name}
//	GET    /_sim/stats             [Stats]
//	GET    /_sim/requests?limit=n  the newest of the request log
//	POST   /_sim/tokens/revoke     every token is worthless
//	POST   /_sim/clock             {"skew":"10m"}: Zuora's clock against ours
//	POST   /_sim/others            {"per_minute":100,"spend":500}: what other clients send
//
// # Files, in reading order
//
//   - options.go: what can be chosen about a tenant, and the defaults with their sources.
//   - runtime.go: distributions of run times and rows.
//   - tenant.go: the tenant and the way of a request through it.
//   - queue.go: jobs, slots and queues, moved along by events in virtual time.
//   - submit.go: how a job is drawn and planned when it comes in.
//   - jobs.go: the four Data Query operations and their JSON.
//   - token.go: users, OAuth tokens and idempotency keys.
//   - limits.go: rate-limit plans, windows and their headers.
//   - answer.go: error shapes, common headers, compression.
//   - faults.go: which requests a fault hits.
//   - misbehave.go: what it does to them.
//   - journal.go: the request log and the counters.
//   - script.go: what tests make the tenant do and know.
//   - control.go: the same over HTTP.
//   - transport.go: a round tripper without a socket.
package zuorasim
