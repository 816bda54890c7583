package zuora

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

func listID(n int) job.ID {
	return job.MustParseID(fmt.Sprintf("00000000-0000-4000-8000-%012x", n))
}

func listItem(n int) string {
	return `{"id":"` + listID(n).String() + `","queryStatus":"completed","query":"SELECT ]},{[ \"\\"}`
}

// seen is what a list told, as short as can be.
func list(t *testing.T, c *Client, size int) (ids []int, err error) {
	t.Helper()
	err = c.List(t.Context(), "", size, func(o job.Observation) bool {
		id := o.ID.String()
		n, parseErr := strconv.ParseInt(id[len(id)-12:], 16, 64)
		if parseErr != nil || o.Status != job.Completed || o.Query != `SELECT ]},{[ "\` {
			t.Errorf("got %v, %q, %q", o.ID, o.Status, o.Query)
		}
		ids = append(ids, int(n))
		return true
	})
	return ids, err
}

func TestLists(t *testing.T) {
	t.Parallel()
	type result struct {
		IDs     []int
		Reason  job.Reason
		LeftOut int
	}
	huge := `{"id":"` + listID(9).String() + `","queryStatus":"completed","query":"` + strings.Repeat("]}", maxJobBytes/2) + `"}`
	for name, c := range map[string]struct {
		body string
		want result
	}{
		"none":                    {`{"data":[]}`, result{}},
		"one":                     {`{"data":[` + listItem(1) + `]}`, result{IDs: []int{1}}},
		"three, with spaces":      {" {\n\"data\" : [ " + listItem(1) + " ,\n" + listItem(2) + "\t,\r\n" + listItem(3) + " ] } \n", result{IDs: []int{1, 2, 3}}},
		"fields around it":        {`{"a":{"data":[1]},"b":"data","c":[[]],"d":-1.5e3,"data":[` + listItem(1) + `],"e":null,"success":true}`, result{IDs: []int{1}}},
		"an escaped name":         {`{"\u0064ata":[` + listItem(1) + `]}`, result{IDs: []int{1}}},
		"more than asked for":     {`{"data":[` + strings.Repeat(listItem(1)+",", 40) + listItem(2) + `]}`, result{IDs: repeat(1, 10)}},
		"a job that is none":      {`{"data":[` + listItem(1) + `,7,null,"x",[],{},{"id":"x"},` + listItem(2) + `]}`, result{IDs: []int{1, 2}, LeftOut: 6}},
		"a job without a status":  {`{"data":[{"id":"` + listID(3).String() + `"},` + listItem(2) + `]}`, result{IDs: []int{2}, LeftOut: 1}},
		"a job that is no JSON":   {`{"data":[{"id" "x"},` + listItem(2) + `,{"id":tru},` + listItem(3) + `]}`, result{IDs: []int{2, 3}, LeftOut: 2}},
		"a job that is too large": {`{"data":[` + listItem(1) + `,` + huge + `,` + listItem(2) + `]}`, result{IDs: []int{1, 2}, LeftOut: 1}},
		"none understood":         {`{"data":[7,8]}`, result{Reason: job.ReasonMalformed, LeftOut: 2}},
		"a huge field before it":  {`{"x":"` + strings.Repeat("y", 1<<20) + `","data":[` + listItem(1) + `]}`, result{IDs: []int{1}}},
		"a huge name":             {`{"` + strings.Repeat("y", 1<<20) + `":1,"data":[` + listItem(1) + `]}`, result{IDs: []int{1}}},

		"empty":                {``, result{Reason: job.ReasonMalformed}},
		"a page":               {`<html>`, result{Reason: job.ReasonMalformed}},
		"an array":             {`[` + listItem(1) + `]`, result{Reason: job.ReasonMalformed}},
		"null":                 {`null`, result{Reason: job.ReasonMalformed}},
		"no data":              {`{"status":"ok"}`, result{Reason: job.ReasonMalformed}},
		"data null":            {`{"data":null}`, result{Reason: job.ReasonMalformed}},
		"data an object":       {`{"data":` + listItem(1) + `}`, result{Reason: job.ReasonMalformed}},
		"success false":        {`{"success":false,"reasons":[{"code":53100361,"message":"x"}]}`, result{Reason: job.ReasonServer}},
		"success false behind": {`{"data":[` + listItem(1) + `],"success":false}`, result{IDs: []int{1}, Reason: job.ReasonServer}},
		"reasons":              {`{"reasons":[{"code":"53400070","message":"x"}]}`, result{Reason: job.ReasonRateLimited}},
		"code and message":     {`{"code":500,"message":"x"}`, result{Reason: job.ReasonServer}},
		"cut in a job":         {`{"data":[` + listItem(1) + `,{"id":"`, result{IDs: []int{1}, Reason: job.ReasonMalformed}},
		"cut behind a job":     {`{"data":[` + listItem(1), result{IDs: []int{1}, Reason: job.ReasonMalformed}},
		"cut behind a comma":   {`{"data":[` + listItem(1) + `,`, result{IDs: []int{1}, Reason: job.ReasonMalformed}},
		"cut behind the list":  {`{"data":[` + listItem(1) + `]`, result{IDs: []int{1}, Reason: job.ReasonMalformed}},
		"no comma":             {`{"data":[` + listItem(1) + listItem(2) + `]}`, result{IDs: []int{1}, Reason: job.ReasonMalformed}},
		"two commas":           {`{"data":[` + listItem(1) + `,,` + listItem(2) + `]}`, result{IDs: []int{1}, Reason: job.ReasonMalformed}},
		"no colon":             {`{"data" [` + listItem(1) + `]}`, result{Reason: job.ReasonMalformed}},
		"a name that is none":  {`{data:[` + listItem(1) + `]}`, result{Reason: job.ReasonMalformed}},
		"an odd bracket":       {`{"data":[` + listItem(1) + `}}`, result{IDs: []int{1}, Reason: job.ReasonMalformed}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for encoding, body := range map[string]string{"": c.body, "gzip": zipped(c.body)} {
				core, logs := observer.New(zapcore.WarnLevel)
				f := &fake{api: always(200, body, "Content-Encoding", encoding)}
				client := newFake(t, f, func(o *Options) { o.Log = zap.New(core) })
				var got result
				var err error
				for range 2 { // the second time is not logged again
					got.IDs, err = list(t, client, 10)
				}
				got.LeftOut = int(client.leftOut.Load())
				if err != nil {
					got.Reason = faultOf(t, err).Reason
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("encoding %q: %v (-want +got):\n%s", encoding, err, diff)
				}
				if n := logs.Len(); n != min(c.want.LeftOut, 1) {
					t.Errorf("%d warnings: %v", n, logs.All())
				}
			}
		})
	}
}

func repeat(v, n int) (all []int) {
	for range n {
		all = append(all, v)
	}
	return all
}

func TestListAsksForWhatItIsTold(t *testing.T) {
	t.Parallel()
	f := &fake{api: always(200, `{"data":[]}`)}
	c := newFake(t, f)
	nothing := func(job.Observation) bool { return true }
	for _, call := range []struct {
		status job.Status
		size   int
		want   string
	}{
		{"", 1, "/query/jobs?pageSize=1"},
		{"", 1000, "/query/jobs?pageSize=1000"},
		{job.InProgress, 20, "/query/jobs?pageSize=20&queryStatus=in_progress"},
		{job.Cancelled, 20, "/query/jobs?pageSize=20&queryStatus=cancelled"},
	} {
		if err := c.List(t.Context(), call.status, call.size, nothing); err != nil {
			t.Error(err)
		}
		if got := f.apis[len(f.apis)-1].URL.RequestURI(); got != call.want {
			t.Errorf("asked %s, want %s", got, call.want)
		}
	}
	sent := len(f.apis)
	for _, call := range []struct {
		status job.Status
		size   int
	}{{"", 0}, {"", -1}, {"", 1001}, {job.Submitted, 10}, {"in_progress&x=y", 10}} {
		if err := c.List(t.Context(), call.status, call.size, nothing); !errors.Is(err, job.ErrInvalid) {
			t.Errorf("%q, %d: got %v", call.status, call.size, err)
		}
	}
	if len(f.apis) != sent {
		t.Error("an invalid list was asked for")
	}
}

func TestListStopsWhenToldSo(t *testing.T) {
	t.Parallel()
	f := &fake{api: always(200, `{"data":[`+listItem(1)+`,`+listItem(2)+`,`+listItem(3)+`]}`, "Date", "Fri, 17 Aug 2018 13:14:20 GMT")}
	var seen []job.ID
	err := newFake(t, f).List(t.Context(), "", 10, func(o job.Observation) bool {
		if want := time.Date(2018, 8, 17, 13, 14, 20, 0, time.UTC); !o.ServerTime.Equal(want) {
			t.Errorf("server time %s", o.ServerTime)
		}
		seen = append(seen, o.ID)
		return len(seen) < 2
	})
	if diff := cmp.Diff([]job.ID{listID(1), listID(2)}, seen); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// Each job is handed on before the next has arrived: none is waited for, so
// none is held.
func TestListStreams(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	f := &fake{api: func(*http.Request, int) (*http.Response, error) {
		resp := reply(200, "")
		resp.Body = r
		return resp, nil
	}}
	seen := make(chan job.ID)
	done := make(chan error, 1)
	c := newFake(t, f)
	go func() {
		done <- c.List(t.Context(), "", 1000, func(o job.Observation) bool { seen <- o.ID; return true })
	}()
	write := func(s string) {
		if _, err := io.WriteString(w, s); err != nil {
			t.Error(err)
		}
	}
	write(`{"data":[`)
	for n := range 50 {
		if n > 0 {
			write(",")
		}
		write(listItem(n))
		if got := <-seen; got != listID(n) {
			t.Fatalf("got %v, want %v", got, listID(n))
		}
	}
	write(`]}`)
	_ = w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// However the bytes are cut, the jobs are the same.
func TestListDoesNotCareHowItArrives(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	body.WriteString(`{"x":12,"data":[`)
	for n := range 30 {
		if n > 0 {
			body.WriteString(" ,")
		}
		body.WriteString(listItem(n))
	}
	body.WriteString(`],"y":"z"}`)
	for name, read := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
		"halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
	} {
		f := &fake{api: func(*http.Request, int) (*http.Response, error) {
			resp := reply(200, "")
			resp.Body = io.NopCloser(read(strings.NewReader(body.String())))
			return resp, nil
		}}
		ids, err := list(t, newFake(t, f), 1000)
		if err != nil || len(ids) != 30 {
			t.Errorf("%s: %d jobs, %v", name, len(ids), err)
		}
	}
}

func TestListOfAThousandLongQueriesHoldsOne(t *testing.T) {
	t.Parallel()
	const jobs, size = 1000, 100_000
	r, w := io.Pipe()
	go func() {
		query := bytes.Repeat([]byte("x"), size)
		_, _ = io.WriteString(w, `{"data":[`)
		for n := range jobs {
			if n > 0 {
				_, _ = io.WriteString(w, ",")
			}
			_, _ = fmt.Fprintf(w, `{"id":"%s","queryStatus":"completed","query":"%s"}`, listID(n), query)
		}
		_, _ = io.WriteString(w, `]}`)
		_ = w.Close()
	}()
	var n int
	l := newListing(r, jobs)
	defer l.free()
	err := l.read(func(o job.Observation) bool {
		if n++; len(o.Query) != size {
			t.Errorf("a query of %d bytes", len(o.Query))
		}
		return true
	})
	if err != nil || n != jobs || cap(l.keep.b) > 4*size {
		t.Errorf("%d jobs, %v, holding %d bytes", n, err, cap(l.keep.b))
	}
}

func TestListIsTriedOnceMoreWhenRefused(t *testing.T) {
	t.Parallel()
	f := &fake{api: func(_ *http.Request, n int) (*http.Response, error) {
		if n == 1 {
			return reply(401, ``), nil
		}
		return reply(200, `{"data":[`+listItem(1)+`]}`), nil
	}}
	ids, err := list(t, newFake(t, f), 10)
	if diff := cmp.Diff([]int{1}, ids); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if apis, tokens := f.counts(); apis != 2 || tokens != 2 {
		t.Errorf("%d requests, %d token requests", apis, tokens)
	}
}

// FuzzList holds the stream to encoding/json: what that takes for a list, we
// read the same; whatever else comes, we come back.
func FuzzList(f *testing.F) {
	for _, s := range []string{
		`{"data":[]}`, `{"data":[` + listItem(1) + `,` + listItem(2) + `]}`, `{"data":[7,"x",null,{"id":"x"},` + listItem(2) + `],"success":false}`,
		`{"a":[{"b":"]}"}],"data":[ {} , [] ]}`, `{"data":[`, `{"data":[}`, `{"data":[1 2]}`, `{"data":["\\\""]}`, `[`, ``, `{"reasons":[{"code":"53400070"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 5
		l := newListing(iotest.OneByteReader(bytes.NewReader(b)), most)
		defer l.free()
		var got []job.ID
		err := l.read(func(o job.Observation) bool {
			if o.Status == job.Unseen {
				t.Error("a job without a status")
			}
			got = append(got, o.ID)
			return true
		})
		if len(got) > most {
			t.Errorf("%d jobs, asked for %d", len(got), most)
		}
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Reason == "" {
				t.Errorf("got %v", err)
			}
		}
		var want struct {
			Data *[]json.RawMessage `json:"data"`
		}
		if json.Unmarshal(b, &want) != nil || want.Data == nil || strings.Count(strings.ToLower(string(b)), "data") > 1 || bytes.Contains(b, []byte(`\`)) {
			return
		}
		if bytes.Contains(b, []byte(`"data"`)) && !l.found {
			t.Errorf("no list found in %s", b)
		}
		if n := min(len(*want.Data), most); l.found && l.leftOut+len(got) != n {
			t.Errorf("%d jobs and %d left out, want %d in all: %s", len(got), l.leftOut, n, b)
		}
	})
}

func TestAListThatNobodyWaitsForEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{api: func(r *http.Request, _ int) (*http.Response, error) {
		resp := reply(200, "")
		resp.Body = &dripping{r.Context(), `{"data":[` + listItem(1) + `,`}
		return resp, nil
	}}
	err := newFake(t, f).List(ctx, "", 10, func(job.Observation) bool { cancel(); return true })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
