// Package zuora asks one Zuora tenant about its Data Query jobs.
//
// It promises to
//
//   - send every header of the published operations and follow no redirect;
//   - come back within the time-out of each request it makes;
//   - hold no more than one job of any answer in memory, at most 8 MiB of it,
//     whatever the answer unfolds to;
//   - understand whatever Zuora may send (fields that are absent, new, or of
//     another type, codes as numbers or texts, an error under HTTP 200), or say
//     "malformed" and never guess: an answer about another job, without a
//     status, or cut short is no observation;
//   - put neither URL nor credentials into its errors, and no more of the
//     answer than Zuora's own message, cleaned and cut;
//   - ask for a token once however many requests wait for it, and once more
//     when it is refused.
//
// One request, from top to bottom:
//
//	Get, List ──> token (cached) ──> GET ──> 200 ──> one job, or many one by one
//	                 ^                │
//	                 └── 401, once ───┤
//	                                  └──> anything else ──> *Error with a job.Reason
//
// A fault is tenant-wide, so that the watcher keeps the whole tenant waiting
// and holds nothing against the job, when it is
//
//   - any fault of the token endpoint, and any refusal of our credentials;
//   - a 429, which counts the tenant's requests and not the job's;
//   - a 5xx that says when to come back (Retry-After, or RateLimit-Reset with
//     nothing remaining);
//   - a redirect, or a web page in place of a 403 or 404: something between us
//     and the API answers in its stead, for every job alike.
//
// A 403 or 404 of Zuora's own is about the job, and so is an answer that is not
// understood. Other 5xx, time-outs and broken connections carry no mark: the
// watcher sees by their number whether they mean the tenant.
//
// Reading order: client.go has the options and the one transport; exchange.go
// makes one request; token.go keeps the OAuth token and grant.go asks for one;
// jobs.go has Get and List; body.go unfolds gzip and holds every answer to its
// cap; stream.go cuts a list into jobs; scan.go reads JSON in one pass; wire.go
// translates a job; headers.go reads Retry-After, rate-limit windows and Date;
// errors.go sorts what went wrong into job.Reason, and redact.go cleans foreign
// words before they are repeated.
package zuora
