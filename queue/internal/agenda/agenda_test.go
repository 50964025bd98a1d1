package agenda

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/sqmail/sqmail/queue"
)

func TestMessagesComeByDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Agenda[int]
		a.Lock()
		for i := range 2000 {
			s := a.Add(queue.ID(i+1), time.Now().Add(time.Duration(rand.IntN(1000))*time.Second), true, false, i)
			if i%3 == 0 {
				a.Delete(s)
			}
			if i%5 == 0 && i%3 != 0 {
				a.Retry(s, time.Now().Add(time.Duration(rand.IntN(1000))*time.Second))
			}
		}
		n := a.Len()
		a.Unlock()
		last := time.Time{}
		for range n {
			l, err := a.Next(t.Context(), time.Hour)
			if err != nil || l.Due.Before(last) || l.Due.After(time.Now()) {
				t.Fatalf("%+v after %v, %v", l, last, err)
			}
			last = l.Due
		}
		a.Close()
	})
}

func TestMessagesAreFoundByNumber(t *testing.T) {
	var a Agenda[int]
	a.Lock()
	defer a.Unlock()
	there := make(map[queue.ID]bool)
	for i := range 20_000 {
		id := queue.ID(i*3 + 1)
		a.Add(id, time.Time{}, false, false, 0)
		there[id] = true
		if victim := queue.ID(rand.IntN(i+1)*3 + 1); i%4 != 0 {
			if s, ok := a.Find(victim); ok != there[victim] {
				t.Fatalf("message %v is found: %v", victim, ok)
			} else if ok {
				a.Delete(s)
				delete(there, victim)
			}
		}
	}
	a.Add(2, time.Time{}, false, false, 0) // out of order
	there[2] = true
	n := 0
	for id := queue.ID(0); ; n++ {
		s, ok := a.After(id)
		if !ok {
			break
		}
		next := a.Item(s).ID()
		if next <= id || !there[next] {
			t.Fatalf("%v follows %v", next, id)
		}
		id = next
	}
	if n != len(there) || n != a.Len() {
		t.Errorf("%d messages in order, %d by count, want %d", n, a.Len(), len(there))
	}
}

func TestAMessageTakesLittle(t *testing.T) {
	if size := unsafe.Sizeof(Item[struct{}]{}); size > 48 {
		t.Errorf("an item takes %d octets", size)
	}
}

func TestAFrozenLeaseDoesNotRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Agenda[int]
		defer a.Close()
		a.Lock()
		a.Add(1, time.Time{}, false, false, 0)
		a.Unlock()
		l, err := a.Next(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		a.Lock()
		defer a.Unlock()
		if err := a.Freeze(l); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if !a.Valid(l) {
			t.Error("a frozen lease has run out")
		}
		a.Thaw(l)
		if a.Valid(l) {
			t.Error("a thawed lease that is over does not run out")
		}
		if err := a.Freeze(l); !errors.Is(err, queue.ErrLeaseLost) {
			t.Errorf("Freeze of a lost lease: %v", err)
		}
	})
}

func TestAWaiterThatGivesUpPassesTheCallOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Agenda[int]
		defer a.Close()
		first, cancel := context.WithCancel(t.Context())
		got := make(chan error, 2)
		wait := func(ctx context.Context) {
			_, err := a.Next(ctx, time.Minute)
			got <- err
		}
		go wait(first)
		synctest.Wait()
		go wait(t.Context())
		synctest.Wait()
		a.Lock()
		cancel() // the first waiter is called and gives up at once
		a.Add(1, time.Time{}, false, false, 0)
		a.Unlock()
		leased := 0
		for range 2 {
			if <-got == nil {
				leased++
			}
			if leased == 1 {
				return
			}
		}
		t.Error("nobody was given the message")
	})
}

func TestManyKeysLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Agenda[int]
		defer a.Close()
		for i := range 1000 {
			a.Lock()
			a.Add(queue.ID(i+1), time.Time{}, false, false, 0)
			a.Unlock()
			l, err := a.Next(t.Context(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			a.Lock()
			key := time.Duration(i).String()
			a.Park(l, key, time.Now().Add(time.Hour))
			a.Delete(l.Slot)
			a.Unlock()
		}
		if len(a.keys) != 0 || len(a.lists) > int(firstParked)+1 {
			t.Errorf("%d keys and %d lists are left", len(a.keys), len(a.lists))
		}
	})
}

// While old messages are entered, new ones come: each sequence is appended to.
func TestOldMessagesAreEnteredBesideNewOnes(t *testing.T) {
	var a Agenda[int]
	a.Lock()
	defer a.Unlock()
	a.Split(1000)
	for i := range 500 {
		a.Add(queue.ID(2*i+1), time.Time{}, false, false, 0)
		a.Add(queue.ID(1000+i), time.Time{}, false, false, 0)
	}
	if s, ok := a.Find(1200); !ok || a.Item(s).ID() != 1200 {
		t.Error("message 1200 is not found")
	}
	if s, ok := a.After(999); !ok || a.Item(s).ID() != 1000 {
		t.Error("message 1000 does not follow 999")
	}
	last, n := queue.ID(0), 0
	for s, ok := a.After(0); ok; s, ok = a.After(last) {
		if id := a.Item(s).ID(); id <= last {
			t.Fatalf("%v follows %v", id, last)
		}
		last = a.Item(s).ID()
		n++
	}
	if n != 1000 || a.Len() != 1000 {
		t.Errorf("%d messages in order, %d by count, want 1000", n, a.Len())
	}
}

func TestWaitsEndWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Agenda[int]
		reason := errors.New("the disk is broken")
		got := make(chan error)
		go func() {
			_, err := a.Next(t.Context(), time.Minute)
			got <- err
		}()
		synctest.Wait()
		a.CloseWith(reason)
		a.Close()
		if err := <-got; err != reason || a.Err() != reason || !a.Closed() {
			t.Errorf("got %v and %v, want %v", err, a.Err(), reason)
		}
	})
}
