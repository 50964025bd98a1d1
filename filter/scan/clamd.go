package scan

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/internal/field"
)

// Clamd refuses messages in which clamd finds a virus: 554 5.3.2. The rule of
// the verdict is the name of the signature. It speaks INSTREAM of clamd(8),
// and shows clamd the message while it passes.
type Clamd struct {
	// Address is the path of a Unix socket, or host:port.
	Address string

	// Dial opens connections. Nil: that of a zero net.Dialer.
	Dial DialFunc

	// Timeout is how long clamd may take to connect, to take a piece, and to
	// answer. 0: two minutes, as clamd itself scans for at most that long.
	Timeout time.Duration

	// MaxSize is how much of a message is shown to clamd, in octets; what is
	// behind is not looked at. 0: all. What goes beyond clamd's own
	// StreamMaxLength (100 MB) is a deferral: set that to what your server
	// takes, or MaxSize to that.
	MaxSize int64

	// Strangers asks only about messages of those who are not relay clients.
	Strangers bool

	// Pass lets messages pass if clamd cannot be asked; by default they are
	// deferred.
	Pass bool

	// Text is added to the reply.
	Text string

	// Log hears of messages that pass so. Nil: discarded.
	Log *slog.Logger
}

// Name returns "clamd".
func (f *Clamd) Name() string { return "clamd" }

// Asks names the daemon.
func (f *Clamd) Asks(s *filter.Session) string {
	if f.Strangers && s.RelayClient() {
		return ""
	}
	return "clamd at " + f.Address
}

// Body connects, and returns a scanner for a message. That clamd cannot be
// reached is told at the end.
func (f *Clamd) Body(ctx context.Context, s *filter.Session) (filter.Scanner, error) {
	if f.Strangers && s.RelayClient() {
		return nil, nil
	}
	m := &clamdScanner{f: f, ctx: ctx, left: f.MaxSize}
	m.connect()
	return m, nil
}

type clamdScanner struct {
	f    *Clamd
	ctx  context.Context
	conn net.Conn // nil if there is none
	stop func() bool
	left int64 // of MaxSize
	err  error // of the first step that failed
}

func (s *clamdScanner) connect() {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout())
	defer cancel()
	conn, err := s.f.Dial.dial(ctx, s.f.Address)
	if err != nil {
		s.err = err
		return
	}
	s.conn = conn
	s.stop = context.AfterFunc(s.ctx, func() { conn.Close() })
	s.send([]byte("zINSTREAM\x00"))
}

func (s *clamdScanner) timeout() time.Duration { return cmp.Or(s.f.Timeout, 2*time.Minute) }

// send writes pieces, unless a step before has failed.
func (s *clamdScanner) send(pieces ...[]byte) {
	if s.err != nil {
		return
	}
	s.conn.SetDeadline(time.Now().Add(s.timeout()))
	buffers := net.Buffers(pieces)
	_, s.err = buffers.WriteTo(s.conn)
}

// Write shows clamd a piece of the message: its length in four octets, and the
// piece.
func (s *clamdScanner) Write(p []byte) (int, error) {
	piece := p
	if s.f.MaxSize > 0 {
		piece = piece[:min(int64(len(piece)), s.left)]
		s.left -= int64(len(piece))
	}
	const most = 1 << 20 // so that a length always fits
	for len(piece) > 0 {
		n := min(len(piece), most)
		s.send(binary.BigEndian.AppendUint32(nil, uint32(n)), piece[:n])
		piece = piece[n:]
	}
	return len(p), nil
}

// End ends the message, and gives clamd's verdict.
func (s *clamdScanner) End() (sqmail.Verdict, error) {
	s.send([]byte{0, 0, 0, 0})
	signature, err := s.answer()
	switch {
	case err != nil:
		return unasked(s.ctx, s.f.Name(), s.f.Pass && s.ctx.Err() == nil, s.f.Log, fmt.Errorf("clamd: %w", err))
	case signature == "":
		return sqmail.Verdict{}, nil
	}
	return sqmail.Verdict{Action: sqmail.ActionReject, Rule: signature, Reply: withText(infected, s.f.Text)}, nil
}

var infected = sqmail.Reply{
	Code: 554, Enhanced: sqmail.EnhancedCode{5, 3, 2},
	Text: "sorry, invalid message content (virus)",
}

// answer reads what clamd says. Clamd answers, and closes the connection,
// before the end if the message is too long for it; then writing fails, but the
// answer can still be read.
func (s *clamdScanner) answer() (signature string, err error) {
	if s.conn == nil {
		return "", s.err
	}
	s.conn.SetDeadline(time.Now().Add(s.timeout()))
	answer, err := readAnswer(untilNUL{s.conn})
	if s.ctx.Err() != nil {
		return "", s.ctx.Err()
	}
	if err != nil {
		return "", errors.Join(s.err, err)
	}
	signature, err = parseClamd(answer)
	if err == nil && signature == "" && s.err != nil {
		return "", s.err // it has not seen everything
	}
	return signature, err
}

// untilNUL reads to the NUL that ends an answer, or to the end.
type untilNUL struct{ r io.Reader }

func (r untilNUL) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if i := bytes.IndexByte(p[:n], 0); i >= 0 {
		return i, io.EOF
	}
	return n, err
}

// parseClamd returns the signature of an answer: "stream: NAME FOUND"; "" for
// "stream: OK". Everything else is an error.
func parseClamd(answer []byte) (signature string, err error) {
	line := strings.TrimRight(string(answer), "\x00\n")
	text, ok := strings.CutPrefix(line, "stream: ")
	if ok && text == "OK" {
		return "", nil
	}
	if name, found := strings.CutSuffix(text, " FOUND"); ok && found && name != "" {
		return field.ASCII(name, 200), nil
	}
	return "", fmt.Errorf("unexpected answer %q", field.ASCII(line, 200))
}

// Close closes the connection.
func (s *clamdScanner) Close() {
	if s.conn != nil {
		s.stop()
		s.conn.Close()
	}
}
