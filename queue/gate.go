package queue

import (
	"context"
	"sync"
)

// gate bounds how many leases are held at a time. One goroutine enters.
type gate struct {
	mu     sync.Mutex
	inside int
	limit  int
	left   chan struct{} // told when one may enter again
}

// resize changes how many may be inside, to what limit says then. Those that
// are stay.
func (g *gate) resize(limit func() int) {
	g.mu.Lock()
	g.limit = limit()
	g.mu.Unlock()
	tell(g.left)
}

// enter waits for room, or until ctx ends.
func (g *gate) enter(ctx context.Context) error {
	for !g.tryEnter() {
		select {
		case <-g.left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (g *gate) tryEnter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside >= g.limit {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	g.inside--
	g.mu.Unlock()
	tell(g.left)
}
