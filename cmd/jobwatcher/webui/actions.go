package webui

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// What the page says after an action. The word goes through the address, so it
// is looked up here and never shown as it came.
var done = map[string]string{
	"tracked":   "The jobs are watched.",
	"again":     "The jobs were watched already.",
	"untracked": "The job is not watched any more. Nothing is announced about it.",
	"poll":      "Zuora is asked as soon as the tenant's limits let it.",
	"replay":    "The delivery is due again.",
	"pause":     "The destination is paused. Its deliveries are held.",
	"resume":    "The destination goes on. What was held is due.",
	"test":      "The test event has been delivered.",
}

func said(word string) string { return done[word] }

const (
	// maxForm bounds a form: 10,000 ids of 36 characters.
	maxForm = 512 << 10
	// mostTracked is what one call of the API takes.
	mostTracked = 10_000
)

// form reads what a form has sent.
func form(r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, &fault{status: http.StatusBadRequest, Title: "Bad request", Detail: fmt.Sprintf("the form cannot be read; it may have %d KiB", maxForm>>10)}
	}
	return r.PostForm, nil
}

// spec is one job as the API takes it.
type spec struct {
	ID           string            `json:"id"`
	Labels       map[string]string `json:"labels,omitempty"`
	Destinations []string          `json:"destinations,omitempty"`
	Deadline     string            `json:"deadline,omitempty"`
	Group        string            `json:"group,omitempty"`
}

// track takes jobs in. What is refused is shown with the form as it was.
func (p *page) track(r *http.Request) (result, error) {
	f, err := form(r)
	if err != nil {
		return result{}, err
	}
	t := trackForm{
		IDs: f.Get("ids"), Labels: f.Get("labels"), Destinations: f.Get("destinations"),
		Deadline: strings.TrimSpace(f.Get("deadline")), Group: strings.TrimSpace(f.Get("group")), Open: true,
	}
	jobs, wrong := t.specs()
	if wrong != "" {
		return p.jobsWith(r, t, wrong)
	}
	var list struct {
		Jobs []struct{ ID, Result, Error string } `json:"jobs"`
	}
	if _, err := p.ask(r, http.MethodPost, "/v1/jobs", map[string]any{"jobs": jobs}, &list); err != nil {
		if refused := (*fault)(nil); errors.As(err, &refused) && refused.status == http.StatusUnprocessableEntity {
			return p.jobsWith(r, t, refused.Detail)
		}
		return result{}, err
	}
	word := "again"
	var left, faults []string
	for _, j := range list.Jobs {
		switch j.Result {
		case "tracked":
			word = "tracked"
		case "already_tracked":
		default:
			left, faults = append(left, j.ID), append(faults, j.ID+": "+j.Error)
		}
	}
	switch {
	case len(faults) == 0 && len(jobs) == 1:
		return result{to: "/jobs/" + url.PathEscape(jobs[0].ID) + "?done=" + word}, nil
	case len(faults) == 0:
		return result{to: "/?done=" + word}, nil
	}
	t.IDs = strings.Join(left, "\n")
	return p.jobsWith(r, t, fmt.Sprintf("%d of %d jobs were refused. %s", len(left), len(list.Jobs), strings.Join(faults[:min(len(faults), 5)], "; ")))
}

// specs reads the form's fields.
func (t *trackForm) specs() (jobs []spec, wrong string) {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ';' || c == ' ' || c == '\n' || c == '\r' || c == '\t' })
	}
	ids := split(t.IDs)
	if len(ids) == 0 || len(ids) > mostTracked {
		return nil, fmt.Sprintf("Job IDs: %d are given, allowed are 1 to %d", len(ids), mostTracked)
	}
	var labels map[string]string
	for _, pair := range split(t.Labels) {
		k, v, found := strings.Cut(pair, "=")
		if !found {
			return nil, fmt.Sprintf("Labels: %q is not key=value", job.Cut(pair, 80))
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[k] = v
	}
	for _, id := range ids {
		jobs = append(jobs, spec{id, labels, split(t.Destinations), t.Deadline, t.Group})
	}
	return jobs, ""
}

// act is the call behind a button; the page goes back to where it stood.
func (p *page) act(r *http.Request, method, target, back, word string) (result, error) {
	if _, err := form(r); err != nil {
		return result{}, err
	}
	if _, err := p.ask(r, method, target, nil, nil); err != nil {
		return result{}, err
	}
	return result{to: back + "?done=" + word}, nil
}

func unknown() error {
	return &fault{status: http.StatusNotFound, Title: "Not found", Detail: "there is no such action"}
}

func (p *page) actOnJob(r *http.Request) (result, error) {
	id := url.PathEscape(r.PathValue("id"))
	switch r.PathValue("do") {
	case "poll":
		return p.act(r, http.MethodPost, "/v1/jobs/"+id+"/poll", "/jobs/"+id, "poll")
	case "untrack":
		return p.act(r, http.MethodDelete, "/v1/jobs/"+id, "/", "untracked")
	}
	return result{}, unknown()
}

func (p *page) actOnDelivery(r *http.Request) (result, error) {
	id := url.PathEscape(r.PathValue("id"))
	if r.PathValue("do") != "replay" {
		return result{}, unknown()
	}
	return p.act(r, http.MethodPost, "/v1/deliveries/"+id+"/replay", "/deliveries/"+id, "replay")
}

func (p *page) actOnDestination(r *http.Request) (result, error) {
	name, do := url.PathEscape(r.PathValue("name")), r.PathValue("do")
	target := "/v1/destinations/" + name + "/" + do
	switch {
	case do == "test":
		return p.test(r, target)
	case !slices.Contains([]string{"pause", "resume"}, do):
		return result{}, unknown()
	}
	return p.act(r, http.MethodPost, target, "/destinations", do)
}

// test sends a test event. That it was not taken is an answer as well.
func (p *page) test(r *http.Request, target string) (result, error) {
	if _, err := form(r); err != nil {
		return result{}, err
	}
	var told struct {
		Delivered bool `json:"delivered"`
		job.AttemptView
	}
	if _, err := p.ask(r, http.MethodPost, target, nil, &told); err != nil {
		return result{}, err
	}
	if told.Delivered {
		return result{to: "/destinations?done=test"}, nil
	}
	res, err := p.destinations(r)
	a := job.Attempt{Code: told.Code, Reason: told.Reason, Answer: told.Answer}
	res.view.Fault = "The test event was not taken: " + a.Text()
	return res, err
}
