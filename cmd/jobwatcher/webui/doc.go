// Package webui is the page: jobs, their timelines, deliveries, destinations and
// the budget, for people.
//
// It is a client of the JSON API and of nothing else. Every view reads /v1, and
// every action asks /v1 for it, in this process and with what the browser sent:
// the same token or address, the same Origin. So there is one door to the data,
// with one set of rules, one audit log and one list of limits, and nothing that
// the page can do is possible in another way than with curl.
//
// Everything is rendered here and reads without script. A little of it
// (assets/live.js) listens to /v1/events, fetches the page anew when something
// has happened, and counts seconds. The Content-Security-Policy lets nothing
// else run, and nothing come from elsewhere.
//
// Files, in reading order:
//
//   - page.go: the routes, and how a view becomes an answer.
//   - ask.go: one call of the API.
//   - views.go: what each view reads.
//   - actions.go: what each form asks for.
//   - words.go: numbers, times and states as people read them.
//   - plot.go: values over time, as SVG.
package webui
