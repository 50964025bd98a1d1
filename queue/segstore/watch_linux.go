package segstore

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// watchDir tells changed when a file gets a name in a directory, until stop is
// called or the kernel has nothing more to say. Then over is closed. Running
// waits for what it starts.
func watchDir(running *sync.WaitGroup, dir string, changed chan<- struct{}) (over <-chan struct{}, stop func(), err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, nil, os.NewSyscallError("inotify_init1", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		return nil, nil, errors.Join(os.NewSyscallError("inotify_add_watch", err), events.Close())
	}
	ended := make(chan struct{})
	running.Go(func() {
		defer close(ended)
		for buf := make([]byte, 4096); ; {
			n, err := events.Read(buf)
			if err != nil || dirIsGone(buf[:n]) {
				return
			}
			select {
			case changed <- struct{}{}:
			default: // it is told already
			}
		}
	})
	return ended, func() { events.Close() }, nil
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
