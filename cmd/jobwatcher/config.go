package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/kelseyhightower/envconfig"
)

// The prefixes of our environment variables (contract section 3).
const (
	upstreamPrefix = "ZUORA"
	daemonPrefix   = "JOBWATCHER"
)

// Config is everything that the operator sets. Its tags are the reference:
// deploy/config.md and `jobwatcher config` are made from them.
//
// Packages never see it: serve.go copies values into each package's Options.
type Config struct {
	Upstream upstreamConfig
	Daemon   daemonConfig
}

// upstreamConfig is read with the prefix ZUORA.
//
// Fields are spelled so that envconfig's split_words yields the contract's
// names: BaseURL would become BASE_URL, but ClientID and IDs would not come
// out right everywhere, so no initialism is written in capitals.
//
//nolint:revive,tagalign // the spelling decides the variable's name; tags read in the order name, default, meaning
type upstreamConfig struct {
	BaseUrl          string        `split_words:"true" default:"https://rest.zuora.com" desc:"API origin of the tenant; https only, except on loopback"`
	ClientId         string        `split_words:"true" desc:"OAuth client credentials: the client's id"`
	ClientIdFile     string        `split_words:"true" desc:"file that holds ZUORA_CLIENT_ID"`
	ClientSecret     secret.Text   `split_words:"true" desc:"OAuth client credentials: the client's secret"`
	ClientSecretFile string        `split_words:"true" desc:"file that holds ZUORA_CLIENT_SECRET, read again when it is used"`
	BearerToken      secret.Text   `split_words:"true" desc:"a ready token, instead of client credentials"`
	BearerTokenFile  string        `split_words:"true" desc:"file that holds ZUORA_BEARER_TOKEN, read again when it is used"`
	EntityIds        string        `split_words:"true" desc:"sent as Zuora-Entity-Ids: one id, only for multi-entity tenants"`
	OrgIds           string        `split_words:"true" desc:"sent as Zuora-Org-Ids: comma-separated, only for multi-org tenants"`
	TrackId          string        `split_words:"true" default:"jobwatcher" desc:"prefix of Zuora-Track-Id; each request appends a unique suffix"`
	Timeout          time.Duration `split_words:"true" default:"30s" desc:"time limit of one upstream request"`
	MaxInFlight      int           `split_words:"true" default:"8" desc:"upstream requests in flight, all replicas together"`
	Budget           string        `split_words:"true" default:"0.5" desc:"share of each rate-limit window that we may use, above 0 and at most 1; or fixed limits such as 300/1m,5000/1h,50000/24h"`
}

