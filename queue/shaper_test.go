package queue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// model drives a shaper as jobs do, with messages that are parked, leased,
// removed and late in any order, and checks its books after each step.
type model struct {
	*rapid.T
	s      *shaper
	mu     sync.Mutex
	parked map[string]*waiter // by key
	woken  []*waiter          // due, to be leased
	slots  map[*waiter]*slot  // of running attempts
	next   ID
}

func (m *model) wake(key string, _ int) int {
	m.mu.Lock() // timers call it, too
	defer m.mu.Unlock()
	w := m.parked[key]
	if w == nil {
		return 0
	}
	delete(m.parked, key)
	m.woken = append(m.woken, w)
	return 1
}

func (m *model) takeWoken() *waiter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.woken) == 0 {
		return nil
	}
	w := m.woken[0]
	m.woken = m.woken[1:]
	return w
}

func (m *model) takeParked() *waiter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.parked) == 0 {
		return nil
	}
	key := slices.Min(slices.Collect(maps.Keys(m.parked)))
	w := m.parked[key]
	delete(m.parked, key)
	return w
}

func (m *model) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.parked) == 0 && len(m.woken) == 0 && len(m.slots) == 0
}

func (m *model) place(label string) place {
	return place{"remote", fmt.Sprintf("d%d", rapid.IntRange(0, 4).Draw(m.T, label))}
}

// lease is what a job does first with a message.
func (m *model) lease(id ID, p place) {
	w := m.s.begin(id, make(chan struct{}, 1))
	if !w.listed {
		w.account = fmt.Sprint(id % 3)
	}
	if sl := m.s.acquire(w, p, id%2 == 0, id%3 == 0); sl != nil {
		m.slots[w] = sl
		sl.hear()
		m.s.forgo(w, func(place) bool { return false })
		return
	}
	m.s.forgo(w, func(q place) bool { return q == p })
	m.mu.Lock()
	m.parked[w.key] = w
	m.mu.Unlock()
	m.s.parked(w)
	synctest.Wait()
}

func (m *model) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"new": func(t *rapid.T) {
			m.next++
			m.lease(m.next, m.place("to"))
		},
		"lease a woken one": func(t *rapid.T) {
			w := m.takeWoken()
			if w == nil {
				t.Skip()
			}
			m.lease(w.id, m.place("to, perhaps changed"))
		},
		"lease a parked one in its own time": func(t *rapid.T) {
			w := m.takeParked()
			if w == nil {
				t.Skip()
			}
			m.lease(w.id, m.place("to"))
		},
		"remove a parked one": func(t *rapid.T) {
			if m.takeParked() == nil {
				t.Skip()
			}
		},
		"hear of an attempt": func(t *rapid.T) {
			if len(m.slots) == 0 {
				t.Skip()
			}
			m.slots[m.firstRunning()].hear()
		},
		"end an attempt": func(t *rapid.T) {
			if len(m.slots) == 0 {
				t.Skip()
			}
			w := m.firstRunning()
			m.s.release(m.slots[w], health(rapid.IntRange(0, 3).Draw(t, "health")))
			delete(m.slots, w)
			m.s.end(w)
		},
		"pass time": func(t *rapid.T) {
			time.Sleep(time.Duration(rapid.SampledFrom([]int{40, 100, 4000, 4000_000}).Draw(t, "ms")) * time.Millisecond)
			synctest.Wait()
		},
		"change concurrency": func(t *rapid.T) {
			m.s.setConcurrency("remote", rapid.IntRange(1, 6).Draw(t, "n"))
		},
		"": m.check,
	}
}

func (m *model) firstRunning() *waiter {
	return slices.MinFunc(slices.Collect(maps.Keys(m.slots)), func(a, b *waiter) int { return cmp.Compare(a.id, b.id) })
}

