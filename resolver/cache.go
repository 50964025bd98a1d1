package resolver

import (
	"container/list"
	"sync"
	"time"
)

// cache keeps results until their time is over, the least recently used
// leaving first when memory runs out.
type cache struct {
	mu      sync.Mutex
	entries map[question]*list.Element
	recent  list.List // of *cached, most recently used first
	size    int
}

type cached struct {
	question question
	result   *result
	size     int
}

// entryOverhead is about what an entry costs besides its records.
const entryOverhead = 512

// get returns what is known about q at the time now, or nil.
func (c *cache) get(q question, now time.Time) *result {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, found := c.entries[q]
	if !found {
		return nil
	}
	r := e.Value.(*cached).result
	if !now.Before(r.until) {
		c.drop(e)
		return nil
	}
	c.recent.MoveToFront(e)
	return r
}

// put keeps r, unless it is already over or would take more than an eighth of
// limit.
func (c *cache) put(q question, r *result, now time.Time, limit int) {
	size := r.size + 2*len(q.name) + entryOverhead
	if !now.Before(r.until) || size > limit/8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, found := c.entries[q]; found {
		c.drop(old)
	}
	for c.size+size > limit {
		c.drop(c.recent.Back())
	}
	if c.entries == nil {
		c.entries = make(map[question]*list.Element)
	}
	c.entries[q] = c.recent.PushFront(&cached{q, r, size})
	c.size += size
}

func (c *cache) drop(e *list.Element) {
	old := c.recent.Remove(e).(*cached)
	delete(c.entries, old.question)
	c.size -= old.size
}
