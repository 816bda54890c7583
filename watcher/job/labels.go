package job

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Labels are a user's own key-value pairs.
type Labels map[string]string

// Limits on what one job may carry.
const (
	MaxLabels       = 64
	maxLabelName    = 63  // Kubernetes
	maxLabelPrefix  = 253 // Kubernetes: a DNS subdomain
	MaxDestinations = 64
	// MinDeadline and MaxDeadline bound a job's own deadline.
	MinDeadline = 100 * time.Millisecond
	MaxDeadline = 366 * 24 * time.Hour
)

var (
	labelName   = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
	labelPrefix = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	nameSyntax  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9_.]*[a-z0-9])?$`)
)

// Validate checks everything a user may have got wrong, against the syntax of
// Kubernetes labels for keys, values and the group. It reports the first fault
// as an *InvalidError.
func (s Spec) Validate() error {
	if err := s.Labels.Validate(); err != nil {
		return err
	}
	if len(s.Destinations) > MaxDestinations {
		return invalid("destinations", strconv.Itoa(len(s.Destinations)), fmt.Sprintf("at most %d names", MaxDestinations))
	}
	for i, d := range s.Destinations {
		if err := ValidateName(fmt.Sprintf("destinations[%d]", i), d); err != nil {
			return err
		}
	}
	if s.Deadline != 0 && (s.Deadline < MinDeadline || s.Deadline > MaxDeadline) {
		return invalid("deadline", s.Deadline.String(), "between 100ms and 8784h")
	}
	if s.Group != "" && (len(s.Group) > maxLabelName || !labelName.MatchString(s.Group)) {
		return invalid("group", s.Group, "at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit")
	}
	return nil
}

// Validate checks the labels' number, keys and values.
func (l Labels) Validate() error {
	if len(l) > MaxLabels {
		return invalid("labels", strconv.Itoa(len(l)), fmt.Sprintf("at most %d labels", MaxLabels))
	}
	for _, k := range l.Keys() {
		prefix, name, found := strings.Cut(k, "/")
		if !found {
			prefix, name = "", k
		}
		if found && (len(prefix) > maxLabelPrefix || !labelPrefix.MatchString(prefix)) ||
			len(name) > maxLabelName || !labelName.MatchString(name) {
			return invalid("labels", k, "a label key: an optional DNS prefix and '/', then at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit")
		}
		if v := l[k]; v != "" && (len(v) > maxLabelName || !labelName.MatchString(v)) {
			return invalid(fmt.Sprintf("labels[%q]", k), v, "a label value: at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit, or empty")
		}
	}
	return nil
}

// Keys lists the keys in order.
func (l Labels) Keys() []string {
	keys := make([]string, 0, len(l))
	for k := range l {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// ValidateName checks the name of a destination.
func ValidateName(field, name string) error {
	if len(name) > maxLabelName || !nameSyntax.MatchString(name) {
		return invalid(field, name, "a name of at most 63 lower-case letters, digits, '-', '_' or '.', beginning and ending with a letter or digit")
	}
	return nil
}
