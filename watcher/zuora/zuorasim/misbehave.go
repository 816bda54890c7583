package zuorasim

import (
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// misbehaviour is everything that faults do to one request.
type misbehaviour struct {
	delay    time.Duration
	replaced *Fault
	drip     *Fault
	cut      *Fault // or a drop
	words    []*Fault
}

func (m *misbehaviour) take(f *Fault, d *rand.Rand) {
	switch f.Kind {
	case KindLatency:
		wait := f.Delay
		if f.Jitter > 0 {
			wait += time.Duration((d.Float64()*2 - 1) * float64(f.Jitter))
		}
		m.delay += max(0, wait)
	case KindDrip:
		m.drip = f
	case KindCut, KindDrop:
		m.cut = f
	case KindWord:
		m.words = append(m.words, f)
	case KindHang, KindStatus, KindJunk, KindExpire, KindRedirect:
	}
}

// word is the status to show instead of the true one; "" for that one.
func (m *misbehaviour) word(id job.ID) string {
	for _, f := range m.words {
		if f.Job == (job.ID{}) || f.Job == id {
			return f.Word
		}
	}
	return ""
}

// delay waits out the latency and reports whether the caller is still there.
func (x *exchange) delay() bool {
	if f := x.mis.replaced; f != nil && f.Kind == KindHang {
		<-x.r.Context().Done()
		return false
	}
	return x.wait(x.mis.delay)
}

func (x *exchange) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-x.r.Context().Done():
		return false
	}
}

// misbehave is the answer of a fault that replaces the true one; nil for none.
func (x *exchange) misbehave() *answer {
	f := x.mis.replaced
	if f == nil {
		return nil
	}
	switch f.Kind {
	case KindStatus:
		return x.failed(f)
	case KindJunk:
		return x.junk(f)
	case KindRedirect:
		a := &answer{code: cmp.Or(f.Status, http.StatusFound)}
		return a.with("Location", f.Location)
	case KindExpire:
		_, text, _ := strings.Cut(x.r.Header.Get("Authorization"), " ")
		x.mu.Lock()
		defer x.mu.Unlock()
		if text != "" {
			x.accounts.revoke(text)
		}
		x.user = nil
		return nil // and the true answer is 401
	case KindHang, KindLatency, KindCut, KindDrop, KindDrip, KindWord:
	}
	return nil
}

const proxyPage = "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"

func htmlAnswer(status int, title string) *answer {
	a := &answer{code: status, body: []byte(strings.ReplaceAll(proxyPage, "%s", title))}
	return a.with("Content-Type", "text/html")
}

// failed is an error answer as Zuora would shape it for that status.
func (x *exchange) failed(f *Fault) *answer {
	title := strconv.Itoa(f.Status) + " " + http.StatusText(f.Status)
	var a *answer
	switch {
	case f.HTML:
		a = htmlAnswer(f.Status, title)
	case f.Status == http.StatusNoContent || f.Status == http.StatusNotModified:
		a = &answer{code: f.Status}
	case f.Status == http.StatusUnauthorized:
		a = signInAgain(cmp.Or(f.Message, "Authentication error"))
	case f.Status == http.StatusForbidden:
		a = failure(f.Status, 1009, cmp.Or(f.Message, "Access denied for restricted job "+x.job.String()))
	case f.Status == http.StatusNotFound:
		a = failure(f.Status, 1001, cmp.Or(f.Message, "No such query: "+x.job.String()))
	case f.Status == http.StatusTooManyRequests:
		a = reasons(f.Status, nil, "", reason{"50000070", cmp.Or(f.Message, "Request limit exceeded")})
	case f.Status >= http.StatusInternalServerError:
		// The string code is Zuora's (facts section 4, shape 4).
		a = jsonAnswer(f.Status, reason{
			strconv.Itoa(f.Status),
			cmp.Or(f.Message, "A temporary problem in the service occurred, you can retry later."),
		})
	default:
		a = failure(f.Status, f.Status, cmp.Or(f.Message, title))
	}
	if f.Body != "" {
		a.body = []byte(f.Body)
	}
	if f.RetryAfter != "" {
		a.with("Retry-After", f.RetryAfter)
	}
	if f.Exhausted {
		a.with("Ratelimit-Remaining", "0")
		if f.Reset > 0 {
			a.with("Ratelimit-Reset", strconv.Itoa(f.Reset))
		}
	}
	if f.Status == http.StatusTooManyRequests {
		x.mu.Lock()
		x.journal.stats.Limited[LimitFault]++
		x.mu.Unlock()
	}
	return a
}

