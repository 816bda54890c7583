package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// purpose says which faults matter: a command that only looks needs no
// destinations, but it needs the tenant's credentials.
type purpose int

const (
	forDaemon purpose = iota // run, config check
	forWatch                 // the one-shot verb
)

// validate checks values and their combinations, all at once, and fills in
// what depends on others (the tenant's name, a store URL kept in a file).
func (c *Config) validate(p purpose) faults {
	var bad faults
	add := func(variable, format string, args ...any) {
		bad = append(bad, fault{variable, fmt.Sprintf(format, args...)})
	}
	c.checkUpstream(add)
	c.checkPolling(add)
	c.checkLogging(add)
	if p == forDaemon {
		c.checkStore(add)
		c.checkListening(add)
		c.checkIntake(add)
		c.checkFiles(add)
		c.checkDestinations(add)
	}
	return bad
}

// report takes one fault.
type report func(variable, format string, args ...any)

var tenantSyntax = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.:]*[A-Za-z0-9])?$`)

func (c *Config) checkUpstream(add report) {
	u := &c.Upstream
	base, err := url.Parse(u.BaseUrl)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http":
		add("ZUORA_BASE_URL", "%q is not an https URL such as https://rest.zuora.com", withoutUserinfo(u.BaseUrl))
	case base.User != nil:
		add("ZUORA_BASE_URL", "a user name or password is not allowed in it: use ZUORA_CLIENT_ID and ZUORA_CLIENT_SECRET")
	case base.Path != "" && base.Path != "/" || base.RawQuery != "" || base.Fragment != "":
		add("ZUORA_BASE_URL", "%q is not an origin: scheme and host only, such as https://rest.zuora.com", u.BaseUrl)
	case base.Scheme == "http" && !loopbackHost(base.Hostname()):
		add("ZUORA_BASE_URL", "%q is not https, which only loopback may do without", u.BaseUrl)
	default:
		u.BaseUrl = strings.TrimSuffix(u.BaseUrl, "/")
		if c.Daemon.Tenant == "" {
			c.Daemon.Tenant = base.Hostname()
		} else if len(c.Daemon.Tenant) > 253 || !tenantSyntax.MatchString(c.Daemon.Tenant) {
			add("JOBWATCHER_TENANT", "%q is not a name of letters, digits, '-', '_', '.' or ':'", job.Cut(c.Daemon.Tenant, 80))
		}
	}
	c.checkCredentials(add)
	if u.TrackId == "" || len(u.TrackId) > 40 || strings.ContainsAny(u.TrackId, `:;"'`) || !printableASCII(u.TrackId) {
		add("ZUORA_TRACK_ID", "%q is not 1 to 40 printable ASCII characters without : ; \" or '", job.Cut(u.TrackId, 80))
	}
	if !printableASCII(u.EntityIds) || strings.Contains(u.EntityIds, ",") {
		add("ZUORA_ENTITY_IDS", "%q is not one entity id", job.Cut(u.EntityIds, 80))
	}
	if !printableASCII(u.OrgIds) {
		add("ZUORA_ORG_IDS", "%q is not a comma-separated list of organisation ids", job.Cut(u.OrgIds, 80))
	}
	between(add, "ZUORA_TIMEOUT", u.Timeout, 10*time.Millisecond, 10*time.Minute)
	if u.MaxInFlight < 1 || u.MaxInFlight > 1000 {
		add("ZUORA_MAX_IN_FLIGHT", `"%d" is not between 1 and 1000`, u.MaxInFlight)
	}
	if _, err := parseBudget(u.Budget); err != nil {
		add("ZUORA_BUDGET", "%s", err)
	}
}

// checkCredentials wants client credentials or a token, and not both.
func (c *Config) checkCredentials(add report) {
	u := &c.Upstream
	id := u.ClientId != "" || u.ClientIdFile != ""
	clientSecret := c.clientSecret()
	token := c.bearerToken()
	switch {
	case !token.Empty() && (id || !clientSecret.Empty()):
		add("ZUORA_BEARER_TOKEN", "set together with ZUORA_CLIENT_ID or ZUORA_CLIENT_SECRET; one kind of credentials is allowed, not both")
	case token.Empty() && !id && clientSecret.Empty():
		add("ZUORA_CLIENT_ID", "no credentials: set ZUORA_CLIENT_ID and ZUORA_CLIENT_SECRET, or ZUORA_BEARER_TOKEN (each also as …_FILE)")
	case token.Empty() && !id:
		add("ZUORA_CLIENT_ID", "not set, while ZUORA_CLIENT_SECRET is; OAuth needs both")
	case token.Empty() && clientSecret.Empty():
		add("ZUORA_CLIENT_SECRET", "not set, while ZUORA_CLIENT_ID is; OAuth needs both")
	}
	c.checkSecrets(add, upstreamPrefix)
}

