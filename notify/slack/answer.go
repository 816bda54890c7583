package slack

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"regexp"
	"time"

	"github.com/jobwatcher/jobwatcher/notify"
	"github.com/jobwatcher/jobwatcher/notify/outbound"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// unspecifiedWait is how long we keep still when Slack says that we are too
// fast, in words, but not for how long; its own documentation's example waits so.
const unspecifiedWait = 30 * time.Second

// errorWords are what Slack says in the body, as plain text or as the error of
// a JSON object (docs.slack.dev, "Sending messages using incoming webhooks",
// "Handling errors", and the changelog of 2016-05-17). Words that agree with
// their status code are here for the JSON form, which may come with a 200.
var errorWords = map[string]job.Reason{
	// This URL will never work again.
	"channel_is_archived": job.ReasonGone,
	"no_active_hooks":     job.ReasonGone,
	"no_service":          job.ReasonGone,
	"no_service_id":       job.ReasonGone,
	"no_team":             job.ReasonGone,
	"team_disabled":       job.ReasonGone,

	"ratelimited":  job.ReasonRateLimited,
	"rate_limited": job.ReasonRateLimited,

	"action_prohibited":                 job.ReasonForbidden,
	"posting_to_channel_denied":         job.ReasonForbidden,
	"posting_to_general_channel_denied": job.ReasonForbidden,
	"invalid_token":                     job.ReasonForbidden,
	"channel_not_found":                 job.ReasonNotFound,
	"user_not_found":                    job.ReasonRejected,
	"invalid_blocks":                    job.ReasonRejected,
	"invalid_blocks_format":             job.ReasonRejected,
	"invalid_payload":                   job.ReasonRejected,
	"msg_too_long":                      job.ReasonRejected,
	"msg_blocks_too_long":               job.ReasonRejected,
	"no_text":                           job.ReasonRejected,
	"too_many_attachments":              job.ReasonRejected,
	"rollup_error":                      job.ReasonServer,
	"internal_error":                    job.ReasonServer,
	"fatal_error":                       job.ReasonServer,
	"service_unavailable":               job.ReasonServer,
}

// wordSyntax is what Slack's error words look like; anything else is not
// repeated in an error.
var wordSyntax = regexp.MustCompile(`^[a-z][a-z0-9_]{2,59}$`)

// jsonAnswer is Slack's JSON form, and what receivers that speak Slack's
// language answer (Rocket.Chat: success; Discord: retry_after).
type jsonAnswer struct {
	OK         *bool    `json:"ok"`
	Success    *bool    `json:"success"`
	Error      string   `json:"error"`
	RetryAfter *float64 `json:"retry_after"` // seconds
}

// verdict is what an answer means.
type verdict struct {
	reason job.Reason // NoReason: taken
	wait   time.Duration
	word   string // Slack's own word for it, "" when it said none
}

// judge reads the answer. Its status decides, unless the body says something
// more precise, or says no under a 200.
func judge(got outbound.Answer, now time.Time) verdict {
	var v verdict
	v.reason, _ = notify.ClassifyStatus(got.Code, got.Header, now)
	v.wait = notify.RetryAfter(got.Header, now) // may come with a 200 too
	said, isJSON := readJSON(got.Body)
	text := string(bytes.TrimSpace(got.Body))
	if isJSON {
		text = said.Error
	}
	if wordSyntax.MatchString(text) {
		v.word = text
	}
	if isJSON && v.wait == 0 && said.RetryAfter != nil && *said.RetryAfter > 0 {
		v.wait = time.Duration(min(*said.RetryAfter, math.MaxInt32) * float64(time.Second))
	}
	meaning, known := errorWords[v.word]
	switch {
	case v.reason != job.NoReason:
		// What a word adds to a status that is an error already.
		if meaning == job.ReasonGone || meaning == job.ReasonRateLimited {
			v.reason = meaning
		}
	case isJSON && (refused(said.OK) || refused(said.Success)), !isJSON && known:
		if v.reason = meaning; !known {
			v.reason = job.ReasonServer
		}
	case got.Code == http.StatusOK && bytes.HasPrefix(bytes.TrimSpace(got.Body), []byte("<")):
		// Slack answers "ok"; a page comes from something in between.
		v.reason = job.ReasonMalformed
	default:
		return verdict{} // taken; what else it says is not for us
	}
	if v.reason == job.ReasonRateLimited && known && v.wait == 0 {
		v.wait = unspecifiedWait
	}
	if v.reason == job.ReasonGone || v.reason == job.ReasonRedirected {
		v.wait = 0
	}
	return v
}

func refused(ok *bool) bool { return ok != nil && !*ok }

func readJSON(body []byte) (said jsonAnswer, ok bool) {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return jsonAnswer{}, false
	}
	err := json.Unmarshal(body, &said)
	return said, err == nil
}