// hugeBytes is more than any client should be ready to take for one job.
const hugeBytes = 64 << 20

// junk is an answer that is not one.
func (x *exchange) junk(f *Fault) *answer {
	a := &answer{code: http.StatusOK}
	switch f.Junk {
	case JunkText:
		a.body = []byte("upstream connect error or disconnect/reset before headers")
		a.with("Content-Type", "text/plain")
	case JunkHTML:
		a = htmlAnswer(http.StatusOK, "Scheduled maintenance")
	case JunkEmpty:
	case JunkNull:
		a.body = []byte("null")
	case JunkArray:
		a.body = []byte(`["data"]`)
	case JunkTypes:
		a.body = []byte(`{"data":{"id":7,"queryStatus":["completed"],"outputRows":"many","processingTime":{},` +
			`"remainingRetries":"3","updatedOn":17,"createdBy":false,"query":null,"dataFile":0}}`)
	case JunkNoData:
		a.body = []byte(`{"status":"ok"}`)
	case JunkRefused:
		a = reasons(http.StatusOK, new(false), "CBCFED6580B4E076", reason{53_100_361, "A temporary problem in the service occurred"})
	case JunkCodes:
		a = reasons(http.StatusOK, nil, "", reason{"53400070", "Only two requests are allowed within any 24-hour window."})
	case JunkTruncated:
		a.body = []byte(`{"data":{"id":"` + x.job.String() + `","queryStatus":"comp`)
	case JunkOther:
		a = jsonAnswer(http.StatusOK, wireData[wireJob]{wireJob{
			ID: "00000000-0000-4000-8000-00000000beef", Query: "SELECT 1", SourceData: "LIVE", QueryStatus: job.Failed,
			ErrorMessage: "another job's failure", UpdatedOn: zuoraTime(x.at), CreatedBy: x.id,
		}})
	case JunkHuge:
		a.stream = func(w io.Writer) error { return writeHuge(w, x.job, cmp.Or(f.Bytes, hugeBytes)) }
	}
	return a
}

func writeHuge(w io.Writer, id job.ID, size int) error {
	if _, err := io.WriteString(w, `{"data":{"id":"`+id.String()+`","queryStatus":"completed","query":"`); err != nil {
		return err
	}
	block := strings.Repeat("x", 32<<10)
	for size > 0 {
		if _, err := io.WriteString(w, block[:min(size, len(block))]); err != nil {
			return err
		}
		size -= len(block)
	}
	_, err := io.WriteString(w, `"}}`)
	return err
}

// errCut says that the connection is to end here.
var errCut = errors.New("connection cut by a fault")

// cutHalf stands for half of a body whose length is known, and for cutLong of
// one that is not.
const (
	cutHalf = -1
	cutLong = 512
)

// spoiled is the way to the caller with drip and cut in it.
func (x *exchange) spoiled() io.Writer {
	var w io.Writer = x.w
	if f := x.mis.drip; f != nil {
		w = &dripper{w: w, x: x, bytes: max(1, f.Bytes), delay: f.Delay}
	}
	if f := x.mis.cut; f != nil {
		w = &cutter{w: w, left: cmp.Or(f.Bytes, cutHalf)}
	}
	return w
}

// finish is called when the body has ended.
func finish(w io.Writer) error {
	if _, ok := w.(*cutter); ok {
		return errCut // also when there was less than it let through
	}
	return nil
}

// cutter lets some bytes pass, then fails.
type cutter struct {
	w    io.Writer
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	if c.left == cutHalf {
		c.left = cutLong
	}
	n, err := c.w.Write(b[:min(len(b), c.left)])
	c.left -= n
	if err == nil && n < len(b) {
		err = errCut
	}
	return n, err
}

// dripper sends little by little.
type dripper struct {
	w     io.Writer
	x     *exchange
	bytes int
	delay time.Duration
}

func (d *dripper) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		n, err := d.w.Write(b[sent:min(len(b), sent+d.bytes)])
		sent += n
		if err != nil {
			return sent, err
		}
		_ = http.NewResponseController(d.x.w).Flush()
		if !d.x.wait(d.delay) {
			return sent, d.x.r.Context().Err()
		}
	}
	return len(b), nil
}
