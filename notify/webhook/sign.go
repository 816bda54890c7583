package webhook

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// signer signs with every live secret.
type signer struct {
	secrets []string
	names   []string // which one it is: the file it stands in and its place there
	hooks   []*standardwebhooks.Webhook
}

// errSecret never holds the secret itself.
var errSecret = errors.New(`the webhook secret is not "whsec_" followed by base64 (Standard Webhooks)`)

// secretPrefix may be left out, as the official libraries allow.
const secretPrefix = "whsec_"

// newSigner reads the secrets in force, of which each source may hold several,
// separated by lines or other white space. It is nil when no secret is configured.
func newSigner(sources []secret.Source) (*signer, error) {
	s := &signer{}
	for _, source := range sources {
		if source.Empty() {
			continue
		}
		text, err := source.Get()
		if err != nil {
			return nil, err
		}
		if text.Empty() || strings.TrimSpace(text.Reveal()) == "" {
			// A file that is empty for a moment must not turn signatures off.
			return nil, errors.New("the webhook secret is empty")
		}
		name := "secret"
		if path := source.Path(); path != "" {
			name = job.Cut(filepath.Base(path), maxSecretName)
		}
		for one := range strings.FieldsSeq(text.Reveal()) {
			if err := s.add(one); err != nil {
				return nil, err
			}
			s.names = append(s.names, name+"#"+strconv.Itoa(len(s.secrets)))
		}
	}
	if len(s.hooks) == 0 {
		return nil, nil //nolint:nilnil // no secret is no fault: the webhook goes out unsigned
	}
	return s, nil
}

func (s *signer) add(one string) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one, secretPrefix))
	if err != nil || len(key) == 0 {
		return errSecret
	}
	hook, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return errSecret
	}
	s.secrets, s.hooks = append(s.secrets, one), append(s.hooks, hook)
	return nil
}

// sign sets the three headers of Standard Webhooks; without a signer only the
// two that need no secret.
func (s *signer) sign(h http.Header, id string, at time.Time, body []byte) error {
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	if s == nil {
		return nil
	}
	signatures := make([]string, 0, len(s.hooks))
	for _, hook := range s.hooks {
		signature, err := hook.Sign(id, at, body)
		if err != nil {
			return fmt.Errorf("sign %s: %w", id, err)
		}
		signatures = append(signatures, signature)
	}
	h.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}

// key says for the ledger which secrets signed: each one's name and fingerprint,
// such as "loader#1 5f3a91c2, loader#2 0b7e44d1".
func (s *signer) key() string {
	if s == nil {
		return ""
	}
	all := make([]string, len(s.secrets))
	for i, one := range s.secrets {
		all[i] = s.names[i] + " " + fingerprint(one)
	}
	return job.Cut(strings.Join(all, ", "), maxKey)
}

// fingerprint has 32 bits of a hash: enough to tell two secrets apart and far
// too few to find one.
func fingerprint(one string) string {
	sum := sha256.Sum256([]byte("jobwatcher webhook key\x00" + strings.TrimPrefix(one, secretPrefix)))
	return hex.EncodeToString(sum[:4])
}

const (
	maxSecretName = 40
	maxKey        = 200
)

// known lists what must not come back in an answer.
func (s *signer) known() []string {
	if s == nil {
		return nil
	}
	var known []string
	for _, one := range s.secrets {
		known = append(known, one, strings.TrimPrefix(one, secretPrefix))
	}
	return known
}
