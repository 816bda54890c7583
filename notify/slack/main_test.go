package slack

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/jobwatcher/jobwatcher/notify/notifytest"
	"github.com/jobwatcher/jobwatcher/watcher/job"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// golden compares the message with a file under testdata, or rewrites the file.
func golden(t *testing.T, file string, m *message) {
	t.Helper()
	raw, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	got := indented.Bytes()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (go test -update rewrites it):\ngot\n%s\nwant\n%s", file, got, want)
	}
}

// soon is a moment after the samples' creation.
func soon() time.Time { return notifytest.SampleAt.Time().Add(2 * time.Second) }

// change is a sample with its job changed.
func change(t testing.TB, kind job.EventType, with func(v *job.View)) job.Outgoing {
	t.Helper()
	o := notifytest.Sample(kind)
	var data struct {
		Job job.View `json:"job"`
	}
	if err := json.Unmarshal(o.Event.Data, &data); err != nil {
		t.Fatal(err)
	}
	with(&data.Job)
	var err error
	if o.Event.Data, err = json.Marshal(data); err != nil {
		t.Fatal(err)
	}
	o.Event.JobID, o.Event.Subject = data.Job.ID, data.Job.ID.String()
	return o
}
