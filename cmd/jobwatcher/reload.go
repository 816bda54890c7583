package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/metrics"
	"github.com/jobwatcher/jobwatcher/notify"
)

const (
	// reloadEvery is how often the destinations file is looked at. A stat through
	// the symlink sees what no file watch sees reliably: a ConfigMap's swap of
	// ..data, a file on NFS, a path that comes and goes.
	reloadEvery = 2 * time.Second
	// reloadAgain is how often a file at fault is read again although it has not
	// changed: a secret's file that it names may have come meanwhile.
	reloadAgain = 30 * time.Second
)

// reloader takes the destinations file over whenever it changes: all of it, or,
// when anything in it is at fault, nothing, and then the old one stays in force.
type reloader struct {
	config  *Config
	log     *zap.Logger
	metrics *metrics.Metrics
	apply   func([]notify.Destination) error
	now     func() time.Time

	last  os.FileInfo
	fresh bool   // written so recently that the same stat may hide a change
	text  []byte // read last, in force or not
	fault string // why it is not in force
	tried time.Time
}

func newReloader(c *Config, log *zap.Logger) *reloader {
	return &reloader{config: c, log: log.Named("destinations"), now: time.Now}
}

// start reads the destinations for the first time.
func (r *reloader) start() (all []notify.Destination, err error) {
	if r.text, err = r.config.destinationsText(); err != nil {
		return nil, err
	}
	return r.config.destinationsOf(r.text)
}

// run looks at the file until ctx ends.
func (r *reloader) run(ctx context.Context) error {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.look()
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the file if it may have changed, and takes it over.
func (r *reloader) look() {
	now := r.now()
	if r.fault != "" && now.Sub(r.tried) >= reloadAgain {
		r.last = nil
	}
	stat, err := os.Stat(r.config.Daemon.DestinationsFile)
	if err != nil {
		r.last = nil
		r.refuse(withoutOp(err, r.config.Daemon.DestinationsFile))
		return
	}
	same := r.last != nil && os.SameFile(stat, r.last) && stat.ModTime().Equal(r.last.ModTime()) && stat.Size() == r.last.Size()
	if same && !r.fresh {
		return
	}
	text, err := r.config.destinationsText()
	if err != nil {
		r.refuse(err)
		return
	}
	r.last, r.fresh = stat, now.Sub(stat.ModTime()).Abs() < reloadEvery
	if bytes.Equal(text, r.text) && (r.fault == "" || same) {
		return
	}
	r.text, r.tried = text, now
	all, err := r.config.destinationsOf(text)
	if err == nil {
		err = r.apply(all)
	}
	if err != nil {
		r.refuse(err)
		return
	}
	r.fault = ""
	r.metrics.DestinationsReloaded(true)
	r.log.Info("destinations reloaded", zap.Int("count", len(all)))
}

// refuse keeps what is in force, and says so once for each fault.
func (r *reloader) refuse(err error) {
	text := err.Error()
	if text == r.fault {
		return
	}
	r.fault, r.tried = text, r.now()
	r.metrics.DestinationsReloaded(false)
	for line := range strings.SplitSeq(text, "\n") {
		r.log.Error("destinations file is at fault: the former destinations stay in force", zap.String("error", line))
	}
}
