package segstore

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// watchDir tells changed when a file gets a name in a directory, until ctx
// ends or the kernel has nothing more to say. Then it closes over. What it
// starts is waited for by running.
func watchDir(ctx context.Context, running *sync.WaitGroup, dir string, changed chan<- struct{}) (over <-chan struct{}, err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	events := os.NewFile(uintptr(fd), "inotify") // closing it ends the reading
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		return nil, errors.Join(os.NewSyscallError("inotify_add_watch", err), events.Close())
	}
	closed := make(chan struct{})
	running.Go(func() {
		defer close(closed)
		defer context.AfterFunc(ctx, func() { events.Close() })()
		defer events.Close()
		for buf := make([]byte, 4096); ; {
			n, err := events.Read(buf)
			if err != nil || n < unix.SizeofInotifyEvent || dirIsGone(buf[:n]) {
				return
			}
			select {
			case changed <- struct{}{}:
			default: // it knows
			}
		}
	})
	return closed, nil
}

// dirIsGone looks for the last event that a watched directory has.
func dirIsGone(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(events[4:])
		if mask&unix.IN_IGNORED != 0 {
			return true
		}
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		if size > len(events) {
			break
		}
		events = events[size:]
	}
	return false
}
