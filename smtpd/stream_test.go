package smtpd_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// TestMessagesStream: memory does not grow with the message, sent by DATA or by
// BDAT in chunks of any size.
func TestMessagesStream(t *testing.T) {
	const size = 64 << 20
	var highest uint64
	var received int64
	watching := sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		var m runtime.MemStats
		buf := make([]byte, 32<<10)
		for next := int64(0); ; {
			n, err := body.Read(buf)
			received += int64(n)
			if received >= next {
				runtime.GC() // the client's garbage is not ours
				runtime.ReadMemStats(&m)
				highest = max(highest, m.HeapAlloc)
				next = received + size/16
			}
			if err == io.EOF {
				return sqmail.Receipt{}, nil
			}
			if err != nil {
				return sqmail.Receipt{}, err
			}
		}
	})
	server := smtpdtest.NewServer(t, watching, func(s *smtpd.Server) { s.MaxMessageBytes = -1 })
	piece := strings.Repeat(strings.Repeat("x", 1022)+"\r\n", 64)
	for _, way := range []string{"DATA", "BDAT"} {
		highest, received = 0, 0
		c := server.Dial(t)
		c.Do("EHLO c", 250)
		c.Do("MAIL FROM:<a@example.org>", 250)
		c.Do("RCPT TO:<b@example.test>", 250)
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		if way == "DATA" {
			c.Do("DATA", 354)
			for range size / len(piece) {
				c.Send(piece)
			}
			c.Do(".", 250)
		} else {
			for i := range size / len(piece) {
				last := ""
				if i == size/len(piece)-1 {
					last = " LAST"
				}
				c.Send(fmt.Sprintf("BDAT %d%s\r\n", len(piece), last))
				c.Send(piece)
				c.Expect(250)
			}
		}
		if received < size/2 {
			t.Errorf("%s: %d octets received", way, received)
		}
		if grown := int64(highest) - int64(before.HeapAlloc); grown > 8<<20 {
			t.Errorf("%s: the heap grew by %d octets", way, grown)
		}
	}
}

// TestRefusedMessageIsReadToABound: a client that goes on and on is cut off.
func TestRefusedMessageIsReadToABound(t *testing.T) {
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r, func(s *smtpd.Server) { s.MaxMessageBytes = 100 })
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org>", 250)
	c.Do("RCPT TO:<b@example.test>", 250)
	c.Do("DATA", 354)
	c.Send(strings.Repeat("NOOP\r\n", 20_000)) // 120,000 octets
	c.Expect(552)
	c.ExpectEnd()
	if n := len(r.Messages()); n != 0 {
		t.Errorf("%d messages taken", n)
	}
}

// TestEveryCommandHasOneReply: also if the client sends more than buffers hold,
// and reads the replies later.
func TestEveryCommandHasOneReply(t *testing.T) {
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) { s.MaxBadCommands = 1 << 30 })
	c := server.Dial(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Write([]byte(strings.Repeat("EHLO c\r\n", 1<<15))) // 256 KiB, and 5 MiB of replies
	}()
	for range 1 << 15 {
		c.Expect(250)
	}
	<-done
}
