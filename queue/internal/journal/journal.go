// Package journal keeps the attempts at a message's recipients in bounds.
package journal

import (
	"errors"
	"slices"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// keepLast is how many deferrals of a recipient are kept besides the first.
const keepLast = 8

var errAttempt = errors.New("queue: attempt for a recipient that the message does not have")

// Check reports whether the attempts fit a message with so many recipients.
func Check(attempts []queue.Attempt, recipients int) error {
	for i := range attempts {
		if r := attempts[i].Recipient; r < 0 || r >= recipients {
			return errAttempt
		}
	}
	return nil
}

// Add appends attempts to a journal as append does: what the old one holds
// stays as it is, and the room behind it may be used. What may be forgotten is
// left out only when the journal needs new room, so that a message of many
// recipients costs as many steps as it has attempts; [Compact] does the rest.
func Add(journal, attempts []queue.Attempt) []queue.Attempt {
	n := len(journal) + len(attempts)
	if n <= cap(journal) {
		return append(journal, attempts...)
	}
	j := make([]queue.Attempt, 0, n)
	j = Compact(append(append(j, journal...), attempts...))
	return append(make([]queue.Attempt, 0, 2*len(j)), j...)
}

// Compact forgets, of each recipient, all deferrals but the first and the last
// eight. It works in place.
func Compact(j []queue.Attempt) []queue.Attempt {
	if len(j) <= keepLast+1 {
		return j
	}
	total := make(map[int]int)
	for i := range j {
		if j[i].Status == queue.Pending {
			total[j[i].Recipient]++
		}
	}
	seen := make(map[int]int)
	return slices.DeleteFunc(j, func(a queue.Attempt) bool {
		if a.Status != queue.Pending {
			return false
		}
		nth := seen[a.Recipient]
		seen[a.Recipient]++
		return nth > 0 && nth < total[a.Recipient]-keepLast
	})
}

// SetDue makes every recipient that has been tried and is pending due at the
// given time. It changes the journal in place.
func SetDue(j []queue.Attempt, at time.Time) {
	last := make(map[int]bool)
	for i := len(j) - 1; i >= 0; i-- {
		if r := j[i].Recipient; !last[r] {
			last[r] = true
			if j[i].Status == queue.Pending {
				j[i].Due = at
			}
		}
	}
}
