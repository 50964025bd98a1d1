package segstore

import (
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// share is how much of a lane's work a batch is, at most.
//
// Who comes back from a sync comes back with all others whom it served, and
// when all who use the store wait for the same sync nobody has anything to do
// until it ends. So on a fast disk a batch takes no more than half of those
// who have been there lately: while it is synced the others work.
func (l *lane) share() int {
	if l.rear || l.took >= slow {
		return maxEntries
	}
	return max(minShare, (l.peak+1)/2)
}

const (
	minShare   = 8
	maxEntries = 1 << 30
)

// observe takes note of how many there were when a sync ended: those whom it
// served, and those who waited. The lane's lock is held.
func (l *lane) observe(served int) {
	l.crew = served + len(l.waiting)
	l.peak = max(l.crew, l.peak-(l.peak+15)/16)
}

// datasync syncs a file: in the background, so that whom this batch is not for
// can work meanwhile, unless there is nobody of the kind.
func (l *lane) datasync(f spoolfs.File) error {
	if l.peak <= few {
		return f.Datasync()
	}
	return l.sync.Datasync(f)
}

// few is how many need no background: it would cost them time.
const few = 2

// measured takes note of how long a sync took. What counts is the disk's time,
// not how long the goroutine then waited for its turn: so a short time counts
// at once, and a long one by and by.
func (l *lane) measured(d time.Duration) {
	if l.took == 0 {
		l.took = d
	}
	l.took = min(d, l.took+l.took/64+time.Microsecond)
}

// slow is the time of a sync from which on it pays to wait for others.
const slow = 500 * time.Microsecond

// gather waits for those who shared the last sync: until all are back, while
// they come faster than one sync after the other would serve them, and for half
// the time of a sync at most.
func (l *lane) gather() {
	if l.took < slow {
		return
	}
	full, n := l.expect()
	if full == nil {
		return
	}
	defer l.expectNobody()
	pause := l.took / 8
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for waited := pause; waited <= l.took/2; waited += pause {
		select {
		case <-full:
			return
		case <-timer.C:
		}
		before := n
		n = l.there()
		if time.Duration(n-before)*(waited+l.took) <= time.Duration(n)*pause {
			return
		}
		timer.Reset(pause)
	}
}

// expect returns how many wait, and a channel that is closed when all do who
// are expected; nil: they do.
func (l *lane) expect() (full <-chan struct{}, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= l.crew {
		return nil, len(l.waiting)
	}
	l.full, l.enough = make(chan struct{}), l.crew
	return l.full, len(l.waiting)
}

func (l *lane) expectNobody() {
	l.mu.Lock()
	l.full = nil
	l.mu.Unlock()
}

func (l *lane) there() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}
