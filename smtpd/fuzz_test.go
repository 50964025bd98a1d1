package smtpd_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// script is a connection whose client says everything at once, in pieces of one
// size, and hears everything.
type script struct {
	in   *bytes.Reader
	step int
	out  bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p[:min(len(p), s.step)]) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return nil }
func (s *script) RemoteAddr() net.Addr             { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// panicFinder is a handler that remembers events of level Error.
type panicFinder struct {
	slog.Handler
	found *string
}

func (h panicFinder) Enabled(context.Context, slog.Level) bool { return true }
func (h panicFinder) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		r.Attrs(func(a slog.Attr) bool { *h.found += a.String() + "\n"; return true })
	}
	return nil
}

// FuzzDialogue plays whatever comes. However it is cut into packets, the
// dialogue is the same; replies are well formed; nothing panics; there are no
// more messages than commands that begin one, and none from behind a refusal
// that closes.
func FuzzDialogue(f *testing.F) {
	for _, seed := range dialogueSeeds(f) {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, options uint8) {
		if len(in) > 16<<10 {
			return
		}
		whole, taken := playBytes(t, in, len(in)+1, options)
		single, takenSingle := playBytes(t, in, 1, options)
		// What the client sent behind STARTTLS is seen only if it is there.
		if !bytes.Contains(bytes.ToUpper(in), []byte("STARTTLS")) && (whole != single || taken != takenSingle) {
			t.Fatalf("in one piece:\n%s%d taken\nin pieces of one:\n%s%d taken", whole, taken, single, takenSingle)
		}
		upper := strings.ToUpper(string(in))
		if begun := strings.Count(upper, "DATA") + strings.Count(upper, "BDAT"); taken > begun {
			t.Fatalf("%d messages from %d commands", taken, begun)
		}
	})
}

func playBytes(t *testing.T, in []byte, step int, options uint8) (said string, taken int) {
	var bugs string
	var r smtpdtest.Recorder
	server := &smtpd.Server{
		HelloName: "mx.example.test", Receiver: &fixedReceiver{&r}, Verifier: users, CleartextAuth: true, AuthFailureDelay: -1,
		Policy: rules{}, LooseSyntax: options&1 != 0, BareLF: smtpd.BareLF(options >> 1 & 3 % 3), LMTP: options&8 != 0,
		ClassicReplies: options&16 != 0, MaxMessageBytes: 500,
		Log: slog.New(panicFinder{found: &bugs}),
	}
	conn := &script{in: bytes.NewReader(in), step: step}
	server.ServeConn(conn)
	server.Close()
	if bugs != "" {
		t.Fatal(bugs)
	}
	said = conn.out.String()
	checkReplies(t, said)
	return said, len(r.Messages())
}

// fixedReceiver gives receipts that do not tell the time.
type fixedReceiver struct{ sqmail.Receiver }

func (f *fixedReceiver) Receive(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	receipt, err := f.Receiver.Receive(ctx, env, body)
	receipt.Time = time.Unix(1, 0)
	return receipt, err
}

// checkReplies checks the form of all that a server says (RFC 5321, 4.2).
func checkReplies(t *testing.T, said string) {
	t.Helper()
	lines := strings.SplitAfter(said, "\r\n")
	if last := lines[len(lines)-1]; last != "" {
		t.Fatalf("ends with %q", last)
	}
	more := ""
	for _, line := range lines[:len(lines)-1] {
		text := strings.TrimSuffix(line, "\r\n")
		if len(line) > 512 || len(text) < 4 || text[3] != ' ' && text[3] != '-' || strings.ContainsAny(text, "\r\n\x00") ||
			more != "" && text[:3] != more {
			t.Fatalf("%q after a line of %q", line, more)
		}
		if more = ""; text[3] == '-' {
			more = text[:3]
		}
	}
	if more != "" {
		t.Fatalf("a reply %s- without end", more)
	}
}

// dialogueSeeds are the client's lines of our dialogues.
func dialogueSeeds(f *testing.F) (seeds [][]byte) {
	for _, file := range dialogues(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for dialogue := range strings.SplitSeq(string(text), "\n== ") {
			seed := ""
			for line := range strings.Lines(dialogue) {
				if said, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "C: "); ok {
					seed += unquoted(said)
				}
			}
			if len(seed) < 8<<10 {
				seeds = append(seeds, []byte(seed))
			}
		}
	}
	return seeds
}
