package wire_test

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sqmail/sqmail/internal/wire"
)

var policies = map[string]wire.Policy{"refuse": wire.Refuse, "repair": wire.Repair, "pass": wire.Pass}

// None of these ends a message: some server or other takes each of them for
// its end, and reads what follows as commands.
func TestOnlyCRLFDotCRLFEndsABody(t *testing.T) {
	for _, end := range []string{
		"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n",
		"\n.\r", "\r\n\x00.\r\n", "\r\r\n.\r\n", "\r\n.\r\r\n", "\n\n.\r\n", "\r\n.\x00\r\n",
	} {
		for name, policy := range policies {
			for _, source := range []func(io.Reader) io.Reader{whole, iotest.OneByteReader} {
				r := wire.NewReader(source(strings.NewReader("text" + end + "SMUGGLED\r\n.\r\nNEXT\r\n")))
				body, err := io.ReadAll(wire.NewDotReader(r, policy))
				if err != nil {
					if policy != wire.Refuse {
						t.Errorf("%s %q: %v", name, end, err)
					}
					if line, again := r.ReadLine(100); again == nil {
						t.Errorf("%s %q: %q was read as a command", name, end, line)
					}
					continue
				}
				if !strings.HasSuffix(string(body), "SMUGGLED\n") {
					t.Errorf("%s: %q ended the body: %q", name, end, body)
				}
				if line, err := r.ReadLine(100); string(line) != "NEXT" {
					t.Errorf("%s %q: then %q, %v", name, end, line, err)
				}
			}
		}
	}
}

func whole(r io.Reader) io.Reader { return r }