// daemonConfig is read with the prefix JOBWATCHER.
//
//nolint:revive,tagalign // the spelling decides the variable's name; tags read in the order name, default, meaning
type daemonConfig struct {
	Tenant     string   `split_words:"true" desc:"name of the tenant in events and metrics; the host of ZUORA_BASE_URL when not set"`
	JobIds     []string `split_words:"true" desc:"comma-separated job IDs to track at start"`
	JobIdsFile string   `split_words:"true" desc:"file with one job ID per line (# comments), read again when it changes"`
	Discover   bool     `split_words:"true" default:"false" desc:"adopt every job that the list endpoint shows"`
	Store      storeURL `split_words:"true" default:"sqlite:jobwatcher.db" desc:"where jobs are kept: sqlite:PATH or postgres://…"`
	StoreFile  string   `split_words:"true" desc:"file that holds JOBWATCHER_STORE, for a URL with a password; read at start"`
	Listen     string   `split_words:"true" default:":8080" desc:"address of the HTTP API, health and metrics; empty turns it off, port 0 picks a free one"`

	MetricsListen    string      `split_words:"true" desc:"a second address, for /metrics and health alone"`
	WebConfigFile    string      `split_words:"true" desc:"exporter-toolkit web configuration (TLS, client certificates)"`
	ApiToken         secret.Text `split_words:"true" desc:"bearer token, or Basic password, for everything under /v1; without it only loopback peers are answered"`
	ApiTokenFile     string      `split_words:"true" desc:"file that holds JOBWATCHER_API_TOKEN, read again when it is used"`
	ApiReadToken     secret.Text `split_words:"true" desc:"a token that may read and not write"`
	ApiReadTokenFile string      `split_words:"true" desc:"file that holds JOBWATCHER_API_READ_TOKEN, read again when it is used"`

	DiscoverSince time.Duration `split_words:"true" default:"24h" desc:"how old a job may be to be adopted; at most JOBWATCHER_RETENTION"`

	DiscoverCreatedBy []string `split_words:"true" desc:"adopt only jobs that one of these users created (comma-separated, as in createdBy)"`
	DiscoverSource    []string `split_words:"true" desc:"adopt only jobs on these sources (comma-separated, such as LIVE or WAREHOUSE)"`
	DiscoverQuery     string   `split_words:"true" desc:"adopt only jobs whose query has this text, in any case"`

	PollInitialInterval time.Duration `split_words:"true" default:"1s" desc:"backoff between looks at a job: the first interval"`
	PollMaxInterval     time.Duration `split_words:"true" default:"30s" desc:"backoff: the largest interval"`
	PollMultiplier      float64       `split_words:"true" default:"1.5" desc:"backoff: growth from one interval to the next"`
	PollRandomization   float64       `split_words:"true" default:"0.1" desc:"backoff: jitter as a share of the interval, 0 to 1"`
	PollMode            string        `split_words:"true" default:"auto" desc:"auto (sweeps where they cost less, polls elsewhere), get (polls only) or list (sweeps first always)"`
	Deadline            time.Duration `split_words:"true" default:"6h" desc:"after this a job is overdue, unless it has a deadline of its own"`
	AbandonAfter        time.Duration `split_words:"true" default:"168h" desc:"after this watching ends with abandoned"`
	WarnOverdue         bool          `split_words:"true" default:"false" desc:"announce once, as overdue_expected, that a job will very likely become overdue by past runs of queries like it"`
	LostAfter           time.Duration `split_words:"true" default:"2m" desc:"403 or 404 must last this long, and at least 3 answers, before a job is lost"`
	Retention           time.Duration `split_words:"true" default:"720h" desc:"finished jobs and their deliveries are kept this long"`

	SlackUrl                 secret.Text `split_words:"true" desc:"incoming webhook of a destination named slack"`
	SlackUrlFile             string      `split_words:"true" desc:"file that holds JOBWATCHER_SLACK_URL, read again when it is used"`
	WebhookUrl               secret.Text `split_words:"true" desc:"URL of a destination named webhook"`
	WebhookUrlFile           string      `split_words:"true" desc:"file that holds JOBWATCHER_WEBHOOK_URL, read again when it is used"`
	WebhookSecret            secret.Text `split_words:"true" desc:"signing secret of the destination webhook, whsec_…"`
	WebhookSecretFile        string      `split_words:"true" desc:"file that holds JOBWATCHER_WEBHOOK_SECRET, read again when it is used; two lines while rotating"`
	DestinationsFile         string      `split_words:"true" desc:"YAML file: any number of destinations with filters"`
	AllowPrivateDestinations bool        `split_words:"true" default:"false" desc:"permits destinations on loopback, private and link-local addresses"`
	AllowedDestinations      []string    `split_words:"true" desc:"comma-separated hosts (loader.internal, *.internal), addresses and ranges (10.1.0.0/16) that destinations may have although they are private"`
	DestinationsProxy        bool        `split_words:"true" default:"false" desc:"sends to destinations through HTTP_PROXY, HTTPS_PROXY and NO_PROXY"`
	PageUrl                  string      `split_words:"true" desc:"where people find the page of this daemon; linked from Slack digests"`

	JobMetricsLimit int           `split_words:"true" default:"0" desc:"how many finished jobs have series of their own"`
	LogLevel        string        `split_words:"true" default:"info" desc:"debug, info, warn or error"`
	LogFormat       string        `split_words:"true" default:"auto" desc:"json, console, or auto (console on a terminal)"`
	ShutdownGrace   time.Duration `split_words:"true" default:"20s" desc:"how long SIGTERM waits for what is in the air; below Kubernetes' 30 s"`
	ShutdownDelay   time.Duration `split_words:"true" default:"0s" desc:"pause between readiness off and the end of taking work, for load balancers to notice; counts against JOBWATCHER_SHUTDOWN_GRACE"`
}

