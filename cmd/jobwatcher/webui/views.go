package webui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// pageSize is how many rows a view shows: what a person can look through.
	pageSize = 50
	// plotted is how many finished jobs the plots show.
	plotted = 300
)

// jobsData is the list of jobs.
type jobsData struct {
	State          string
	Label, Outcome string
	Jobs           []job.View
	First, Next    string // links
	Track          trackForm
}

// trackForm is what was written into the form, shown again when it was refused.
type trackForm struct {
	IDs, Labels, Destinations, Deadline, Group string
	Open                                       bool
}

func (p *page) jobs(r *http.Request) (result, error) { return p.jobsWith(r, trackForm{}, "") }

func (p *page) jobsWith(r *http.Request, form trackForm, refused string) (result, error) {
	q := r.URL.Query()
	d := jobsData{State: q.Get("state"), Label: strings.TrimSpace(q.Get("label")), Outcome: q.Get("outcome"), Track: form}
	if d.State != string(job.Finished) {
		d.State = string(job.Watching)
	}
	filter := url.Values{"state": {d.State}}
	for pair := range strings.FieldsSeq(strings.ReplaceAll(d.Label, ",", " ")) {
		filter.Add("label", pair)
	}
	if d.State == string(job.Finished) && d.Outcome != "" {
		filter.Set("outcome", d.Outcome)
	}
	own := url.Values{"state": {d.State}}
	for name, v := range map[string]string{"label": d.Label, "outcome": d.Outcome} {
		if v != "" {
			own.Set(name, v)
		}
	}
	var list struct {
		Jobs []job.View `json:"jobs"`
		Next string     `json:"next_cursor"`
	}
	may, err := p.ask(r, http.MethodGet, "/v1/jobs?"+paged(filter, q).Encode(), nil, &list)
	if err != nil {
		return result{}, err
	}
	d.Jobs = list.Jobs
	d.First, d.Next = turns("/", own, q, list.Next)
	title := "Watched jobs"
	if d.State == string(job.Finished) {
		title = "Finished jobs"
	}
	v := view{Title: title, Here: "/", May: may, Said: said(q.Get("done")), Fault: refused, Data: &d}
	return result{name: "jobs", view: v}, nil
}

// paged is a filter with the place in the list that was asked for.
func paged(filter, asked url.Values) url.Values {
	filter.Set("limit", strconv.Itoa(pageSize))
	if c := asked.Get("cursor"); c != "" {
		filter.Set("cursor", c)
	}
	return filter
}

// turns are the links to the first page (when this is another) and the next.
func turns(path string, own, asked url.Values, next string) (first, following string) {
	if asked.Get("cursor") != "" {
		first = path + "?" + own.Encode()
	}
	if next != "" {
		own.Set("cursor", next)
		following = path + "?" + own.Encode()
	}
	return first, following
}

// jobData is one job with its story.
type jobData struct {
	Job     job.View
	Explain *job.Explanation
}

func (p *page) job(r *http.Request) (result, error) {
	id := url.PathEscape(r.PathValue("id"))
	d := jobData{}
	may, err := p.ask(r, http.MethodGet, "/v1/jobs/"+id, nil, &d.Job)
	if err != nil {
		return result{}, err
	}
	e := job.Explanation{}
	// Why it is looked at when it is can be missing: the job just ended, or
	// another replica watches it. The rest is shown all the same.
	if _, err := p.ask(r, http.MethodGet, "/v1/jobs/"+id+"/explain", nil, &e); err == nil {
		d.Explain = &e
	} else if f := (*fault)(nil); !errors.As(err, &f) {
		return result{}, err
	}
	v := view{Title: "Job " + d.Job.ID.String(), Here: "/", May: may, Said: said(r.URL.Query().Get("done")), Data: &d}
	return result{name: "job", view: v}, nil
}

type deliveriesData struct {
	State, Destination, Job string
	States                  []job.DeliveryState
	Deliveries              []job.DeliveryView
	First, Next             string
}

