// Package slack tells people about events, through a Slack incoming webhook.
//
// One event is one message; when the dispatcher hands over several, because
// more wait than one message a second can carry, they become one digest that
// names every job, or counts those that do not fit.
//
// What holds for every message, by construction and under a fuzzer:
//
//   - it stays inside Slack's limits: 50 blocks, 150 characters a header, 3,000
//     a section, 2,000 a field, 10 fields, about 12,000 in all;
//   - its text, which notifications and old clients show, is never empty;
//   - nothing in it that came from elsewhere (error texts, labels, queries) can
//     format, link or mention: it is escaped, and stands in plain text or code;
//   - cuts fall between characters and are shown by an ellipsis;
//   - a failed job shows its error text;
//   - when it goes out more than five minutes after its event was stored, it
//     says how late it is.
//
// Reading order: slack.go (the sender and its lane), answer.go (Slack's ways of
// saying no), pacer.go (one message a second for each URL), blocks.go (the
// message about one event), custom.go (the same in the operator's own words), digest.go (the one about many), words.go (durations,
// counts and titles in words), limits.go (cutting, escaping, and the message
// that cannot grow too large).
package slack
