package queue

import "time"

// State is where a recipient stands.
type State struct {
	Status   Status    `json:"status"`
	Attempts int       `json:"attempts"`
	Due      time.Time `json:"due,omitzero"` // the next attempt, while Pending
	Last     *Attempt  `json:"last,omitempty"`
}

// States works out the state of each recipient from the journal, in the order
// of the envelope.
func (e *Entry) States() []State {
	states := make([]State, len(e.Envelope.Recipients))
	for i := range states {
		states[i].Due = e.Arrived
	}
	for i := range e.Journal {
		a := &e.Journal[i]
		if a.Recipient >= 0 && a.Recipient < len(states) {
			states[a.Recipient].apply(a, e.Arrived)
		}
	}
	return states
}

// apply takes an attempt into account. A final state stays, whatever a
// damaged journal says after it.
func (s *State) apply(a *Attempt, arrived time.Time) {
	if s.Status != Pending {
		return
	}
	s.Status, s.Due, s.Last = a.Status, a.Due, a
	s.Attempts = max(s.Attempts, a.Number)
	if s.Due.IsZero() && s.Status == Pending {
		s.Due = arrived // an administrator said: now
	}
}
