package notify

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http/httpguts"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// The file of contract section 6.
type fileYAML struct {
	Destinations []destinationYAML `yaml:"destinations"`
}

type destinationYAML struct {
	Name    string               `yaml:"name"`
	On      []string             `yaml:"on"`
	Match   map[string]yaml.Node `yaml:"match"`
	When    *whenYAML            `yaml:"when"`
	Include []string             `yaml:"include"`
	Webhook *webhookYAML         `yaml:"webhook"`
	Slack   *slackYAML           `yaml:"slack"`
	Channel *slackYAML           `yaml:"channel"`
}

type webhookYAML struct {
	URL         string            `yaml:"url"`
	URLFile     string            `yaml:"url_file"`
	Secret      string            `yaml:"secret"`
	SecretFile  string            `yaml:"secret_file"`
	SecretsFile string            `yaml:"secrets_file"`
	Headers     map[string]string `yaml:"headers"`
	Template    string            `yaml:"template"`
	ContentType string            `yaml:"content_type"`
	FieldsFiles map[string]string `yaml:"fields_files"`
}

// slackYAML is a Slack webhook, or a channel: both have a URL and a text.
type slackYAML struct {
	URL      string `yaml:"url"`
	URLFile  string `yaml:"url_file"`
	Template string `yaml:"template"`
}

// maxDestinations bounds one file: each destination has a lane of its own.
const maxDestinations = 1000

// ParseDestinations reads a destinations file. All faults come at once, one a
// line, each with its place; a URL or secret is never repeated.
func ParseDestinations(text []byte) ([]Destination, error) {
	var file fileYAML
	var bad faults
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		var types *yaml.TypeError
		switch {
		case errors.As(err, &types):
			for _, one := range types.Errors {
				bad = append(bad, errors.New(withoutGoNames(one)))
			}
		case errors.Is(err, io.EOF): // nothing but comments
			return nil, nil
		default:
			return nil, errors.New(withoutGoNames(strings.TrimPrefix(err.Error(), "yaml: ")))
		}
	}
	lines := linesOf(text)
	if len(file.Destinations) > maxDestinations {
		bad = append(bad, fmt.Errorf("destinations: %d of them, allowed are at most %d", len(file.Destinations), maxDestinations))
	}
	all := make([]Destination, 0, len(file.Destinations))
	names := map[string]bool{}
	for i := range file.Destinations {
		raw := &file.Destinations[i]
		at := place{path: fmt.Sprintf("destinations[%d]", i), bad: &bad}
		if i < len(lines) {
			at.line = lines[i]
		}
		if raw.Name != "" && names[raw.Name] {
			at.addf("name", "%q is there twice; each name may be used once", raw.Name)
		}
		names[raw.Name] = true
		all = append(all, raw.destination(at))
	}
	return all, bad.orNil()
}

type faults []error

func (f faults) orNil() error { return errors.Join(f...) }

// place is where in the file a fault is.
type place struct {
	path string
	line int
	bad  *faults
}

func (p place) addf(field, format string, args ...any) {
	text := p.path + "." + field + ": " + fmt.Sprintf(format, args...)
	if p.line > 0 {
		text = fmt.Sprintf("line %d: %s", p.line, text)
	}
	*p.bad = append(*p.bad, errors.New(text))
}

var (
	goName    = regexp.MustCompile(` in type [][*]*notify\.\w+| into [][*]*notify\.\w+`)
	someValue = regexp.MustCompile("`[^`]*`")
)

// withoutGoNames turns the library's words into the operator's, and drops the
// values it repeats: one of them may be a secret.
func withoutGoNames(s string) string {
	s = strings.ReplaceAll(s, "not found in type", "is not known here, in type")
	s = goName.ReplaceAllString(s, "")
	return strings.TrimSuffix(someValue.ReplaceAllString(s, "value"), ",")
}

// linesOf is the line on which each destination begins.
func linesOf(text []byte) []int {
	var file struct {
		Destinations []yaml.Node `yaml:"destinations"`
	}
	if yaml.Unmarshal(text, &file) != nil {
		return nil
	}
	lines := make([]int, len(file.Destinations))
	for i := range file.Destinations {
		lines[i] = file.Destinations[i].Line
	}
	return lines
}

