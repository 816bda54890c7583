// Package zuora asks one Zuora tenant about its Data Query jobs.
//
// It promises to send every header of the published operation and nothing that
// Zuora did not ask for; to follow no redirect; to hold no more than one job of
// any answer in memory, and no more than 8 MiB of it; to understand whatever
// Zuora may send (fields that are absent, new, or of another type) or to say
// "malformed"; and that its errors hold neither URL nor credentials.
//
// Reading order: client.go makes one request; token.go keeps the OAuth token;
// jobs.go has Get and List; wire.go translates the API's JSON; headers.go reads
// Retry-After, rate-limit windows and Date; errors.go sorts what went wrong into
// job.Reason.
package zuora
