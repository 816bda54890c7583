package verify

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk is a small file system of our own below the daemon's store, which we can
// fill up. Mounting one takes privileges that few have: without them the disk
// is an ordinary folder and never full.
type disk struct {
	folder  string
	mounted bool
}

func newDisk(folder string) *disk {
	d := &disk{folder: filepath.Join(folder, "store")}
	if os.Mkdir(d.folder, 0o700) == nil {
		d.mounted = unix.Mount("tmpfs", d.folder, "tmpfs", 0, "size=32m,mode=0700") == nil
	}
	return d
}

// fill takes all the space that is left.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 4
		}
	}
	if errors.Is(err, unix.ENOSPC) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

func (d *disk) free() error {
	if err := os.Remove(d.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (d *disk) ballast() string { return filepath.Join(d.folder, "ballast") }

func (d *disk) close() error {
	if !d.mounted {
		return nil
	}
	return unix.Unmount(d.folder, unix.MNT_DETACH)
}
