// Package webhook tells a program about an event: one signed POST of one JSON
// body, which is at the same time a CloudEvent 1.0 in structured mode and a
// Standard Webhooks payload (contract section 5).
//
// What a receiver can rely on:
//
//   - the header webhook-id equals the body's id and is the same for each
//     retry and replay; so is the body, byte for byte, as long as the
//     destination asks for the same extras;
//   - webhook-timestamp is the second in which this attempt was made;
//   - webhook-signature holds one v1 signature for each live secret, so that
//     the receiver can change its secret at any time while two are live;
//   - without a secret there is no signature, but the other two headers are.
//
// URL, secrets and header values are read again for each attempt: a rotated
// file counts from the next one on.
//
// Reading order: body.go (the body), custom.go (a body of the operator's own
// making), sign.go (the signatures and their keys),
// webhook.go (the sender).
package webhook
