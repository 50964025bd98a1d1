package remote

import (
	"sync"
	"time"
)

// pool keeps sessions for the next message to the same place.
type pool struct {
	mu     sync.Mutex
	idle   map[call][]*idleSession
	count  int
	closed bool
	ending sync.WaitGroup // sessions that are being closed
}

type idleSession struct {
	*session
	timer *time.Timer
}

// release keeps a session for later, or ends it.
func (a *Agent) release(s *session) {
	s.reused, s.progress = true, nil
	keep := !s.broken && a.IdleTime >= 0 && s.served < or(a.MaxMessages, defaultMaxMessages)
	if !keep || !a.pool.put(s, or(a.IdleTime, defaultIdleTime), or(a.MaxIdle, defaultMaxIdle)) {
		s.quit()
	}
}

// put keeps s for a while. False: there is no room.
func (p *pool) put(s *session, idle time.Duration, limit int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.count >= limit {
		return false
	}
	if p.idle == nil {
		p.idle = make(map[call][]*idleSession)
	}
	key := s.call.key()
	i := &idleSession{session: s}
	i.timer = time.AfterFunc(idle, func() { p.expire(key, i) })
	p.idle[key] = append(p.idle[key], i)
	p.count++
	return true
}

// has reports whether a session for key is kept.
func (p *pool) has(key call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle[key]) > 0
}

// take returns the session for key that has waited the shortest, or nil.
func (p *pool) take(key call) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := p.idle[key]
	if len(waiting) == 0 {
		return nil
	}
	i := waiting[len(waiting)-1]
	p.remove(key, len(waiting)-1)
	i.timer.Stop()
	return i.session
}

// remove takes the n-th session for key out. The caller holds the lock.
func (p *pool) remove(key call, n int) {
	waiting := p.idle[key]
	copy(waiting[n:], waiting[n+1:])
	waiting[len(waiting)-1] = nil
	waiting = waiting[:len(waiting)-1]
	p.count--
	if len(waiting) == 0 {
		delete(p.idle, key)
		return
	}
	p.idle[key] = waiting
}

// expire ends a session that has waited too long, if it was not taken.
func (p *pool) expire(key call, i *idleSession) {
	p.mu.Lock()
	for n, waiting := range p.idle[key] {
		if waiting == i {
			p.remove(key, n)
			p.ending.Add(1)
			p.mu.Unlock()
			defer p.ending.Done()
			i.quit()
			return
		}
	}
	p.mu.Unlock()
}

// close ends all sessions, and keeps no more.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle, p.count = nil, 0
	p.mu.Unlock()
	for _, waiting := range idle {
		for _, i := range waiting {
			i.timer.Stop()
			i.quit()
		}
	}
	p.ending.Wait()
}
