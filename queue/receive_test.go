package queue_test

import (
	"io"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

// arriving is a body that comes in pieces of 32 KiB, each of which is waited
// for.
type arriving struct {
	rest    string
	here    int // octets of rest that have come
	longest int // buffer in which a piece was waited for
}

func (a *arriving) Read(p []byte) (int, error) {
	if a.rest == "" {
		return 0, io.EOF
	}
	if a.here == 0 {
		a.here = min(len(a.rest), 32<<10)
		a.longest = max(a.longest, len(p))
	}
	n := copy(p, a.rest[:a.here])
	a.rest, a.here = a.rest[n:], a.here-n
	return n, nil
}

// TestClientsAreWaitedForWithSmallBuffers: also when they have sent much before.
func TestClientsAreWaitedForWithSmallBuffers(t *testing.T) {
	q := &queue.Queue{Store: &memstore.Store{}}
	body := &arriving{rest: strings.Repeat("x", 100_000)}
	if _, err := q.Receive(t.Context(), envelope("a@example.org", "b@example.net"), body); err != nil {
		t.Fatal(err)
	}
	if body.rest != "" || body.longest > 4<<10 {
		t.Errorf("waited with a buffer of %d octets, %d are left", body.longest, len(body.rest))
	}
}
