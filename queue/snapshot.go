package queue

import (
	"cmp"
	"slices"
	"time"
)

// Destination is what a Queue knows of one destination.
type Destination struct {
	Channel string `json:"channel"`
	Name    string `json:"name"`

	// State is "open", "full" (as many attempts run as may), "paused" (its
	// rate is used up) or "dead" (left alone because it did not answer).
	State string `json:"state"`

	Running int `json:"running"` // slots in use, or kept for a message on its way
	Waiting int `json:"waiting"` // messages in line
	Window  int `json:"window"`  // attempts that slow start lets run; 0: no limit

	Failures  int       `json:"failures,omitempty"`
	LastError time.Time `json:"lastError,omitzero"` // when the last of them was counted
	Next      time.Time `json:"next,omitzero"`      // when a state that passes does
}

// Destinations returns what is known of the destinations that are in use or
// have been of late, by channel and name. It changes nothing, and costs time
// in proportion to their number.
func (q *Queue) Destinations() []Destination {
	q.init()
	all := q.shaper.snapshot()
	slices.SortFunc(all, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// Channel is what a Queue knows of a channel.
type Channel struct {
	Name    string `json:"name"`
	Running int    `json:"running"` // attempts that count for the limit
	Limit   int    `json:"limit"`
	Silent  int    `json:"silent,omitempty"` // further ones, whose next hop says nothing
}

// Channels returns the channels that have been used, by name: the numbers of
// qmail's status line.
func (q *Queue) Channels() []Channel {
	q.init()
	s := q.shaper
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Channel
	for _, ch := range s.channels {
		all = append(all, Channel{ch.name, sum(ch.used), ch.limit, sum(ch.quiet)})
	}
	slices.SortFunc(all, func(a, b Channel) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (s *shaper) snapshot() []Destination {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	all := make([]Destination, 0, len(s.destinations))
	for _, d := range s.destinations {
		all = append(all, d.snapshot(now))
	}
	return all
}

func (d *destination) snapshot(now time.Time) Destination {
	t := Destination{
		Channel: d.channel, Name: d.name, State: "open",
		Running: d.taken, Waiting: d.waiting(), Window: d.open(),
		Failures: d.failures,
	}
	if t.Window == noWindow {
		t.Window = 0
	}
	if d.failures > 0 {
		t.LastError = d.failedAt
	}
	switch blocked, until := d.blocked(now); {
	case blocked && now.Before(d.deadUntil):
		t.State, t.Next = "dead", d.deadUntil
	case blocked && until.IsZero():
		t.State = "full"
	case blocked:
		t.State, t.Next = "paused", until
	}
	return t
}
