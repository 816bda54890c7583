package verify

import (
	"context"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/apiclient"
	"github.com/jobwatcher/jobwatcher/watcher/job"
)

// askLimit bounds one call of the client: a frozen daemon does not answer.
const askLimit = 3 * time.Second

// overdueEvery is which of the jobs get a deadline that most of them miss.
const (
	overdueEvery = 10
	shortest     = "300ms"
)

// track asks for the job to be watched, as often as it takes: whoever got no
// answer asks again. It reports when the daemon acknowledged it.
func track(ctx context.Context, api *apiclient.Client, id job.ID, n int) (acknowledged time.Time, ok bool) {
	item := apiclient.Item{}
	if n%overdueEvery == 0 {
		item.Deadline = shortest
	}
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, askLimit)
		_, err := api.Track(limited, id, item)
		cancel()
		if err == nil {
			return time.Now(), true
		}
		pause(ctx, 50*time.Millisecond)
	}
	return time.Time{}, false
}
