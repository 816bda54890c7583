package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func TestTemplateIsTriedWhenItIsLoaded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		json bool
		want string // "" when it is good
	}{
		"good":                     {`{{.Event}} {{.Job.ID}} {{index .Job.Labels "none"}} {{rfc3339 .Time}} {{upper .Tenant}}`, false, ""},
		"good JSON":                {`{"error": {{json .Job.Error}}, "labels": {{json .Job.Labels}}, "rows": {{json .Job.Rows}}}`, true, ""},
		"not closed":               {`{{.Event`, false, "unclosed action"},
		"an unknown field":         {`{{.Job.Colour}}`, false, "can't evaluate field Colour"},
		"no way to the URL":        {`{{.URL}}`, false, "can't evaluate field URL"},
		"no way to the secrets":    {`{{.Webhook.Secrets}}`, false, "can't evaluate field Webhook"},
		"no way to reveal":         {`{{.Job.DataFile.Reveal}}`, false, "can't evaluate field Reveal"},
		"JSON that quotes break":   {`{"error": "{{.Job.Error}}"}`, true, "what it makes is not JSON"},
		"only for some types":      {`{{if eq .Event "group_finished"}}{{index .Job.Labels 5}}{{else}}x{{end}}`, false, "tried with a group_finished event"},
		"empty for some type":      {`{{.Job.Error}}`, false, "empty text"},
		"a function that is none":  {`{{env "HOME"}}`, false, `function "env" not defined`},
		"more than anybody wants":  {`{{range $i := .Job.Labels}}{{end}}{{printf "%070000d" 1}}`, false, "more than 65536 bytes"},
		"a read of files is none":  {`{{template "/etc/passwd"}}`, false, "not defined"},
		"a cut below zero is none": {`{{cut -5 .Event}}x`, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseTemplate(c.text, c.json)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTemplateSeesTheQueryOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	out := sampleOf(job.EventCompleted)
	for _, d := range []Destination{{Name: "a"}, {Name: "b", Include: []string{IncludeQuery, IncludeDataFile}}} {
		text := fmt.Sprintf("%+v", d.Data(&out, time.Now()))
		if strings.Contains(text, out.Query) != (d.Name == "b") {
			t.Errorf("%s sees %s", d.Name, text)
		}
	}
}

func TestFaultOfATemplateIsOneShortLineWithoutSecrets(t *testing.T) {
	t.Parallel()
	d := TemplateData{Job: TemplateJob{Query: "SELECT 1", DataFile: sampleFile}}
	err := fmt.Errorf("bad\nthing with %s and %s %s", d.Job.Query, d.Job.DataFile, strings.Repeat("x", 1000))
	got := (&Template{}).Fault(err, &d)
	if strings.Contains(got, "results.example") || strings.Contains(got, "SELECT") || strings.ContainsAny(got, "\n") || len(got) > maxFault {
		t.Errorf("got %q", got)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add(`{{.Event}} {{cut 5 .Job.Error}}`, true)
	f.Add(`{"e": {{json .Job.Error}}}`, false)
	f.Add(`{{range $k, $v := .Job.Labels}}{{$k}}={{$v}}{{end}}{{printf "%s" .Time}}`, true)
	f.Fuzz(func(t *testing.T, text string, plain bool) {
		if len(text) > 1000 || strings.Contains(text, "range") && strings.ContainsAny(text, "0123456789") {
			t.Skip() // loops over numbers are the operator's own affair
		}
		parsed, err := ParseTemplate(text, !plain)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without words")
			}
			return
		}
		out := sampleOf(job.EventFailed)
		got, err := parsed.Execute((&Destination{}).Data(&out, time.Now()))
		if err == nil && (len(got) > maxTemplated || utf8.ValidString(text) && !utf8.ValidString(got)) {
			t.Errorf("%q makes %q", text, got)
		}
	})
}
