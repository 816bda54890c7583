package zuorasim

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// wireJob is a job in the API's JSON. The last three fields are in Zuora's
// sample of a submit only.
type wireJob struct {
	ID                 string     `json:"id"`
	Query              string     `json:"query"`
	UseIndexJoin       bool       `json:"useIndexJoin"`
	SourceData         string     `json:"sourceData"`
	QueryStatus        job.Status `json:"queryStatus"`
	DataFile           string     `json:"dataFile,omitempty"`
	OutputRows         *int64     `json:"outputRows,omitempty"`
	ProcessingTime     *int64     `json:"processingTime,omitempty"`
	ErrorMessage       string     `json:"errorMessage,omitempty"`
	RemainingRetries   int        `json:"remainingRetries"`
	UpdatedOn          string     `json:"updatedOn"`
	CreatedBy          string     `json:"createdBy"`
	Retries            *int       `json:"retries,omitempty"`
	CreatedOn          string     `json:"createdOn,omitempty"`
	CreatedByUserEmail string     `json:"createdByUserEmail,omitempty"`
}

type wireData[T any] struct {
	Data T `json:"data"`
}

// show is the job as the API tells it, with the status word that a fault may
// have put in place of the real one.
func (x *exchange) show(r *record) wireJob {
	w := wireJob{
		ID: r.id.String(), Query: r.query, UseIndexJoin: r.indexJoin, SourceData: r.source.String(),
		QueryStatus: r.status, RemainingRetries: int(r.remaining),
		UpdatedOn: zuoraTime(time.Unix(0, r.updated)), CreatedBy: r.owner.ID,
	}
	if word := x.mis.word(r.id); word != "" {
		w.QueryStatus = job.Status(word)
		return w
	}
	switch r.status {
	case job.Completed:
		w.DataFile = x.dataFile(r)
		if r.rows >= 0 {
			w.OutputRows = new(r.rows)
		}
		if r.processing >= 0 {
			w.ProcessingTime = new(r.processing)
		}
	case job.Failed:
		w.ErrorMessage = r.text
	default:
	}
	return w
}

// dataFile is a presigned link as in the official samples: whoever holds it can
// read the result. Nothing is there.
func (x *exchange) dataFile(r *record) string {
	if r.file != "" {
		return r.file
	}
	h := fnv.New64a()
	_, _ = h.Write(r.id[:])
	q := url.Values{
		"X-Amz-Security-Token": {x.options.DataFileToken},
		"X-Amz-Algorithm":      {"AWS4-HMAC-SHA256"},
		"X-Amz-Date":           {time.Unix(0, r.updated).UTC().Format("20060102T150405Z")},
		"X-Amz-SignedHeaders":  {"host"},
		"X-Amz-Expires":        {"14400"},
		"X-Amz-Credential":     {"ASIASIMULATED/s3/aws4_request"},
		"X-Amz-Signature":      {fmt.Sprintf("%016x", h.Sum64())},
	}
	return fmt.Sprintf("https://owl-auw2-sbx01-query-result.s3.us-west-2.amazonaws.com/%s_%d.jsonl?%s", r.id, h.Sum64()>>8, q.Encode())
}

// may reports whether the user may see the job.
func (a *account) may(r *record) bool { return a.Admin || r.owner == a }

// get answers GET /query/jobs/{id}.
func (x *exchange) get() *answer {
	r, a := x.find()
	if a != nil {
		return a
	}
	defer x.mu.Unlock()
	w := x.show(r)
	a = jsonAnswer(http.StatusOK, wireData[wireJob]{w})
	if r.ended != 0 && w.QueryStatus == r.status {
		a.shown = []job.ID{r.id}
	}
	x.log.Status = w.QueryStatus
	return a
}

// find looks the job of the path up; with a job the lock is held.
func (x *exchange) find() (*record, *answer) {
	if x.job == (job.ID{}) {
		return nil, failure(http.StatusBadRequest, http.StatusBadRequest, "Invalid query job id")
	}
	x.mu.Lock()
	x.book.advance(x.options.Now())
	r := x.book.byID[x.job]
	if r != nil && x.user.may(r) {
		return r, nil
	}
	x.mu.Unlock()
	if r == nil {
		return nil, failure(http.StatusNotFound, 1001, "No such query: "+x.job.String())
	}
	return nil, failure(http.StatusForbidden, 1009, "Access denied for restricted job "+x.job.String())
}

// cancel answers DELETE /query/jobs/{id}.
func (x *exchange) cancel() *answer {
	r, a := x.find()
	if a != nil {
		return a
	}
	defer x.mu.Unlock()
	if r.status != job.Accepted && r.status != job.InProgress {
		return failure(http.StatusBadRequest, 1003, "Query job "+x.job.String()+" is not in accepted or in_progress status")
	}
	x.book.finish(r, job.Cancelled, x.options.Now().UnixNano())
	return jsonAnswer(http.StatusOK, wireData[wireJob]{x.show(r)})
}

