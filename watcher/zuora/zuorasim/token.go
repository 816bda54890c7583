package zuorasim

import (
	"encoding/hex"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// account is a user with what was drawn for him.
type account struct {
	User
	deactivated bool
	issued      uint64
}

type token struct {
	account *account
	expires time.Time // zero: never
}

// accounts are the users, their tokens, and the limits on asking for one.
type accounts struct {
	seed   uint64
	life   time.Duration
	entity string
	all    []*account
	tokens map[string]token
	minted uint64

	limits *meter            // of the tenant
	byIP   map[string]*meter // of each address, for the running minute
	minute time.Time

	answered map[idempotencyKey]*answer
	keys     []idempotencyKey // oldest first
}

// The limits on token calls (facts section 4): these for the tenant, and 100 a
// minute for each address.
var tokenLimits = []Window{{2000, time.Minute}, {67_500, time.Hour}, {810_000, day}}

const tokensPerIP = 100

func newAccounts(o *Options, now time.Time) *accounts {
	a := &accounts{
		seed: o.Seed, life: o.TokenLife, tokens: map[string]token{},
		limits: newMeter(now, tokenLimits), byIP: map[string]*meter{},
		answered: map[idempotencyKey]*answer{},
	}
	users := append([]User{{ClientID: o.ClientID, ClientSecret: o.ClientSecret, Admin: !o.NonAdmin}}, o.Users...)
	for i, u := range users {
		d := dice(o.Seed, streamUser, uint64(i))
		if id := uuid(d).String(); u.ID == "" {
			u.ID = id
		}
		if u.Email == "" {
			u.Email = "user" + strconv.Itoa(i+1) + "@example.com"
		}
		a.all = append(a.all, &account{User: u})
	}
	a.entity = uuid(dice(o.Seed, streamUser, uint64(len(users)))).String()
	if len(o.Entities) > 0 {
		a.entity = o.Entities[0]
	}
	if o.BearerToken != "" {
		a.tokens[o.BearerToken] = token{account: a.first()}
	}
	return a
}

func (a *accounts) first() *account { return a.all[0] }

// named finds a user by his client id; the first one for "".
func (a *accounts) named(clientID string) *account {
	if clientID == "" {
		return a.first()
	}
	for _, u := range a.all {
		if u.ClientID == clientID {
			return u
		}
	}
	return nil
}

// bearer is whose token the request carries; nil for none that is good.
func (a *accounts) bearer(now time.Time, r *http.Request) *account {
	kind, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return nil
	}
	t, ok := a.tokens[text]
	if !ok || t.account.deactivated || !t.expires.IsZero() && !now.Before(t.expires) {
		return nil
	}
	return t.account
}

// revoke makes one token worthless, or all that can expire when text is "".
func (a *accounts) revoke(text string) {
	if text != "" {
		delete(a.tokens, text)
		return
	}
	for text, t := range a.tokens {
		if !t.expires.IsZero() {
			delete(a.tokens, text)
		}
	}
}

// mint makes a token for the user.
func (a *accounts) mint(now time.Time, u *account) (text, jti string) {
	const prune = 1000 // expired tokens are dropped when that many are kept
	if len(a.tokens) >= prune {
		for text, t := range a.tokens {
			if !t.expires.IsZero() && !now.Before(t.expires) {
				delete(a.tokens, text)
			}
		}
	}
	a.minted++
	u.issued++
	d := dice(a.seed, streamToken, a.minted)
	one, two := uuid(d), uuid(d)
	text, jti = hex.EncodeToString(one[:]), hex.EncodeToString(two[:])
	a.tokens[text] = token{account: u, expires: now.Add(a.life)}
	return text, jti
}

// admit counts one token call.
func (a *accounts) admit(now time.Time, ip string) bool {
	if minute := now.Truncate(time.Minute); !minute.Equal(a.minute) {
		a.minute = minute
		clear(a.byIP)
	}
	m := a.byIP[ip]
	if m == nil {
		m = newMeter(now, []Window{{tokensPerIP, time.Minute}})
		a.byIP[ip] = m
	}
	mine, all := m.take(now), a.limits.take(now)
	return mine && all
}

func (a *accounts) headers(h http.Header, now time.Time, ip string) {
	left := int64(0)
	if m := a.byIP[ip]; m != nil {
		m.roll(now)
		left = m.windows[0].left()
	}
	h.Set("X-Ratelimit-Limit-Minute", strconv.Itoa(tokensPerIP))
	h.Set("X-Ratelimit-Remaining-Minute", strconv.FormatInt(left, 10))
}

// token answers POST /oauth/token. The bodies of its failures are not
// documented; these are RFC 6749's.
func (x *exchange) token() *answer {
	refuse := func(status int, code, text string) *answer {
		return jsonAnswer(status, map[string]string{"error": code, "error_description": text})
	}
	if x.r.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "invalid_request", "only POST is supported")
	}
	if kind, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return refuse(http.StatusBadRequest, "invalid_request", "the body must be form-encoded")
	}
	const longestForm = 64 << 10
	x.r.Body = http.MaxBytesReader(nil, x.r.Body, longestForm)
	if err := x.r.ParseForm(); err != nil {
		return refuse(http.StatusBadRequest, "invalid_request", "the form cannot be read")
	}
	form := x.r.PostForm
	if form.Get("client_id") == "" || form.Get("client_secret") == "" || form.Get("grant_type") == "" {
		return refuse(http.StatusBadRequest, "invalid_request", "client_id, client_secret and grant_type are required")
	}
	if form.Get("grant_type") != "client_credentials" {
		return refuse(http.StatusBadRequest, "unsupported_grant_type", "grant_type must be client_credentials")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	u := x.accounts.named(form.Get("client_id"))
	if u == nil || u.ClientSecret != form.Get("client_secret") {
		return refuse(http.StatusUnauthorized, "invalid_client", "Invalid client id or client secret")
	}
	if u.deactivated {
		return refuse(http.StatusForbidden, "access_denied", "The user is not active")
	}
	x.log.Client = u.ClientID
	text, jti := x.accounts.mint(x.options.Now(), u)
	return jsonAnswer(http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
		Scope       string `json:"scope"`
		JTI         string `json:"jti"`
	}{
		text, "bearer", int64(x.accounts.life / time.Second),
		"user." + strings.ReplaceAll(u.ID, "-", "") + " entity." + x.accounts.entity + " service.echo.read tenant.19", jti,
	})
}

// host is the address without its port.
func host(addr string) string {
	h, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return h
}

// maxIdempotent bounds how many submits are remembered by their key.
const maxIdempotent = 10_000

type idempotencyKey struct {
	account *account
	key     string
}

// done is the answer that the same Idempotency-Key got before; nil for none.
func (a *accounts) done(u *account, key string) *answer {
	if key == "" {
		return nil
	}
	return a.answered[idempotencyKey{u, key}]
}

func (a *accounts) remember(u *account, key string, answer *answer) {
	if key == "" {
		return
	}
	k := idempotencyKey{u, key}
	a.answered[k] = answer
	a.keys = append(a.keys, k)
	if len(a.keys) > maxIdempotent {
		delete(a.answered, a.keys[0])
		a.keys = a.keys[1:]
	}
}