func (p *page) deliveries(r *http.Request) (result, error) {
	q := r.URL.Query()
	d := deliveriesData{
		State: q.Get("state"), Destination: strings.TrimSpace(q.Get("destination")), Job: strings.TrimSpace(q.Get("job")),
		States: job.DeliveryStates(),
	}
	filter := url.Values{}
	for name, v := range map[string]string{"state": d.State, "destination": d.Destination, "job": d.Job} {
		if v != "" {
			filter.Set(name, v)
		}
	}
	var list struct {
		Deliveries []job.DeliveryView `json:"deliveries"`
		Next       string             `json:"next_cursor"`
	}
	own := cloned(filter)
	may, err := p.ask(r, http.MethodGet, "/v1/deliveries?"+paged(filter, q).Encode(), nil, &list)
	if err != nil {
		return result{}, err
	}
	d.Deliveries = list.Deliveries
	d.First, d.Next = turns("/deliveries", own, q, list.Next)
	return result{name: "deliveries", view: view{Title: "Deliveries", Here: "/deliveries", May: may, Said: said(q.Get("done")), Data: &d}}, nil
}

func cloned(v url.Values) url.Values {
	c := url.Values{}
	for name, all := range v {
		c[name] = append([]string(nil), all...)
	}
	return c
}

func (p *page) delivery(r *http.Request) (result, error) {
	d := job.DeliveryView{}
	may, err := p.ask(r, http.MethodGet, "/v1/deliveries/"+url.PathEscape(r.PathValue("id")), nil, &d)
	if err != nil {
		return result{}, err
	}
	v := view{Title: "Delivery " + d.ID, Here: "/deliveries", May: may, Said: said(r.URL.Query().Get("done")), Data: &d}
	return result{name: "delivery", view: v}, nil
}

func (p *page) destinations(r *http.Request) (result, error) {
	var list struct {
		Destinations []job.DestinationView `json:"destinations"`
	}
	may, err := p.ask(r, http.MethodGet, "/v1/destinations", nil, &list)
	if err != nil {
		return result{}, err
	}
	q := r.URL.Query()
	v := view{Title: "Destinations", Here: "/destinations", May: may, Said: said(q.Get("done")), Data: list.Destinations}
	return result{name: "destinations", view: v}, nil
}

func (p *page) budget(r *http.Request) (result, error) {
	b := job.BudgetView{}
	may, err := p.ask(r, http.MethodGet, "/v1/budget", nil, &b)
	if err != nil {
		return result{}, err
	}
	return result{name: "budget", view: view{Title: "Budget", Here: "/budget", May: may, Tenant: b.Tenant, Data: &b}}, nil
}

// trendsData are the plots over the newest finished jobs.
type trendsData struct {
	Jobs       int
	Processing plot
	Delay      plot
	Rows       plot
}

func (p *page) trends(r *http.Request) (result, error) {
	var list struct {
		Jobs []job.View `json:"jobs"`
	}
	may, err := p.ask(r, http.MethodGet, "/v1/jobs?state=finished&limit="+strconv.Itoa(plotted), nil, &list)
	if err != nil {
		return result{}, err
	}
	d := trendsData{
		Jobs:       len(list.Jobs),
		Processing: plot{Name: "Processing time", Unit: seconds},
		Delay:      plot{Name: "Detection delay", Unit: seconds},
		Rows:       plot{Name: "Rows", Unit: rows},
	}
	for i := range list.Jobs {
		j := &list.Jobs[i]
		at := point{At: j.FinishedAt.Time(), ID: j.ID.String(), Bad: j.Outcome != job.OutcomeCompleted}
		d.Processing.add(at, j.ProcessingSeconds)
		d.Delay.add(at, j.DetectionDelaySeconds)
		if j.OutputRows != nil {
			n := float64(*j.OutputRows)
			d.Rows.add(at, &n)
		}
	}
	d.Processing.draw()
	d.Delay.draw()
	d.Rows.draw()
	return result{name: "trends", view: view{Title: "Trends", Here: "/trends", May: may, Data: &d}}, nil
}