// list answers GET /query/jobs, newest first. What Zuora says to a page size
// above the maximum or an unknown status is not documented; here it is 400.
func (x *exchange) list() *answer {
	q := x.r.URL.Query()
	size := min(defaultPageSize, x.options.MaxPageSize)
	if text := q.Get("pageSize"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > x.options.MaxPageSize {
			return failure(http.StatusBadRequest, http.StatusBadRequest,
				fmt.Sprintf("pageSize must be between 1 and %d", x.options.MaxPageSize))
		}
		size = n
	}
	status := job.Status(q.Get("queryStatus"))
	switch status {
	case "", job.Accepted, job.InProgress, job.Completed, job.Failed, job.Cancelled:
	default: // submitted is not among the five
		return failure(http.StatusBadRequest, http.StatusBadRequest,
			"queryStatus must be one of accepted, in_progress, completed, failed, cancelled")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.book.advance(x.options.Now())
	a := &answer{code: http.StatusOK}
	var page []wireJob
	for i := len(x.book.order) - 1; i >= 0 && len(page) < size; i-- {
		r := x.book.order[i]
		if r.gone || status != "" && r.status != status || !x.user.may(r) {
			continue
		}
		r.listed++
		w := x.show(r)
		if r.ended != 0 && w.QueryStatus == r.status {
			a.shown = append(a.shown, r.id)
		}
		page = append(page, w)
	}
	x.log.Listed = len(page)
	a.stream = func(w io.Writer) error { return writeList(w, page) }
	return a
}

// writeList writes one job at a time: a page may hold a thousand queries of a
// megabyte each, all of which may share one string here.
func writeList(w io.Writer, page []wireJob) error {
	if _, err := io.WriteString(w, `{"data":[`); err != nil {
		return err
	}
	for i := range page {
		if i > 0 {
			if _, err := io.WriteString(w, ","); err != nil {
				return err
			}
		}
		if err := encode(w, &page[i]); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "]}")
	return err
}

// wireSubmit is the body of a submit.
type wireSubmit struct {
	Query        string `json:"query"`
	OutputFormat string `json:"outputFormat"`
	Compression  string `json:"compression"`
	Output       *struct {
		Target string `json:"target"`
	} `json:"output"`
	SourceData    string `json:"sourceData"`
	WarehouseSize string `json:"warehouseSize"`
	UseIndexJoin  bool   `json:"useIndexJoin"`
	ReadDeleted   bool   `json:"readDeleted"`
}

const (
	maxSQL    = 1_000_000 // characters, DOCS25 overview-of-data-query
	maxSubmit = 8 << 20   // bytes: that much SQL, escaped, with room to spare
)

func (s *wireSubmit) valid() bool {
	among := func(v string, allowed ...string) bool { return slices.Contains(allowed, v) }
	return s.Query != "" && utf8.RuneCountInString(s.Query) <= maxSQL &&
		among(s.OutputFormat, "JSON", "CSV", "TSV", "DSV") &&
		among(s.Compression, "NONE", "GZIP", "ZIP") &&
		s.Output != nil && s.Output.Target == "S3" &&
		among(s.SourceData, "", "LIVE", "WAREHOUSE") &&
		among(s.WarehouseSize, "", "xsmall", "NULL")
}

// submit answers POST /query/jobs.
func (x *exchange) submit() *answer {
	if kind, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return failure(http.StatusUnsupportedMediaType, http.StatusUnsupportedMediaType, "HTTP 415 Unsupported Media Type")
	}
	var s wireSubmit
	if err := readJSON(x.r, &s); err != nil || !s.valid() {
		return failure(http.StatusBadRequest, http.StatusBadRequest, "Unable to process JSON")
	}
	key := x.r.Header.Get("Idempotency-Key")
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.options.Now()
	x.book.advance(now)
	if done := x.accounts.done(x.user, key); done != nil {
		return done
	}
	lane := &x.book.lanes[live]
	if s.SourceData == warehouse.String() {
		lane = &x.book.lanes[warehouse]
	}
	if lane.full() {
		// That the submit fails is documented, the text is not.
		return failure(http.StatusBadRequest, http.StatusBadRequest,
			fmt.Sprintf("The limit of %d queued %s query jobs is reached", lane.Queued, cmp.Or(s.SourceData, live.String())))
	}
	r := x.book.submit(now.UnixNano(), Spec{Query: s.Query, Source: s.SourceData, IndexJoin: s.UseIndexJoin}, x.user)
	x.log.JobID = r.id
	w := x.show(r)
	w.Retries = new(zuoraRetries)
	w.CreatedOn = w.UpdatedOn
	w.CreatedByUserEmail = x.user.Email
	a := jsonAnswer(http.StatusOK, wireData[wireJob]{w})
	x.accounts.remember(x.user, key, a)
	return a
}

// readJSON decodes one value, which may come gzipped.
func readJSON(r *http.Request, v any) error {
	body := io.Reader(http.MaxBytesReader(nil, r.Body, maxSubmit))
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(body)
		if err != nil {
			return fmt.Errorf("read gzipped body: %w", err)
		}
		body = io.LimitReader(z, maxSubmit)
	}
	d := json.NewDecoder(body)
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("decode body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("decode body: more than one value")
	}
	return nil
}
