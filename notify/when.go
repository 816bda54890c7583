package notify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// When restricts a destination beyond labels: to tenants, to outcomes, to jobs
// that ran long, to results of a size. Zero fields do not restrict. What is not
// known fulfils no condition: a job of which Zuora did not say how many rows it
// has does not have zero.
type When struct {
	Tenants  []string
	Outcomes []job.Outcome
	// MinDuration is how long a job must have run: by Zuora, else as far as we saw.
	MinDuration time.Duration
	// MinRows and MaxRows bound the rows of the result, both inclusive; nil does not.
	MinRows, MaxRows *int64
}

// IsZero reports whether it restricts nothing.
func (w *When) IsZero() bool {
	return len(w.Tenants) == 0 && len(w.Outcomes) == 0 && w.MinDuration == 0 && w.MinRows == nil && w.MaxRows == nil
}

// holds says whether the job is such a one, and why not. at is when its event
// happened; zero leaves out what only the end of a job can tell.
func (w *When) holds(j *job.Job, at job.Instant) (bool, string) {
	if len(w.Tenants) > 0 && !slices.Contains(w.Tenants, j.Tenant) {
		return false, fmt.Sprintf("the tenant is %q, wanted is %s", j.Tenant, strings.Join(w.Tenants, " or "))
	}
	if at == 0 {
		return true, ""
	}
	if len(w.Outcomes) > 0 && !slices.Contains(w.Outcomes, j.Outcome) {
		return false, fmt.Sprintf("the outcome is %q, wanted is %s", j.Outcome, join(w.Outcomes))
	}
	if took := ran(j, at); took < w.MinDuration {
		return false, fmt.Sprintf("the job ran %s, wanted is at least %s", took.Round(time.Millisecond), w.MinDuration)
	}
	if w.MinRows == nil && w.MaxRows == nil {
		return true, ""
	}
	switch rows := j.OutputRows; {
	case rows == nil:
		return false, "Zuora did not say how many rows it has, wanted is " + w.rows()
	case w.MinRows != nil && *rows < *w.MinRows, w.MaxRows != nil && *rows > *w.MaxRows:
		return false, fmt.Sprintf("the result has %d rows, wanted is %s", *rows, w.rows())
	}
	return true, ""
}

// ran is how long the job has run when the event happened.
func ran(j *job.Job, at job.Instant) time.Duration {
	if j.ProcessingTime != nil {
		return *j.ProcessingTime
	}
	if j.FinishedAt != 0 {
		at = j.FinishedAt
	}
	if j.TrackedAt == 0 {
		return 0
	}
	return max(at.Sub(j.TrackedAt), 0)
}

// rows is the condition on rows in words.
func (w *When) rows() string {
	switch {
	case w.MinRows == nil && w.MaxRows == nil:
		return ""
	case w.MaxRows == nil:
		return "at least " + strconv.FormatInt(*w.MinRows, 10)
	case w.MinRows == nil:
		return "at most " + strconv.FormatInt(*w.MaxRows, 10)
	case *w.MinRows == *w.MaxRows:
		return strconv.FormatInt(*w.MinRows, 10)
	}
	return fmt.Sprintf("%d to %d", *w.MinRows, *w.MaxRows)
}

// shown is the conditions as an operator reads them; nil when there are none.
func (w *When) shown() map[string]string {
	if w == nil {
		return nil
	}
	all := map[string]string{}
	for name, text := range map[string]string{"tenant": strings.Join(w.Tenants, "|"), "outcome": join(w.Outcomes), "rows": w.rows()} {
		if text != "" {
			all[name] = text
		}
	}
	if w.MinDuration > 0 {
		all["min_duration"] = w.MinDuration.String()
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func join(outcomes []job.Outcome) string {
	texts := make([]string, len(outcomes))
	for i, o := range outcomes {
		texts[i] = string(o)
	}
	return strings.Join(texts, " or ")
}

type whenYAML struct {
	Tenant      yaml.Node `yaml:"tenant"`
	Outcome     yaml.Node `yaml:"outcome"`
	MinDuration string    `yaml:"min_duration"`
	Rows        yaml.Node `yaml:"rows"`
}

func (raw *whenYAML) when(at place) *When {
	w := &When{Tenants: words(&raw.Tenant, "when.tenant", at)}
	for _, word := range words(&raw.Outcome, "when.outcome", at) {
		o := job.Outcome(word)
		if !slices.Contains(job.Outcomes(), o) {
			at.addf("when.outcome", "%q is not one of %s", job.Cut(word, 80), join(job.Outcomes()))
		}
		w.Outcomes = append(w.Outcomes, o)
	}
	if raw.MinDuration != "" {
		var err error
		if w.MinDuration, err = time.ParseDuration(raw.MinDuration); err != nil || w.MinDuration <= 0 {
			at.addf("when.min_duration", "%q is not a time such as 90s, 10m or 2h", job.Cut(raw.MinDuration, 80))
		}
	}
	raw.rows(w, at)
	return w
}

// words is one word or a list of words.
func words(node *yaml.Node, field string, at place) []string {
	var all []string
	switch {
	case node.IsZero():
		return nil
	case node.Kind == yaml.ScalarNode && node.Tag != "!!null" && node.Value != "":
		return []string{node.Value}
	case node.Kind == yaml.SequenceNode && node.Decode(&all) == nil && len(all) > 0 && !slices.Contains(all, ""):
		return all
	}
	at.addf(field, "neither a word nor a list of words")
	return nil
}

func (raw *whenYAML) rows(w *When, at place) {
	var exact int64
	var span struct {
		Min *int64 `yaml:"min"`
		Max *int64 `yaml:"max"`
	}
	known := func() bool { // yaml.Node.Decode does not refuse unknown keys
		for i := 0; i < len(raw.Rows.Content); i += 2 {
			if key := raw.Rows.Content[i].Value; key != "min" && key != "max" {
				return false
			}
		}
		return true
	}
	switch {
	case raw.Rows.IsZero():
	case raw.Rows.Kind == yaml.ScalarNode && raw.Rows.Tag == "!!int" && raw.Rows.Decode(&exact) == nil && exact >= 0:
		w.MinRows, w.MaxRows = &exact, &exact
	case raw.Rows.Kind == yaml.MappingNode && len(raw.Rows.Content) > 0 && known() && raw.Rows.Decode(&span) == nil:
		w.MinRows, w.MaxRows = span.Min, span.Max
		if span.Min != nil && span.Max != nil && *span.Min > *span.Max {
			at.addf("when.rows", "min is above max: no job can have so many rows")
		}
	default:
		at.addf("when.rows", "neither a number of rows, nor {min: N}, {max: N} or both")
	}
}
