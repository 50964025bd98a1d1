package callout

import (
	"sync"
	"time"
)

// maxAnswers is how many answers a Server keeps, of at most a few hundred
// octets each.
const maxAnswers = 10_000

// answers are what a server has said. When there are many the older half goes,
// so that who asks about ever more mailboxes costs no more memory.
type answers struct {
	mu            sync.Mutex
	recent, older map[string]answer
}

type answer struct {
	known bool
	until time.Time
}

// find returns the answer about a mailbox.
func (a *answers) find(mailbox string) (known, found bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	said, found := a.recent[mailbox]
	if !found {
		said, found = a.older[mailbox]
	}
	return said.known, found && time.Now().Before(said.until)
}

// keep keeps an answer for a time.
func (a *answers) keep(mailbox string, known bool, age time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.recent) >= maxAnswers/2 {
		a.older, a.recent = a.recent, nil
	}
	if a.recent == nil {
		a.recent = make(map[string]answer)
	}
	a.recent[mailbox] = answer{known, time.Now().Add(age)}
}
