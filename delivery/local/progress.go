package local

import (
	"slices"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

// progress remembers what deferred attempts have done already, so that the next
// attempt for the same recipient of the same message does not do it again. It
// is a convenience: it forgets when it is full, and with the process.
type progress struct {
	mu    sync.Mutex
	jobs  map[jobKey]finished
	order []jobKey // oldest first
}

// finished holds the instructions that are carried out, and whether they were
// the last ones by a program's word.
type finished map[Instruction]bool

// jobKey names one recipient of one message. The number alone would do for one
// queue; two queues may share an agent.
type jobKey struct {
	message string
	arrived time.Time
	size    int64
	reverse sqmail.Path
	to      sqmail.Path
	home    string
}

// maxJobs bounds the memory of progress.
const maxJobs = 10000

func (j *job) key() jobKey {
	m := j.message
	return jobKey{m.ID, m.Arrived.UTC(), m.Size, m.Envelope.ReversePath, j.to.Path, j.plan.User.Home}
}

// nameless reports whether the key says too little to tell two messages apart.
func (k jobKey) nameless() bool { return k.message == "" || k.arrived.IsZero() }

// take returns what has been done, and forgets it.
func (p *progress) take(k jobKey) finished {
	p.mu.Lock()
	defer p.mu.Unlock()
	done, found := p.jobs[k]
	if !found {
		return make(finished)
	}
	delete(p.jobs, k)
	p.order = slices.DeleteFunc(p.order, func(o jobKey) bool { return o == k })
	return done
}

// put remembers what has been done.
func (p *progress) put(k jobKey, done finished) {
	if k.nameless() || len(done) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jobs == nil {
		p.jobs = make(map[jobKey]finished)
	}
	if len(p.order) == maxJobs {
		delete(p.jobs, p.order[0])
		p.order = p.order[1:]
	}
	p.jobs[k] = done
	p.order = append(p.order, k)
}
