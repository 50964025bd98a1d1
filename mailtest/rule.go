package mailtest

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
)

// Event is something that happens at a [Peer], or a question to a [Zone].
type Event struct {
	// Stage is where a session stands. At a Zone: the type of the records.
	Stage Stage

	// Arg is the path of MAIL and RCPT without brackets, the argument of
	// HELO and EHLO, the mechanism of AUTH, the recipient that an LMTP reply
	// to the message is for; at a Zone, the name that is asked for.
	Arg string

	// Session counts the connections from 1; 0 at a Zone.
	Session int

	// Time is when it happens.
	Time time.Time
}

// Condition narrows a rule. The conditions of a rule are asked in their order
// until one does not hold, for every event of the rule's stage, also when an
// earlier rule has decided; each belongs to one rule, for some of them count.
type Condition func(Event) bool

// Nth holds for the n-th event that satisfies the conditions before it,
// counted from 1 over all sessions.
func Nth(n int) Condition { return counted(func(i int) bool { return i == n }) }

// First holds for the first n events that satisfy the conditions before it.
func First(n int) Condition { return counted(func(i int) bool { return i <= n }) }

// After holds for all but the first n events that satisfy the conditions
// before it.
func After(n int) Condition { return counted(func(i int) bool { return i > n }) }

func counted(hold func(int) bool) Condition {
	i := 0
	return func(Event) bool { i++; return hold(i) }
}

// InSession is a condition that begins anew in every session: InSession(Nth, 3)
// holds for the third RCPT of each.
func InSession(condition func(int) Condition, n int) Condition {
	sessions := make(map[int]Condition)
	return func(e Event) bool {
		if sessions[e.Session] == nil {
			sessions[e.Session] = condition(n)
		}
		return sessions[e.Session](e)
	}
}

// For holds if the event's argument is one of args, in any case; two
// addresses are compared as paths.
func For(args ...string) Condition {
	return func(e Event) bool { return slices.ContainsFunc(args, e.is) }
}

func (e Event) is(arg string) bool {
	return strings.EqualFold(e.Arg, arg) || samePath(e.Arg, arg)
}

func samePath(a, b string) bool {
	p, err := sqmail.ParsePath(a)
	q, err2 := sqmail.ParsePath(b)
	return err == nil && err2 == nil && p.Equal(q)
}

// Above holds while more than n events that satisfy the conditions before it
// have fallen into the last per.
func Above(n int, per time.Duration) Condition {
	var last []time.Time
	return func(e Event) bool {
		last = slices.DeleteFunc(append(last, e.Time), func(t time.Time) bool { return e.Time.Sub(t) >= per })
		return len(last) > n
	}
}

// Greylisted holds for an argument until delay after it was first seen.
func Greylisted(delay time.Duration) Condition {
	seen := make(map[string]time.Time)
	return func(e Event) bool {
		if _, found := seen[e.Arg]; !found {
			seen[e.Arg] = e.Time
		}
		return e.Time.Sub(seen[e.Arg]) < delay
	}
}

// script is rules in the order in which they were given.
type script[A any] struct {
	mu    sync.Mutex
	rules []*rule[A]
}

type rule[A any] struct {
	stage      Stage
	conditions []Condition
	action     A
}

func (s *script[A]) add(stage Stage, conditions []Condition, action A) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, &rule[A]{stage, conditions, action})
}

// find returns the action of the first rule that applies. Every rule sees the
// event, so that all of them count right.
func (s *script[A]) find(e Event) (action A, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if (r.stage == e.Stage || r.stage == Any) && r.holds(e) && !found {
			action, found = r.action, true
		}
	}
	return action, found
}

func (r *rule[A]) holds(e Event) bool {
	for _, condition := range r.conditions {
		if !condition(e) {
			return false
		}
	}
	return true
}