func (raw *destinationYAML) destination(at place) Destination {
	d := Destination{Name: raw.Name, On: raw.On, Include: raw.Include}
	if err := job.ValidateName("name", raw.Name); err != nil {
		at.addf("name", "%q is not a name of at most 63 lower-case letters, digits, '-', '_' or '.', beginning and ending with a letter or digit", job.Cut(raw.Name, 80))
	}
	for i, word := range raw.On {
		if !slices.Contains(onWords(), word) {
			at.addf(fmt.Sprintf("on[%d]", i), "%q is not one of %s", job.Cut(word, 80), strings.Join(onWords(), ", "))
		}
	}
	for i, word := range raw.Include {
		if word != IncludeQuery && word != IncludeDataFile {
			at.addf(fmt.Sprintf("include[%d]", i), "%q is not one of %s, %s", job.Cut(word, 80), IncludeQuery, IncludeDataFile)
		}
	}
	d.Match = matchers(raw.Match, at)
	if raw.When != nil {
		d.When = raw.When.when(at)
	}
	given := 0
	if raw.Webhook != nil {
		given++
		d.Webhook = raw.Webhook.config(at)
	}
	if raw.Slack != nil {
		given++
		d.Slack = &SlackConfig{URL: urlSource(raw.Slack.URL, raw.Slack.URLFile, "slack", CheckURL, at)}
		d.Slack.Template = templateOf(raw.Slack.Template, false, "slack", at)
	}
	if raw.Channel != nil {
		given++
		// Whose URL it is, and whether it is a good one, the library knows.
		d.Channel = &ChannelConfig{URL: urlSource(raw.Channel.URL, raw.Channel.URLFile, "channel", notEmpty, at)}
		d.Channel.Template = templateOf(raw.Channel.Template, false, "channel", at)
	}
	switch given {
	case 1:
	case 0:
		at.addf("webhook", "missing; a destination has one of webhook, slack and channel")
	default:
		at.addf("webhook", "one of %d kinds given; a destination has one of webhook, slack and channel", given)
	}
	return d
}

func matchers(raw map[string]yaml.Node, at place) []Matcher {
	keys := make([]string, 0, len(raw))
	for k := range raw {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	all := make([]Matcher, 0, len(keys))
	for _, k := range keys {
		node := raw[k]
		field := "match." + k
		if err := (job.Labels{k: ""}).Validate(); err != nil {
			at.addf(field, "%q is not a label key", job.Cut(k, 80))
		}
		m := Matcher{Label: k}
		var conditions struct {
			Exists *bool `yaml:"exists"`
		}
		switch {
		case node.Kind == yaml.ScalarNode && node.Tag != "!!null":
			m.In = []string{node.Value}
		case node.Kind == yaml.SequenceNode && node.Decode(&m.In) == nil && len(m.In) > 0:
		case node.Kind == yaml.MappingNode && len(node.Content) == 2 && node.Decode(&conditions) == nil && conditions.Exists != nil:
			m.Absent = !*conditions.Exists
		default:
			at.addf(field, "neither a value, nor a list of values, nor {exists: true} or {exists: false}")
		}
		for _, v := range m.In {
			if err := (job.Labels{"k": v}).Validate(); err != nil {
				at.addf(field, "%q can never be a label's value", job.Cut(v, 80))
			}
		}
		all = append(all, m)
	}
	return all
}

// String is the condition as an operator would write it.
func (m *Matcher) String() string {
	switch {
	case m.Absent:
		return "{exists: false}"
	case m.In == nil:
		return "{exists: true}"
	}
	return strings.Join(m.In, "|")
}

func (raw *webhookYAML) config(at place) *WebhookConfig {
	c := &WebhookConfig{URL: urlSource(raw.URL, raw.URLFile, "webhook", CheckURL, at)}
	given := 0
	for _, one := range []struct{ field, path string }{{"secret_file", raw.SecretFile}, {"secrets_file", raw.SecretsFile}} {
		if one.path != "" {
			given++
			c.Secrets = []secret.Source{secret.File(one.path)}
			text, err := c.Secrets[0].Get()
			if err != nil {
				at.addf("webhook."+one.field, "%s", err)
			} else if _, err := SigningSecrets(text); err != nil {
				at.addf("webhook."+one.field, "%s", err)
			}
		}
	}
	if raw.Secret != "" {
		given++
		c.Secrets = []secret.Source{secret.Fixed(secret.New(raw.Secret))}
		if _, err := SigningSecrets(secret.New(raw.Secret)); err != nil {
			at.addf("webhook.secret", "%s", err)
		}
	}
	if given > 1 {
		at.addf("webhook.secret", "given more than once; use one of secret, secret_file and secrets_file")
	}
	raw.custom(c, at)
	names := make([]string, 0, len(raw.Headers))
	for k := range raw.Headers {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		if err := CheckHeader(k, raw.Headers[k]); err != nil {
			at.addf("webhook.headers", "%s", err)
			continue
		}
		if c.Headers == nil {
			c.Headers = map[string]secret.Text{}
		}
		c.Headers[k] = secret.New(raw.Headers[k])
	}
	return c
}

// custom reads what makes a body of the operator's own.
func (raw *webhookYAML) custom(c *WebhookConfig, at place) {
	if raw.Template == "" {
		if raw.ContentType != "" || len(raw.FieldsFiles) > 0 {
			at.addf("webhook.template", "missing: content_type and fields_files belong to a template")
		}
		return
	}
	c.ContentType = cmp.Or(raw.ContentType, "application/json")
	kind, _, err := mime.ParseMediaType(c.ContentType)
	if err != nil {
		at.addf("webhook.content_type", "%q is not a media type such as application/json", job.Cut(c.ContentType, 80))
	}
	asJSON := strings.HasSuffix(kind, "json")
	c.Template = templateOf(raw.Template, asJSON, "webhook", at)
	for name, path := range raw.FieldsFiles {
		source := secret.File(path)
		if text, err := source.Get(); err != nil {
			at.addf("webhook.fields_files."+name, "%s", err)
		} else if text.Empty() {
			at.addf("webhook.fields_files."+name, "%q is empty", path)
		}
		if !asJSON {
			at.addf("webhook.fields_files."+name, "only a JSON body has fields, and content_type is another")
		}
		if c.Fields == nil {
			c.Fields = map[string]secret.Source{}
		}
		c.Fields[name] = source
	}
}

// templateOf parses a template and tries it; nil for "".
func templateOf(text string, asJSON bool, field string, at place) *Template {
	if text == "" {
		return nil
	}
	t, err := ParseTemplate(text, asJSON)
	if err != nil {
		at.addf(field+".template", "%s", err)
	}
	return t
}

// reserved are the headers that are ours to set.
var reserved = []string{"Content-Type", "Content-Length", "Content-Encoding", "Host", "Connection", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "User-Agent"}

// CheckHeader checks a header of a webhook's own; the error does not repeat the value.
func CheckHeader(name, value string) error {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("%q is not a header name", job.Cut(name, 80))
	case !httpguts.ValidHeaderFieldValue(value):
		return fmt.Errorf("the value of %q has characters that a header may not have", job.Cut(name, 80))
	case strings.HasPrefix(canonical, "Webhook-"), slices.Contains(reserved, canonical):
		return fmt.Errorf("%q is set by jobwatcher itself; choose another name", job.Cut(name, 80))
	}
	return nil
}

