package watcher

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// fileEvery is how often the file of IDs is looked at. A stat through the
	// symlink sees what no file watch sees reliably: a ConfigMap's swap of
	// ..data, a file on NFS, a path that comes and goes.
	fileEvery = 2 * time.Second
	// maxFile bounds what is read of it: 1,700,000 IDs. A ConfigMap has 1 MiB.
	maxFile = 64 << 20
	// maxLine is more than any line with an ID and a comment needs.
	maxLine = 4096
	// maxJunk is how many bad lines are named; the rest is counted.
	maxJunk = 10
	// intakeBatch is how many jobs are tracked in one transaction.
	intakeBatch = 1000
)

// takeIn starts the sources of jobs other than the API. They end with ctx.
func (w *Watcher) takeIn(ctx context.Context, group *sync.WaitGroup) {
	if len(w.o.IDs) > 0 {
		group.Go(func() { w.insist(ctx, w.o.IDs, job.SourceEnv) })
	}
	if w.o.IDsFile != "" {
		group.Go(func() { w.follow(ctx) })
	}
	switch {
	case w.o.Discover:
		group.Go(func() { w.discover(ctx) })
	case w.o.Greet:
		group.Go(func() { w.greet(ctx) })
	}
}

// insist tracks ids, however often the store must be asked. false: ctx ended.
func (w *Watcher) insist(ctx context.Context, ids []job.ID, source job.Source) bool {
	for batch := range slices.Chunk(ids, intakeBatch) {
		specs := make([]job.Spec, len(batch))
		for i, id := range batch {
			specs[i] = job.Spec{ID: id}
		}
		for n := 1; ; n++ {
			_, err := w.Track(ctx, specs, source)
			if err == nil {
				break
			}
			if ctx.Err() != nil || errors.Is(err, job.ErrDraining) {
				return false
			}
			if n == 1 {
				w.o.Log.Error(fmt.Sprintf("track jobs from %s: tried again", source), zap.Error(err))
			}
			pause(ctx, w.retry(n))
		}
	}
	return true
}

// follow tracks what the file of IDs names, and what it names anew whenever it
// changes. An ID that disappears from it is watched on.
func (w *Watcher) follow(ctx context.Context) {
	f := idFile{path: w.o.IDsFile}
	log := w.o.Log.With(zap.String("path", w.o.IDsFile))
	failing := false
	for ctx.Err() == nil {
		ids, junk, err := f.changed(w.o.Now())
		switch {
		case err != nil && !failing:
			log.Warn("file of IDs: cannot be read; what it named is watched on", zap.Error(err))
		case err == nil && failing:
			log.Info("file of IDs: can be read again")
		}
		failing = err != nil
		for _, fault := range junk {
			log.Warn("file of IDs: skipped", zap.Error(fault))
		}
		if len(ids) > 0 && w.insist(ctx, ids, job.SourceFile) {
			f.keep()
		}
		pause(ctx, fileEvery)
	}
}

// idFile remembers what a file of IDs said when it was last read.
type idFile struct {
	path  string
	last  os.FileInfo
	fresh bool     // written so recently that the same stat may hide a change
	known []job.ID // sorted: taken in
	next  []job.ID // sorted: read, and to be known once they are taken in
}

// changed reads the file when it may have changed, and returns the IDs that it
// did not name before, with the lines that are none.
func (f *idFile) changed(now time.Time) (ids []job.ID, junk []error, err error) {
	stat, err := os.Stat(f.path)
	if err != nil {
		f.last = nil
		return nil, nil, err
	}
	same := f.last != nil && os.SameFile(stat, f.last) &&
		stat.ModTime().Equal(f.last.ModTime()) && stat.Size() == f.last.Size()
	if same && !f.fresh && f.next == nil {
		return nil, nil, nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }()
	all, junk, err := parseIDs(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, nil, err
	}
	if stat.Size() > maxFile {
		junk = append(junk, fmt.Errorf("what follows the first %d bytes: %w", maxFile, job.ErrInvalid))
	}
	if same {
		junk = nil // said before
	}
	f.last, f.fresh = stat, now.Sub(stat.ModTime()).Abs() < fileEvery
	slices.SortFunc(all, job.ID.Compare)
	f.next = slices.Compact(all)
	for _, id := range f.next {
		if _, known := slices.BinarySearchFunc(f.known, id, job.ID.Compare); !known {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		f.keep()
	}
	return ids, junk, nil
}

// keep says that what was read has been taken in.
func (f *idFile) keep() { f.known, f.next = f.next, nil }

// parseIDs reads one ID a line; '#' begins a comment, blank lines do not count.
// Junk names the lines that hold something else.
func parseIDs(r io.Reader) (ids []job.ID, junk []error, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	bad := 0
	for n := 1; ; n++ {
		line, long, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, fmt.Errorf("read file of IDs: %w", err)
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(line, "\ufeff"), "#")
		if text = strings.TrimSpace(text); text != "" || long {
			id, fault := job.ParseID(text)
			if fault == nil && !long {
				ids = append(ids, id)
			} else if bad++; bad <= maxJunk {
				junk = append(junk, fmt.Errorf("line %d: %w", n, cmpError(fault, job.ErrInvalid)))
			}
		}
		if err != nil {
			break
		}
	}
	if bad > maxJunk {
		junk = append(junk, fmt.Errorf("and %d more lines: %w", bad-maxJunk, job.ErrInvalid))
	}
	return ids, junk, nil
}

// readLine reads one line; what a long one has beyond the buffer is skipped.
func readLine(in *bufio.Reader) (line string, long bool, err error) {
	b, err := in.ReadSlice('\n')
	line = string(b)
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = in.ReadSlice('\n')
	}
	return line, long, err
}

// cmpError is the first error that is one.
func cmpError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// pause lets time pass until d is over or ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
