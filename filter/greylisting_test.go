package filter_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/greylist/greylisttest"
)

// memory is a GreyStore.
type memory struct {
	mu      sync.Mutex
	records map[string]filter.GreyRecord
	err     error
}

func (m *memory) Update(_ context.Context, key string, f func(filter.GreyRecord) filter.GreyRecord) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if m.records == nil {
		m.records = map[string]filter.GreyRecord{}
	}
	if r := f(m.records[key]); r != m.records[key] {
		m.records[key] = r
	}
	return nil
}

func TestMemory(t *testing.T) {
	greylisttest.Run(t, func(*testing.T) filter.GreyStore { return new(memory) })
}

// grey asks a Greylist about a recipient, and returns the code of the reply.
func grey(t *testing.T, f *filter.Greylist, addr, from, to string) int {
	t.Helper()
	s := &filter.Session{Peer: peerAt(addr), Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf(from)}}
	v, err := f.Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf(to)})
	return sqmail.ReplyFor(errors.Join(err, v.Err())).Code
}

func TestGreylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &filter.Greylist{Store: new(memory)}
		try := func(want int, about string) {
			t.Helper()
			if got := grey(t, f, "192.0.2.7", "a@example.net", "b@example.org"); got != want {
				t.Errorf("%s: %d, want %d", about, got, want)
			}
		}
		try(450, "the first attempt")
		time.Sleep(5*time.Minute - time.Second)
		try(450, "too soon")
		time.Sleep(time.Second)
		try(250, "in time")
		try(250, "again")
		for range 10 {
			time.Sleep(34 * 24 * time.Hour)
			try(250, "who writes is not forgotten")
		}
		time.Sleep(36 * 24 * time.Hour)
		try(450, "who does not is")
		time.Sleep(49 * time.Hour)
		try(450, "too late")
		time.Sleep(time.Hour)
		try(250, "in time after too late")
	})
}

func TestGreylistKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &filter.Greylist{Store: new(memory), Delay: time.Second}
		known := func(addr, from, to string) bool { return grey(t, f, addr, from, to) == 250 }
		known("192.0.2.7", "bounce-123-joe=x.test@lists.test", "b@example.org")
		known("2001:db8::7", "", "b@example.org")
		time.Sleep(time.Minute)
		for _, test := range []struct {
			addr, from, to string
			want           bool
		}{
			{"192.0.2.200", "bounce-123-joe=x.test@lists.test", "b@example.org", true},
			{"::ffff:192.0.2.200", "bounce-123-joe=x.test@lists.test", "b@example.org", true},
			{"192.0.2.7", "Bounce-99999-joe=x.test@Lists.test", "B@Example.org", true},
			{"192.0.3.7", "bounce-123-joe=x.test@lists.test", "b@example.org", false},
			{"192.0.2.7", "bounce-joe=x.test@lists.test", "b@example.org", false},
			{"192.0.2.7", "bounce-123-joe=x.test@lists.test", "c@example.org", false},
			{"2001:db8::ffff:1", "", "b@example.org", true},
			{"2001:db8:0:1::7", "", "b@example.org", false},
		} {
			if got := known(test.addr, test.from, test.to); got != test.want {
				t.Errorf("%s <%s> <%s>: known %v", test.addr, test.from, test.to, got)
			}
		}
	})
}

func TestGreylistIsForStrangers(t *testing.T) {
	store := new(memory)
	f := &filter.Greylist{Store: store}
	relay := peerAt("192.0.2.7")
	relay.User = "joe"
	for _, peer := range []*sqmail.Peer{relay, {}} {
		s := &filter.Session{Peer: peer, Envelope: new(sqmail.Envelope)}
		if v, err := f.Recipient(t.Context(), s, new(sqmail.Recipient)); v.Action != sqmail.ActionPass || err != nil || len(store.records) > 0 {
			t.Errorf("%+v, %v, %d records", v, err, len(store.records))
		}
	}
}

func TestGreylistOutOfOrderLetsMailIn(t *testing.T) {
	f := &filter.Greylist{Store: &memory{err: errors.New("disk full")}}
	if got := grey(t, f, "192.0.2.7", "a@b.test", "c@d.test"); got != 250 {
		t.Errorf("%d", got)
	}
}

func TestClockThatWasWrongDoesNotDeferForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(memory)
		f := &filter.Greylist{Store: store}
		grey(t, f, "192.0.2.7", "a@b.test", "c@d.test")
		for key, r := range maps.Clone(store.records) {
			r.First, r.Expires = r.First.AddDate(20, 0, 0), r.Expires.AddDate(20, 0, 0)
			store.records[key] = r
		}
		grey(t, f, "192.0.2.7", "a@b.test", "c@d.test")
		time.Sleep(6 * time.Minute)
		if got := grey(t, f, "192.0.2.7", "a@b.test", "c@d.test"); got != 250 {
			t.Errorf("%d", got)
		}
	})
}

// late is a store that waits with the context of an Update that has returned.
type late struct {
	memory
	ctx context.Context
}

func (l *late) Update(ctx context.Context, key string, f func(filter.GreyRecord) filter.GreyRecord) error {
	l.ctx = ctx
	return l.memory.Update(ctx, key, f)
}

func TestGreylistEndsItsContext(t *testing.T) {
	store := new(late)
	f := &filter.Greylist{Store: store}
	if _, err := f.Recipient(t.Context(), client("192.0.2.7", "a@b.test"), &sqmail.Recipient{Path: sqmail.PathOf("x@y.test")}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-store.ctx.Done():
	default:
		t.Error("it goes on")
	}
	if _, limited := store.ctx.Deadline(); store.ctx.Err() == nil || limited {
		t.Error(store.ctx.Err(), limited)
	}
}
