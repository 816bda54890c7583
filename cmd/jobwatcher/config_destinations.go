package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/channel"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// The names of the destinations that come from variables.
const (
	slackName   = "slack"
	webhookName = "webhook"
)

// maxDestinationsFile bounds what is read of the destinations file.
const maxDestinationsFile = 4 << 20

// destinations are those of the variables and those of the file. Every fault is
// a line of the error.
func (c *Config) destinations() ([]notify.Destination, error) {
	text, err := c.destinationsText()
	if err != nil {
		return nil, err
	}
	return c.destinationsOf(text)
}

// destinationsText reads the destinations file; nil when there is none.
func (c *Config) destinationsText() ([]byte, error) {
	path := c.Daemon.DestinationsFile
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, withoutOp(err, path)
	}
	if info.Size() > maxDestinationsFile {
		return nil, fmt.Errorf("%q is larger than %d bytes", path, maxDestinationsFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, withoutOp(err, path)
	}
	return text, nil
}

// destinationsOf are the destinations when the file has this text.
func (c *Config) destinationsOf(text []byte) ([]notify.Destination, error) {
	d := &c.Daemon
	var all []notify.Destination
	if url := source(d.SlackUrl, d.SlackUrlFile); !url.Empty() {
		all = append(all, notify.Destination{Name: slackName, Slack: &notify.SlackConfig{URL: url}})
	}
	if url := source(d.WebhookUrl, d.WebhookUrlFile); !url.Empty() {
		hook := &notify.WebhookConfig{URL: url}
		if signing := source(d.WebhookSecret, d.WebhookSecretFile); !signing.Empty() {
			hook.Secrets = []secret.Source{signing}
		}
		all = append(all, notify.Destination{Name: webhookName, Webhook: hook})
	}
	more, bad := notify.ParseDestinations(text)
	for _, taken := range all {
		if slices.ContainsFunc(more, func(one notify.Destination) bool { return one.Name == taken.Name }) {
			bad = errors.Join(bad, fmt.Errorf("a destination named %s comes from JOBWATCHER_%s_URL already", taken.Name, strings.ToUpper(taken.Name)))
		}
	}
	for i := range more {
		if c := more[i].Channel; c != nil {
			if text, err := c.URL.Get(); err == nil && !text.Empty() { // else it has been said
				if err := channel.Check(text); err != nil {
					bad = errors.Join(bad, fmt.Errorf("destination %s: channel.url: the value (not shown) is wrong: %w", more[i].Name, err))
				}
			}
		}
	}
	if bad != nil {
		return nil, bad
	}
	return append(all, more...), nil
}

// checkDestinations checks what the variables and the file give. No message
// repeats a URL or a secret.
func (c *Config) checkDestinations(add report) {
	d := &c.Daemon
	url, signing := source(d.WebhookUrl, d.WebhookUrlFile), source(d.WebhookSecret, d.WebhookSecretFile)
	checkURL(add, "JOBWATCHER_SLACK_URL", source(d.SlackUrl, d.SlackUrlFile))
	checkURL(add, "JOBWATCHER_WEBHOOK_URL", url)
	if text, err := signing.Get(); err == nil && !text.Empty() {
		if _, err := notify.SigningSecrets(text); err != nil {
			add(withFile("JOBWATCHER_WEBHOOK_SECRET", signing), "%s", err)
		} else if url.Empty() {
			add(withFile("JOBWATCHER_WEBHOOK_SECRET", signing), "set without JOBWATCHER_WEBHOOK_URL: there is nothing to sign")
		}
	}
	if _, _, bad := d.allowedDestinations(); bad != "" {
		add("JOBWATCHER_ALLOWED_DESTINATIONS", "%q is not a host such as loader.internal or *.internal, an address or a range such as 10.1.0.0/16", job.Cut(bad, 80))
	}
	if d.PageUrl != "" {
		if err := notify.CheckURL(secret.New(d.PageUrl)); err != nil {
			add("JOBWATCHER_PAGE_URL", "%q is %s", job.Cut(withoutUserinfo(d.PageUrl), 80), err)
		}
	}
	if d.DestinationsFile == "" || readable(d.DestinationsFile) != nil {
		return // checkFiles has said so
	}
	if _, err := c.destinations(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			add("JOBWATCHER_DESTINATIONS_FILE", "%s", line)
		}
	}
}

// hostSyntax is a name, or one with a star for everything below it.
var hostSyntax = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?$`)

// allowedDestinations tells hosts from addresses and ranges; bad is the first
// that is neither.
func (d *daemonConfig) allowedDestinations() (hosts []string, ranges []netip.Prefix, bad string) {
	for _, one := range d.AllowedDestinations {
		one = strings.TrimSpace(one)
		if one == "" {
			continue // a trailing comma
		}
		if p, err := netip.ParsePrefix(one); err == nil {
			ranges = append(ranges, p.Masked())
		} else if a, err := netip.ParseAddr(one); err == nil && a.Zone() == "" {
			ranges = append(ranges, netip.PrefixFrom(a, a.BitLen()))
		} else if hostSyntax.MatchString(one) && strings.ContainsFunc(one, isLetter) {
			hosts = append(hosts, one)
		} else if bad == "" {
			bad = one
		}
	}
	return hosts, ranges, bad
}

// isLetter: a host of digits and dots alone is an address that was mistyped.
func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

func checkURL(add report, variable string, s secret.Source) {
	if text, err := s.Get(); err == nil && !text.Empty() {
		if err := notify.CheckURL(text); err != nil {
			add(withFile(variable, s), "the value (not shown) is %s", err)
		}
	}
}

// withFile names the variable that is really set.
func withFile(variable string, s secret.Source) string {
	if s.Path() != "" {
		return variable + "_FILE"
	}
	return variable
}
