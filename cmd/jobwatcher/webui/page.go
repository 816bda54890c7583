package webui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed templates assets
var files embed.FS

// policy lets the page load what comes from here, send forms to here, and
// nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// writeTimeout bounds the writing of one answer.
const writeTimeout = 30 * time.Second

// page answers browsers.
type page struct {
	api    http.Handler
	mux    *http.ServeMux
	views  map[string]*template.Template
	assets map[string]asset
	now    func() time.Time
}

// asset is one file that the page links to; its name in links has its hash, so
// that a browser may keep it.
type asset struct {
	body, kind, link string
}

// view is what a template is given.
type view struct {
	Title  string
	Here   string // path of the navigation's entry
	Tenant string
	// May: the caller may change things.
	May bool
	// Said is what the last action did, Fault what went wrong with it.
	Said, Fault string
	Now         time.Time
	Data        any
}

// New makes the handler of the page: it answers the paths that it knows, and
// hands everything else to the API, from which it also gets its data.
func New(api http.Handler) (http.Handler, error) {
	p := &page{api: api, mux: http.NewServeMux(), views: map[string]*template.Template{}, assets: map[string]asset{}, now: time.Now}
	if err := p.load(); err != nil {
		return nil, fmt.Errorf("new page: %w", err)
	}
	for pattern, h := range map[string]func(*http.Request) (result, error){
		"GET /{$}":                       p.jobs,
		"GET /jobs/{id}":                 p.job,
		"GET /deliveries":                p.deliveries,
		"GET /deliveries/{id}":           p.delivery,
		"GET /destinations":              p.destinations,
		"GET /budget":                    p.budget,
		"GET /trends":                    p.trends,
		"POST /jobs":                     p.track,
		"POST /jobs/{id}/{do}":           p.actOnJob,
		"POST /deliveries/{id}/{do}":     p.actOnDelivery,
		"POST /destinations/{name}/{do}": p.actOnDestination,
		"GET /jobs":                      func(*http.Request) (result, error) { return result{to: "/"}, nil },
		"GET /jobs/{$}":                  func(*http.Request) (result, error) { return result{to: "/"}, nil },
	} {
		p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, h) })
	}
	p.mux.HandleFunc("GET /assets/{name}", p.asset)
	p.mux.Handle("/", api)
	return p.mux, nil
}

func (p *page) load() error {
	names, err := fs.Glob(files, "assets/*")
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		base := path.Base(name)
		kind := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(base)]
		p.assets[base] = asset{string(b), kind, "/assets/" + base + "?v=" + hex.EncodeToString(sum[:6])}
	}
	funcs := p.words()
	funcs["asset"] = func(name string) string { return p.assets[name].link }
	names, err = fs.Glob(files, "templates/*.html")
	if err != nil {
		return err
	}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if base == "layout" || base == "parts" {
			continue
		}
		t, err := template.New("layout.html").Funcs(funcs).ParseFS(files, "templates/layout.html", "templates/parts.html", name)
		if err != nil {
			return err
		}
		p.views[base] = t
	}
	return nil
}

// asset answers with one file. A link with its hash may be kept for ever.
func (p *page) asset(w http.ResponseWriter, r *http.Request) {
	a, known := p.assets[r.PathValue("name")]
	if !known {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	if r.URL.RawQuery != "" && strings.HasSuffix(a.link, "?"+r.URL.RawQuery) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	_, _ = w.Write([]byte(a.body)) // the caller has gone if this fails
}

// result is what a handler made: a view to show, or a place to go to.
type result struct {
	name string
	view view
	to   string
}

// answer shows what a handler made, or what went wrong.
func (p *page) answer(w http.ResponseWriter, r *http.Request, view func(*http.Request) (result, error)) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	res, err := view(r)
	status := http.StatusOK
	if err != nil {
		res, status = p.trouble(w, err)
	}
	if res.to != "" {
		http.Redirect(w, r, res.to, http.StatusSeeOther)
		return
	}
	res.view.Now = p.now()
	var b bytes.Buffer
	if err := p.views[res.name].Execute(&b, &res.view); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the caller has gone if this fails
}

// trouble shows a refusal of the API.
func (p *page) trouble(w http.ResponseWriter, err error) (result, int) {
	f := faultOf(err)
	title := http.StatusText(f.status)
	if f.status == http.StatusUnauthorized {
		// Basic alone: some browsers give up when Bearer comes first.
		w.Header().Set("WWW-Authenticate", `Basic realm="jobwatcher", charset="UTF-8"`)
		title = "A token is needed"
	}
	return result{name: "trouble", view: view{Title: title, Data: f}}, f.status
}
