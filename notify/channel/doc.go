// Package channel tells people through services that are neither Slack nor a
// webhook of their own (Telegram, Discord, Opsgenie, Pushover, e-mail and
// others), by github.com/nicholas-fedor/shoutrrr, which knows how to speak to
// each. Ledger, schedule and holding are the same as for all destinations.
//
// Reading order: services.go says which services are allowed, and how their
// addresses are guarded; channel.go sends.
package channel
