package mailtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
)

// session is one connection to a Peer.
type session struct {
	peer   *Peer
	ctx    context.Context
	number int
	line   *line    // below TLS
	conn   net.Conn // line, or TLS over it
	r      *bufio.Reader
	w      *bufio.Writer

	who      sqmail.Peer
	greeted  bool
	inMail   bool
	env      sqmail.Envelope
	chunks   []byte // of BDAT
	chunking bool
}

// maxLine is the longest command line that is read.
const maxLine = 8192

// errEnd ends a session that is over for its client.
var errEnd = errors.New("mailtest: end of session")

func newSession(ctx context.Context, p *Peer, conn net.Conn, number int) *session {
	s := &session{peer: p, ctx: ctx, number: number, line: &line{Conn: conn, ctx: ctx}}
	s.who = sqmail.Peer{Session: fmt.Sprint(number), Remote: addrPort(conn.RemoteAddr()), Local: addrPort(conn.LocalAddr()), Protocol: "SMTP"}
	s.use(s.line)
	return s
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		at := tcp.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	return netip.AddrPort{}
}

func (s *session) use(conn net.Conn) {
	s.conn = conn
	s.r = bufio.NewReaderSize(conn, maxLine)
	s.w = bufio.NewWriter(conn)
}

func (s *session) run() {
	s.peer.log(s.number, "C:", fmt.Sprintf("(connects from %v at %s)", s.who.Remote.Addr(), time.Now().UTC().Format(time.RFC3339)))
	if s.open() != nil {
		return
	}
	for {
		if s.r.Buffered() == 0 && s.w.Flush() != nil {
			return
		}
		text, err := s.readLine()
		if err == io.EOF {
			s.peer.log(s.number, "C:", "(leaves)")
		}
		if err != nil || s.command(text) != nil {
			s.w.Flush()
			return
		}
	}
}

// open greets, over TLS if that is implicit.
func (s *session) open() error {
	d := s.event(Connect, "")
	if s.peer.ImplicitTLS && d.end == goesOn {
		if err := s.handshake(); err != nil {
			return err
		}
	}
	if err := s.suffer(d); err != nil {
		return err
	}
	_, err := s.answer(d, "220 "+s.peer.name()+" ESMTP")
	return err
}

// readLine reads a command line without its CRLF.
func (s *session) readLine() (string, error) {
	text, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		s.say("500 5.5.6 line too long")
		return "", errEnd
	}
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// command carries out one command line. An error ends the session.
func (s *session) command(text string) error {
	text, found := strings.CutSuffix(text, "\r\n")
	if !found || strings.ContainsAny(text, "\r\x00") {
		s.peer.log(s.number, "C:", fmt.Sprintf("%q", text))
		return s.say("500 5.5.2 a command ends in CRLF")
	}
	name, arg, _ := strings.Cut(text, " ")
	name = strings.ToUpper(name)
	if name == "AUTH" {
		s.peer.log(s.number, "C:", firstWords(text, 2)) // no credentials
	} else {
		s.peer.log(s.number, "C:", text)
	}
	if s.chunking && name != "BDAT" && name != "RSET" && name != "QUIT" {
		return s.say("503 5.5.1 more BDAT is to come")
	}
	if run, known := verbs[name]; known {
		return run(s, name, arg)
	}
	return s.simple(Unknown, name, "500 5.5.1 unknown command")
}

func firstWords(s string, n int) string {
	words := strings.Fields(s)
	return strings.Join(words[:min(n, len(words))], " ")
}

// simple is a command that has no effect but its reply.
func (s *session) simple(stage Stage, arg, usual string) error {
	d := s.event(stage, arg)
	if err := s.suffer(d); err != nil {
		return err
	}
	_, err := s.answer(d, usual)
	return err
}

// event asks the script what to do.
func (s *session) event(stage Stage, arg string) deed {
	d := s.peer.find(stage, arg, s.number)
	if d.rate > 0 {
		s.line.rate = d.rate
	}
	if d.dropAfter > 0 {
		s.line.dropAfter(d.dropAfter)
	}
	return d
}

// suffer does what the script says before, or in place of, the reply.
func (s *session) suffer(d deed) error {
	if d.delay > 0 {
		s.w.Flush()
		if err := pause(s.ctx, d.delay, nil); err != nil {
			return err
		}
	}
	switch d.end {
	case goesOn:
		return nil
	case hangs:
		s.note("(hangs)")
		s.w.Flush()
		io.Copy(io.Discard, s.r)
	case stalls:
		s.note("(stalls)")
		s.w.Flush()
		<-s.ctx.Done()
	case drops:
		s.note("(drops)")
		s.line.drop()
	case closes:
		s.note("(closes)")
		s.w.Flush()
		s.conn.Close()
	case halfCloses:
		s.note("(closes its direction)")
		s.w.Flush()
		if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
			c.CloseWrite()
		}
		io.Copy(io.Discard, s.r)
	case garbles:
		return s.garble()
	}
	return errEnd
}

// garble says something that is no TLS, and waits for the client to go.
func (s *session) garble() error {
	s.note("(bad TLS)")
	s.w.Flush()
	io.WriteString(s.line, "this is not TLS\r\n")
	io.Copy(io.Discard, s.line)
	return errEnd
}

func (s *session) note(text string) { s.peer.log(s.number, "S:", text) }

// answer gives the script's reply, or the usual one, and reports whether it
// is positive.
func (s *session) answer(d deed, usual string) (ok bool, err error) {
	reply := d.reply
	if reply == "" {
		reply = strings.TrimSuffix(usual, "\r\n") + "\r\n"
	}
	err = s.write(reply)
	if err == nil && strings.HasPrefix(reply, "421") {
		err = errEnd
	}
	return reply[0] == '2' || reply[0] == '3', err
}

// say writes a reply of one line.
func (s *session) say(reply string) error { return s.write(reply + "\r\n") }

func (s *session) write(text string) error {
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		s.note(line)
	}
	_, err := s.w.WriteString(text)
	return err
}

// handshake puts TLS over the line.
func (s *session) handshake() error {
	if s.peer.TLS == nil {
		return errEnd
	}
	conn := tls.Server(s.line, s.peer.TLS)
	if err := conn.HandshakeContext(s.ctx); err != nil {
		s.note("(" + err.Error() + ")")
		return err
	}
	state := conn.ConnectionState()
	s.who.TLS = &state
	s.use(conn)
	return nil
}