// fault is one thing wrong with the configuration, in the operator's words. Its
// text never holds a secret.
type fault struct {
	variable string
	text     string
}

func (f fault) Error() string { return f.variable + ": " + f.text }

// faults are all of them at once; one line each.
type faults []fault

func (f faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// orNil is f as an error, nil when there is none.
func (f faults) orNil() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// readConfig reads the environment. Every fault is reported, not the first
// alone; a field at fault gets its default, so that no second fault follows
// from the first.
func readConfig() (Config, faults) {
	var c Config
	var bad faults
	for _, v := range variables(&c) {
		if f := v.read(); f != nil {
			bad = append(bad, *f)
		}
	}
	return c, bad
}

// defaultConfig is what an empty environment gives.
func defaultConfig() Config {
	var c Config
	mustProcess(nowhere, &c.Upstream)
	mustProcess(nowhere, &c.Daemon)
	return c
}

// nowhere is a prefix under which nothing is found but the defaults: no
// variable's name can hold an equals sign.
const nowhere = "="

func mustProcess(prefix string, spec any) {
	if err := envconfig.Process(prefix, spec); err != nil {
		panic(err) // a default in the tags that does not parse: a mistake in this file
	}
}

var secretType = reflect.TypeFor[secret.Text]()

// variable is one environment variable with the field that it fills.
type variable struct {
	prefix string
	name   string
	field  reflect.StructField
	value  reflect.Value
}

// variables lists all of them in the order of the structs. The names are asked
// of envconfig itself, so that the reference cannot differ from what is read.
func variables(c *Config) []variable {
	var all []variable
	for _, part := range []struct {
		prefix string
		spec   any
	}{{upstreamPrefix, &c.Upstream}, {daemonPrefix, &c.Daemon}} {
		var keys bytes.Buffer
		if err := envconfig.Usagef(part.prefix, part.spec, &keys, "{{range .}}{{usage_key .}}\n{{end}}"); err != nil {
			panic(err) // not a pointer to a struct: a mistake in this file
		}
		names := strings.Fields(keys.String())
		v := reflect.ValueOf(part.spec).Elem()
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if field.Tag.Get("ignored") != "" {
				continue
			}
			all = append(all, variable{part.prefix, names[0], field, v.Field(i)})
			names = names[1:]
		}
	}
	return all
}

// read fills the one field. envconfig stops at the first value that does not
// parse, so each field is given to it as a struct of its own.
func (v variable) read() *fault {
	one := reflect.New(reflect.StructOf([]reflect.StructField{v.field}))
	var bad *fault
	if err := envconfig.Process(v.prefix, one.Interface()); err != nil {
		bad = &fault{v.name, err.Error()}
		if parse := (*envconfig.ParseError)(nil); errors.As(err, &parse) {
			bad.text = fmt.Sprintf("%q is not %s", job.Cut(parse.Value, 80), allowed(v.value.Interface()))
		}
		one = reflect.New(reflect.StructOf([]reflect.StructField{v.field}))
		mustProcess(nowhere, one.Interface())
	}
	v.value.Set(one.Elem().Field(0))
	return bad
}

// allowed says what a type takes. Types that decode anything are not here.
func allowed(value any) string {
	switch value.(type) {
	case time.Duration:
		return "a duration such as 30s, 5m or 24h"
	case bool:
		return "true or false"
	case int:
		return "a whole number"
	case float64:
		return "a number such as 1.5"
	}
	return "a " + fmt.Sprintf("%T", value)
}

// def is the default as the tag has it.
func (v variable) def() string { return v.field.Tag.Get("default") }

// shown is the value in force as it may be printed.
func (v variable) shown() string {
	switch x := v.value.Interface().(type) {
	case []string:
		return strings.Join(x, ",")
	case time.Duration:
		return shortDuration(x)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	default:
		return fmt.Sprint(x) // secrets and the store's URL mask themselves
	}
}
