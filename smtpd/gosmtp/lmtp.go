package gosmtp

import "sync"

// collector takes the status of recipients, as a Session tells it by name, to
// a server, which wants it by number. Sessions may use it from several
// goroutines.
type collector struct {
	mu      sync.Mutex
	names   []string
	told    []bool
	outcome func(i int, err error)
	wrong   bool // a status was for nobody
	over    bool
}

func newCollector(names []string, outcome func(int, error)) *collector {
	return &collector{names: names, told: make([]bool, len(names)), outcome: outcome}
}

// SetStatus tells the outcome of the first recipient of that name who has
// none.
func (c *collector) SetStatus(rcptTo string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	for i, name := range c.names {
		if name == rcptTo && !c.told[i] {
			c.told[i] = true
			c.outcome(i, refusal("data", err))
			return
		}
	}
	c.wrong = true
}

// end is called when LMTPData has returned. It reports whether there was a
// status that fits nobody.
func (c *collector) end() (wrong bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.wrong
}
