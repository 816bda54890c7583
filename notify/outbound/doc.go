// Package outbound is the only way out of the house: every request to a
// receiver that is not ours goes through one [Client].
//
// A receiver is a stranger. Its address was typed by somebody, its name may
// resolve to anything, its answer may be long, slow, binary or a copy of what
// we sent. So a Client promises:
//
//   - one request for each Post: redirects come back as answers, nothing is
//     retried behind the caller's back;
//   - an end within the time limit, also when the receiver stops in the middle
//     of its answer;
//   - no connection to a loopback, private, link-local, metadata or otherwise
//     special address unless it was allowed, decided on the very address that
//     is dialled, so that a name which changes its mind after a check gains
//     nothing;
//   - at most 4 KiB read of an answer and 512 bytes kept, which are printable
//     UTF-8 without URLs, tokens or any secret of the request;
//   - errors that name neither URL nor secret and still answer errors.Is and
//     Timeout, so that they can be classified, logged and stored as they are.
//
// Reading order: client.go (the client and its one method), guard.go (which
// addresses may be dialled), head.go (what is kept of an answer), redact.go
// (which texts never come out, and the error that has none of them).
//
// # What is left to others
//
// With a proxy ([Options.Proxy]) the proxy resolves names, and only literal
// addresses can be checked here: a proxy that is asked for is trusted to guard
// its own network.
package outbound
