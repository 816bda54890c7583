package main

import (
	"flag"
	"os"
	"os/exec"
	"testing"

	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/zuora/zuorasim"
)

var pictures = flag.String("pictures", "", "a folder where the browser test leaves pictures of the page")

// The page in a real browser: every view in light, dark and on a phone, without
// a fault in the console and without a violation that axe finds; live news;
// every action, with and without script; and readers who may only read.
func TestPageInABrowser(t *testing.T) {
	modules := notifytest.NodeModules(t, "playwright-core", "axe-core")
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no chromium here")
		}
		t.Skip("no chromium here")
	}
	t.Setenv("CHROMIUM", chromium)
	t.Setenv("JOBWATCHER", os.Args[0])
	w := newWorld(t, zuorasim.Options{})
	d := w.serve(map[string]string{"JOBWATCHER_API_TOKEN": "the write token", "JOBWATCHER_API_READ_TOKEN": "the read token"})
	out, err := notifytest.Node(t, modules, "", "testdata/browser.mjs", d.url, "the write token", "the read token", w.zuora.URL, *pictures)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