func (m *model) check(t *rapid.T) {
	synctest.Wait()
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	taken, waiting, kept := 0, 0, 0
	for _, d := range m.s.destinations {
		taken += d.taken
		waiting += d.waiting()
		if d.taken < 0 {
			t.Fatalf("%s: %d slots taken", d.name, d.taken)
		}
		for i := range d.lanes {
			m.checkLane(t, &d.lanes[i])
		}
	}
	for _, w := range m.s.waiters {
		waiting -= len(w.spots)
		kept += len(w.slots)
	}
	if waiting != 0 {
		t.Fatalf("%d more in lines than waiters know of", waiting)
	}
	ch := m.s.channel("remote")
	if counted := sum(ch.used) + sum(ch.quiet); counted != taken || taken != len(m.slots)+kept {
		t.Fatalf("channel counts %d, destinations %d, there are %d running and %d kept", counted, taken, len(m.slots), kept)
	}
	if most := 6 + silentFactor*6; taken > most {
		t.Fatalf("%d run, more than %d", taken, most)
	}
	if talking := sum(ch.used); talking != len(ch.talking) || talking > 0 && !ch.ticking {
		t.Fatalf("%d slots are heard, %d are listened to, %v", talking, len(ch.talking), ch.ticking)
	}
	for i := range ch.turns {
		m.checkTurns(t, &ch.turns[i])
	}
}

func (m *model) checkTurns(t *rapid.T, turns *turns) {
	if turns.accounts.Len() != len(turns.byAccount) {
		t.Fatalf("%d accounts have turns, %d are known", turns.accounts.Len(), len(turns.byAccount))
	}
	for account, p := range turns.byAccount {
		if p.lanes.Len() == 0 || p.account != account {
			t.Fatalf("%q has %d lanes of %q", account, p.lanes.Len(), p.account)
		}
		for e := p.lanes.Front(); e != nil; e = e.Next() {
			if l := e.Value.(*lane); l.account() != account {
				t.Fatalf("%q has the lane of %q", account, l.account())
			}
		}
	}
}

func (m *model) checkLane(t *rapid.T, l *lane) {
	n := 0
	for e := l.accounts.Front(); e != nil; e = e.Next() {
		ln := e.Value.(*line)
		if n += ln.waiting.Len(); ln.waiting.Len() == 0 {
			t.Fatalf("%s: an empty line for %q", l.d.name, ln.account)
		}
	}
	if n != l.n || l.turn != nil && l.n == 0 {
		t.Fatalf("%s: lane counts %d, there are %d; has a turn: %v", l.d.name, l.n, n, l.turn != nil)
	}
}

func TestShaperKeepsItsBooks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var failed any // rapid's way to tell, to be taken out of the bubble
		synctest.Test(t, func(t *testing.T) {
			defer func() { failed = recover() }()
			m := &model{T: rt, parked: make(map[string]*waiter), slots: make(map[*waiter]*slot)}
			m.s = newShaper(map[string]int{"remote": 3}, nil, func(_, d string) Limits {
				if d == "d1" {
					return Limits{Rate: 0.1}
				}
				return Limits{}
			}, m.wake)
			rt.Repeat(m.actions())
			m.finish(rt)
			m.s.close()
		})
		if failed != nil {
			panic(failed)
		}
	})
}

// A slot is not kept for ever for a message that was woken and does not come:
// somebody may have held it, or another process leased it.
func TestSlotOfAMessageThatDoesNotComeIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShaper(map[string]int{"local": 1}, nil, func(string, string) Limits { return Limits{} }, func(string, int) int { return 1 })
		defer s.close()
		p := place{"local", "joe"}
		running, absent := s.begin(1, nil), s.begin(2, nil)
		sl := s.acquire(running, p, false, true)
		if sl == nil || s.acquire(absent, p, false, true) != nil {
			t.Fatal("there is one slot, and not one for each")
		}
		s.parked(absent)
		s.release(sl, healthGood)
		time.Sleep(2*comeForSlot + time.Second)
		if sl = s.acquire(s.begin(3, nil), p, false, true); sl == nil {
			t.Fatal("the slot is kept for a message that did not come")
		}
		s.release(sl, healthGood)
	})
}

// finish ends all attempts well, and wants everybody who waits to be served.
func (m *model) finish(t *rapid.T) {
	m.s.setConcurrency("remote", 3)
	for range 10_000 {
		synctest.Wait()
		for w, sl := range m.slots {
			delete(m.slots, w)
			m.s.release(sl, healthGood)
			m.s.end(w)
		}
		for w := m.takeWoken(); w != nil; w = m.takeWoken() {
			m.lease(w.id, place{"remote", "d0"})
		}
		if m.idle() {
			m.check(t)
			return
		}
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	t.Fatalf("%d messages wait for ever", len(m.parked))
}
