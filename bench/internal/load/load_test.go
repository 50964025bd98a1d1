package load_test

import (
	"testing"

	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/sink"
)

func TestEveryMessageArrivesOnce(t *testing.T) {
	for _, test := range []struct {
		name        string
		new         bool
		size, conns int64
	}{
		{"kept", false, 4096, 3},
		{"new", true, 1000, 2},
		{"larger than buffers", false, 100_000, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &sink.Sink{}
			addr, err := s.Listen()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			const n = 30
			r := load.Load{Addr: addr.String(), Connections: int(test.conns), New: test.new, Size: int(test.size), Messages: n}.Run()
			if r.Err != nil || r.Accepted != n || s.Messages.Load() != n {
				t.Errorf("%d accepted, %d arrived of %d: %v", r.Accepted, s.Messages.Load(), n, r.Err)
			}
			want := test.conns
			if test.new {
				want = n
			}
			if got := s.Connections.Load(); got > want {
				t.Errorf("%d connections, want %d at most", got, want)
			}
		})
	}
}

func TestMessageHasTheSizeAskedFor(t *testing.T) {
	for _, size := range []int{1000, 1024, 4096, 100_000} {
		if got := len(load.Message(size)); got > size || got < size-2 {
			t.Errorf("message of %d octets, want %d", got, size)
		}
	}
}