func (c *Config) checkPolling(add report) {
	d := &c.Daemon
	between(add, "JOBWATCHER_POLL_INITIAL_INTERVAL", d.PollInitialInterval, 10*time.Millisecond, 24*time.Hour)
	between(add, "JOBWATCHER_POLL_MAX_INTERVAL", d.PollMaxInterval, 10*time.Millisecond, 24*time.Hour)
	if d.PollMaxInterval < d.PollInitialInterval {
		add("JOBWATCHER_POLL_MAX_INTERVAL", "%q is not at least JOBWATCHER_POLL_INITIAL_INTERVAL (%s)", shortDuration(d.PollMaxInterval), shortDuration(d.PollInitialInterval))
	}
	if !(d.PollMultiplier >= 1 && d.PollMultiplier <= 100) { // written so that NaN is refused
		add("JOBWATCHER_POLL_MULTIPLIER", `"%v" is not between 1 and 100`, d.PollMultiplier)
	}
	if !(d.PollRandomization >= 0 && d.PollRandomization <= 1) {
		add("JOBWATCHER_POLL_RANDOMIZATION", `"%v" is not between 0 and 1`, d.PollRandomization)
	}
	oneOf(add, "JOBWATCHER_POLL_MODE", d.PollMode, "auto", "get", "list")
	between(add, "JOBWATCHER_DEADLINE", d.Deadline, job.MinDeadline, job.MaxDeadline)
	between(add, "JOBWATCHER_ABANDON_AFTER", d.AbandonAfter, job.MinDeadline, 10*job.MaxDeadline)
	between(add, "JOBWATCHER_LOST_AFTER", d.LostAfter, time.Millisecond, 24*time.Hour)
	between(add, "JOBWATCHER_RETENTION", d.Retention, time.Second, 100*job.MaxDeadline)
	between(add, "JOBWATCHER_DISCOVER_SINCE", d.DiscoverSince, time.Second, 100*job.MaxDeadline)
	if d.Discover && d.DiscoverSince > d.Retention {
		add("JOBWATCHER_DISCOVER_SINCE", "%q is not at most JOBWATCHER_RETENTION (%s): forgotten jobs would be adopted and announced again", shortDuration(d.DiscoverSince), shortDuration(d.Retention))
	}
	if d.JobMetricsLimit < 0 || d.JobMetricsLimit > 100_000 {
		add("JOBWATCHER_JOB_METRICS_LIMIT", `"%d" is not between 0 and 100000`, d.JobMetricsLimit)
	}
}

func (c *Config) checkLogging(add report) {
	d := &c.Daemon
	oneOf(add, "JOBWATCHER_LOG_LEVEL", d.LogLevel, logLevels...)
	oneOf(add, "JOBWATCHER_LOG_FORMAT", d.LogFormat, "auto", "json", "console")
	between(add, "JOBWATCHER_SHUTDOWN_GRACE", d.ShutdownGrace, 100*time.Millisecond, time.Hour)
	between(add, "JOBWATCHER_SHUTDOWN_DELAY", d.ShutdownDelay, 0, time.Hour)
	if d.ShutdownDelay > 0 && d.ShutdownDelay >= d.ShutdownGrace {
		add("JOBWATCHER_SHUTDOWN_DELAY", "%q is not below JOBWATCHER_SHUTDOWN_GRACE (%s)", shortDuration(d.ShutdownDelay), shortDuration(d.ShutdownGrace))
	}
}

func (c *Config) checkListening(add report) {
	d := &c.Daemon
	for variable, address := range map[string]string{"JOBWATCHER_LISTEN": d.Listen, "JOBWATCHER_METRICS_LISTEN": d.MetricsListen} {
		if address != "" && !validAddress(address) {
			add(variable, "%q is not host:port or :port", job.Cut(address, 80))
		}
	}
	if d.Listen != "" && d.Listen == d.MetricsListen && !strings.HasSuffix(d.Listen, ":0") {
		add("JOBWATCHER_METRICS_LISTEN", "%q is the address of JOBWATCHER_LISTEN, which serves /metrics already", d.MetricsListen)
	}
	c.checkSecrets(add, daemonPrefix)
}

func (c *Config) checkIntake(add report) {
	for _, id := range c.Daemon.JobIds {
		if id = strings.TrimSpace(id); id == "" {
			continue // a trailing comma
		}
		if _, err := job.ParseID(id); err != nil {
			add("JOBWATCHER_JOB_IDS", "%q is not a 36-character UUID such as 3a3e85c4-96e7-486b-ae02-827120104301", job.Cut(id, 80))
		}
	}
}

// jobIDs are the valid ids of JOBWATCHER_JOB_IDS.
func (c *Config) jobIDs() []job.ID {
	ids := make([]job.ID, 0, len(c.Daemon.JobIds))
	for _, text := range c.Daemon.JobIds {
		if id, err := job.ParseID(strings.TrimSpace(text)); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// checkFiles opens what the daemon would open.
func (c *Config) checkFiles(add report) {
	for variable, path := range map[string]string{
		"JOBWATCHER_JOB_IDS_FILE":      c.Daemon.JobIdsFile,
		"JOBWATCHER_DESTINATIONS_FILE": c.Daemon.DestinationsFile,
		"JOBWATCHER_WEB_CONFIG_FILE":   c.Daemon.WebConfigFile,
	} {
		if path == "" {
			continue
		}
		if err := readable(path); err != nil {
			add(variable, "%s", err)
		}
	}
}

// readable opens and closes a file; a directory is none.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return withoutOp(err, path)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return fmt.Errorf("%q is a directory, not a file", path)
	}
	return nil
}

// withoutOp says `"path": no such file or directory` without "open".
func withoutOp(err error, path string) error {
	if at, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Errorf("%q: %w", path, at.Err)
	}
	return fmt.Errorf("%q: %w", path, err)
}

func between(add report, variable string, d, low, high time.Duration) {
	if d < low || d > high {
		add(variable, "%q is not between %s and %s", shortDuration(d), shortDuration(low), shortDuration(high))
	}
}

func oneOf(add report, variable, value string, words ...string) {
	if !slices.Contains(words, value) {
		add(variable, "%q is not one of %s", job.Cut(value, 80), strings.Join(words, ", "))
	}
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// loopbackHost reports whether a URL's host can only be this machine.
func loopbackHost(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func validAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, "/ @") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n <= 65535
}

// withoutUserinfo hides what stands before an @ in something that is not a URL.
func withoutUserinfo(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return "…" + job.Cut(s[at:], 80)
	}
	return job.Cut(s, 80)
}