// urlSource checks a URL given directly or as a file; what it holds is never repeated.
func urlSource(text, path, field string, check func(secret.Text) error, at place) secret.Source {
	switch {
	case text != "" && path != "":
		at.addf(field+".url", "given together with url_file; use one of them")
	case text == "" && path == "":
		at.addf(field+".url", "missing; give url or url_file")
	case path != "":
		source := secret.File(path)
		content, err := source.Get()
		if err != nil {
			at.addf(field+".url_file", "%s", err)
		} else if err := check(content); err != nil {
			at.addf(field+".url_file", "%s", err)
		}
		return source
	default:
		if err := check(secret.New(text)); err != nil {
			at.addf(field+".url", "%s", err)
		}
	}
	return secret.Fixed(secret.New(text))
}

func notEmpty(t secret.Text) error {
	if strings.TrimSpace(t.Reveal()) == "" {
		return errors.New("it is empty")
	}
	return nil
}

// CheckURL checks a destination's URL without repeating it.
func CheckURL(t secret.Text) error {
	u, err := url.Parse(strings.TrimSpace(t.Reveal()))
	switch {
	case err != nil, u.Host == "":
		return errors.New("not an absolute URL such as https://host/path")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("scheme %q is not https or http", job.Cut(u.Scheme, 20))
	}
	return nil
}

// SigningSecrets splits a text into its live secrets, one a line, and checks
// each: whsec_ and 24 to 64 bytes in base64, as Standard Webhooks has it. A
// secret without the prefix is taken for what it is, if it is long enough.
func SigningSecrets(t secret.Text) ([]secret.Text, error) {
	var all []secret.Text
	for line := range strings.Lines(t.Reveal()) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "whsec_"); ok {
			key, err := base64.StdEncoding.DecodeString(rest)
			if err != nil {
				return nil, errors.New("a secret is not whsec_ followed by base64")
			}
			if len(key) < 16 || len(key) > 128 {
				return nil, fmt.Errorf("a secret has %d bytes, allowed are 16 to 128", len(key))
			}
			all = append(all, secret.New(line))
			continue
		}
		return nil, errors.New("a secret is not whsec_ followed by base64; make one with: echo whsec_$(head -c 32 /dev/urandom | base64)")
	}
	if len(all) == 0 {
		return nil, errors.New("no secret in it")
	}
	return all, nil
}
