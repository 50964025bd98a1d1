package wire_test

import (
	"io"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/internal/wire"
)

// feed is a peer that sends pieces, and waits between them. A piece that is
// longer than the buffer is there at once.
type feed struct {
	pieces []string
	rest   string
	waits  []int // lengths of the buffers in which the pieces were waited for
}

func (f *feed) Read(p []byte) (int, error) {
	if f.rest == "" {
		f.waits = append(f.waits, len(p))
		if len(f.pieces) == 0 {
			return 0, io.EOF
		}
		f.rest, f.pieces = f.pieces[0], f.pieces[1:]
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// TestPeersAreWaitedForWithSmallBuffers: 256 octets between commands and for one
// that drips its message, a page for one that does not.
func TestPeersAreWaitedForWithSmallBuffers(t *testing.T) {
	long := strings.Repeat("x", 2000) + "\r\n"
	line := strings.Repeat("x", 998) + "\r\n"
	for _, test := range []struct {
		name     string
		commands int // before the body
		pieces   []string
		most     int // in which the last piece is waited for
	}{
		{"a command", 1, []string{"NOOP\r\n"}, 256},
		{"behind a long command", 2, []string{long, "NOOP\r\n"}, 256},
		{"behind many commands", 4000, []string{strings.Repeat("NOOP\r\n", 3999), "NOOP\r\n"}, 256},
		{"a message", 1, []string{"DATA\r\n", "x"}, 4 << 10},
		{"a message that drips", 1, []string{"DATA\r\n", "x", "x", "x"}, 256},
		{"a message that was fast", 1, []string{"DATA\r\n", strings.Repeat(line, 100), "x"}, 4 << 10},
		{"a message that was fast and drips", 1, []string{"DATA\r\n", strings.Repeat(line, 100), "x", "x"}, 256},
	} {
		t.Run(test.name, func(t *testing.T) {
			last := len(test.pieces) - 1
			f := &feed{pieces: test.pieces}
			r := wire.NewReader(f)
			for range test.commands {
				if _, err := r.ReadLine(4096); err != nil {
					t.Fatal(err)
				}
			}
			if last > 0 && len(f.pieces) > 0 {
				io.ReadAll(wire.NewDotReader(r, wire.Refuse))
			}
			if got := f.waits[last]; got > test.most {
				t.Errorf("waited with %d octets, want %d at most", got, test.most)
			}
		})
	}
}
