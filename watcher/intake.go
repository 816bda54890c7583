package watcher

import (
	"context"
	"sync"
)

// takeIn starts the sources of jobs that are not the API.
func (w *Watcher) takeIn(ctx context.Context, group *sync.WaitGroup) {
}
