package main

import (
	"encoding"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
)

// storeURL is JOBWATCHER_STORE. It may hold a password, so it prints without.
type storeURL struct{ url string }

var _ encoding.TextUnmarshaler = (*storeURL)(nil)

// UnmarshalText takes any text: checks happen later and without printing.
func (s *storeURL) UnmarshalText(b []byte) error {
	s.url = string(b)
	return nil
}

// String is the URL with its passwords masked.
func (s storeURL) String() string {
	if !strings.Contains(s.url, "://") {
		return s.url // sqlite:PATH
	}
	u, err := url.Parse(s.url)
	if err != nil {
		return "[redacted]"
	}
	masked := false
	q := u.Query()
	for key := range q {
		if strings.Contains(key, "password") {
			q.Set(key, "xxxxx")
			masked = true
		}
	}
	if masked {
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

// Format makes every verb print the masked form, %#v and %+v included.
func (s storeURL) Format(w fmt.State, _ rune) { fmt.Fprint(w, s.String()) }

func (c *Config) checkStore(add report) {
	d := &c.Daemon
	if d.StoreFile != "" {
		if d.Store.url != defaultStore {
			add("JOBWATCHER_STORE", "set together with JOBWATCHER_STORE_FILE; one of the two is allowed")
			return
		}
		b, err := os.ReadFile(d.StoreFile)
		if err != nil {
			add("JOBWATCHER_STORE_FILE", "%s", withoutOp(err, d.StoreFile))
			return
		}
		d.Store = storeURL{strings.TrimRight(string(b), "\r\n")}
	}
	path, isFile := strings.CutPrefix(d.Store.url, "sqlite:")
	switch {
	case isFile && path != "":
	case strings.HasPrefix(d.Store.url, "postgres://"), strings.HasPrefix(d.Store.url, "postgresql://"):
		if u, err := url.Parse(d.Store.url); err != nil || u.Host == "" && u.Query().Get("host") == "" {
			add("JOBWATCHER_STORE", "the value (not shown, it may hold a password) is not a URL such as postgres://user:password@host:5432/name")
		}
	default:
		add("JOBWATCHER_STORE", "%q is not sqlite:PATH or postgres://…", withoutUserinfo(d.Store.url))
	}
}

// defaultStore is the default in the tag of daemonConfig.Store; a test holds
// the two together.
const defaultStore = "sqlite:jobwatcher.db"

// parseBudget reads ZUORA_BUDGET: a share of every window, or limits of our own.
func parseBudget(text string) (watcher.BudgetPolicy, error) {
	notBudget := fmt.Errorf("%q is not a share above 0 and at most 1, nor limits such as 300/1m,5000/1h,50000/24h", job.Cut(text, 80))
	if !strings.Contains(text, "/") {
		share, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || !(share > 0 && share <= 1) { // written so that NaN is refused
			return watcher.BudgetPolicy{}, notBudget
		}
		return watcher.BudgetPolicy{Share: share}, nil
	}
	b := watcher.BudgetPolicy{Limits: map[time.Duration]int64{}}
	for part := range strings.SplitSeq(text, ",") {
		limit, span, _ := strings.Cut(strings.TrimSpace(part), "/")
		n, err := strconv.ParseInt(strings.TrimSpace(limit), 10, 64)
		if err != nil || n < 1 {
			return watcher.BudgetPolicy{}, notBudget
		}
		d, err := time.ParseDuration(strings.TrimSpace(span))
		// Zuora has exactly these windows (zuora-facts.md section 4).
		if err != nil || d != time.Minute && d != time.Hour && d != 24*time.Hour {
			return watcher.BudgetPolicy{}, fmt.Errorf("%q: the window is not 1m, 1h or 24h", job.Cut(part, 80))
		}
		if _, twice := b.Limits[d]; twice {
			return watcher.BudgetPolicy{}, fmt.Errorf("%q: the window %s is given twice", job.Cut(text, 80), span)
		}
		b.Limits[d] = n
	}
	return b, nil
}

// source is a secret given directly or by file; both is a fault that
// checkSecrets reports.
func source(t secret.Text, path string) secret.Source {
	if path != "" {
		return secret.File(path)
	}
	return secret.Fixed(t)
}

func (c *Config) clientSecret() secret.Source {
	return source(c.Upstream.ClientSecret, c.Upstream.ClientSecretFile)
}

func (c *Config) bearerToken() secret.Source {
	return source(c.Upstream.BearerToken, c.Upstream.BearerTokenFile)
}

// checkSecrets looks at every pair X and X_FILE of one prefix: at most one of
// them is set, and a file can be read and is not empty.
func (c *Config) checkSecrets(add report, prefix string) {
	direct := map[string]bool{}
	for _, v := range variables(c) {
		if v.prefix != prefix {
			continue
		}
		if v.field.Type == secretType || v.name == "ZUORA_CLIENT_ID" {
			direct[v.name] = !v.value.IsZero()
			continue
		}
		name, isFile := strings.CutSuffix(v.name, "_FILE")
		set, known := direct[name]
		path := v.value.String()
		if !isFile || !known || path == "" {
			continue
		}
		if set {
			add(name, "set together with %s; one of the two is allowed", v.name)
			continue
		}
		text, err := secret.File(path).Get()
		if err != nil {
			add(v.name, "%s", withoutOp(err, path))
		} else if text.Empty() {
			add(v.name, "%q is empty", path)
		}
	}
}

// clientID is ZUORA_CLIENT_ID or what its file holds. It is no secret by
// itself, but Kubernetes mounts it beside one.
func (c *Config) clientID() (string, error) {
	if c.Upstream.ClientIdFile == "" {
		return c.Upstream.ClientId, nil
	}
	b, err := os.ReadFile(c.Upstream.ClientIdFile)
	if err != nil {
		return "", fmt.Errorf("ZUORA_CLIENT_ID_FILE: %w", withoutOp(err, c.Upstream.ClientIdFile))
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// shortDuration prints 6h and 2m30s where Go prints 6h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
