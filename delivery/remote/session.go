package remote

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
)

// A session is one connection, from the greeting to QUIT. One delivery at a
// time has it.
type session struct {
	agent *Agent
	call  call
	ip    string   // of the peer, as reports show it
	raw   net.Conn // below TLS
	conn  net.Conn
	br    *bufio.Reader
	out   []byte // commands to be sent

	ext    extensions
	secure bool   // TLS is on
	user   string // whom we are authenticated as

	progress func() // of the delivery that has it; see sqmail.Message

	served int  // transactions
	reused bool // this is not its first delivery
	reset  bool // a transaction was left open
	broken bool // it is of no use any more
}

// open makes a session. If TLS was only worth a try and fails, it makes one
// without.
func (a *Agent) open(ctx context.Context, c call, progress func()) (*session, *failure) {
	s, f := a.start(ctx, c, progress, a.weak.has(c.addr, time.Now()))
	if f != nil && f.clear && ctx.Err() == nil {
		a.log().InfoContext(ctx, "TLS failed, going on without", "host", c.host, "addr", c.addr.String(), "err", f.err)
		a.weak.add(c.addr, time.Now())
		s, f = a.start(ctx, c, progress, true)
	}
	if f != nil {
		f.where = c.where()
	}
	return s, f
}

// start connects and does all that comes before MAIL.
func (a *Agent) start(ctx context.Context, c call, progress func(), inClear bool) (*session, *failure) {
	conn, f := a.dial(ctx, c)
	if f != nil {
		return nil, f
	}
	s := &session{agent: a, call: c, ip: c.addr.Addr().String(), raw: conn, conn: conn, progress: progress}
	s.heard(nil) // it has accepted the connection
	s.br = bufio.NewReaderSize(conn, replyBuffer)
	release := s.watch(ctx)
	f = s.setUp(ctx, inClear)
	release()
	if f == nil && s.broken {
		f = s.died(nil)
	}
	if f != nil {
		s.quit()
		return nil, f
	}
	return s, nil
}

func (s *session) setUp(ctx context.Context, inClear bool) *failure {
	if s.call.implicit {
		if f := s.handshake(ctx); f != nil {
			return f
		}
	}
	if f := s.greeting(); f != nil {
		return f
	}
	if f := s.hello(); f != nil {
		return f
	}
	if !s.secure {
		if f := s.startTLS(ctx, inClear); f != nil {
			return f
		}
	}
	return s.authenticate(ctx)
}

// watch lets the end of ctx close the connection, until release.
func (s *session) watch(ctx context.Context) (release func()) {
	stop := context.AfterFunc(ctx, func() { s.raw.Close() })
	return func() {
		if !stop() {
			s.broken = true
		}
	}
}

// greeting waits for the 220.
func (s *session) greeting() *failure {
	r, err := s.read(s.agent.greetingTimeout())
	switch {
	case err != nil:
		return s.died(err)
	case r.code == 220:
		return nil
	}
	s.broken = r.code == 421
	f := s.refused("greeting failed", r)
	f.class, f.next = sqmail.Deferral, true
	switch {
	case r.code >= 500:
		f.class, f.greeting = sqmail.Rejection, true
		f.text = s.connected("sender was rejected")
	case r.code == 421 || r.code == 450:
		f.text = s.connected("greylisted")
	}
	return f
}

// hello says EHLO, or HELO if that is not understood (RFC 5321, 3.2).
func (s *session) hello() *failure {
	verbs := []string{"EHLO ", "HELO "}
	if s.call.lmtp {
		verbs = []string{"LHLO "}
	}
	var r reply
	for _, verb := range verbs {
		var err error
		if r, err = s.command(verb + s.helloName()); err != nil {
			return s.died(err)
		}
		if r.code == 250 {
			s.ext = extensions{}
			if verb != "HELO " {
				s.ext = parseExtensions(r)
			}
			return nil
		}
		if r.code == 421 {
			break
		}
	}
	f := s.refused("my name was rejected", r)
	f.next = f.class == sqmail.Deferral
	return f
}

func (s *session) helloName() string {
	if s.call.hello != "" {
		return visible(s.call.hello)
	}
	// A client without a name gives its address (RFC 5321, 4.1.4).
	local, err := netip.ParseAddrPort(s.raw.LocalAddr().String())
	switch addr := local.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "localhost"
	case addr.Is6():
		return "[IPv6:" + addr.String() + "]"
	default:
		return "[" + addr.String() + "]"
	}
}

// command sends one command and returns the reply.
func (s *session) command(line string) (reply, error) {
	s.out = append(append(s.out[:0], line...), "\r\n"...)
	if err := s.send(); err != nil {
		return reply{}, err
	}
	return s.read(s.agent.timeout())
}

// send sends the commands in s.out.
func (s *session) send() error {
	_, err := s.Write(s.out)
	s.out = s.out[:0]
	return err
}

// Write writes to the peer, which must take it in time.
func (s *session) Write(p []byte) (int, error) {
	s.conn.SetWriteDeadline(time.Now().Add(s.agent.timeout()))
	n, err := s.conn.Write(p)
	s.broken = s.broken || err != nil
	s.heard(err)
	return n, err
}

// read reads one reply, all of which must come in time.
func (s *session) read(timeout time.Duration) (reply, error) {
	s.conn.SetReadDeadline(time.Now().Add(timeout))
	r, err := readReply(s.br)
	s.broken = s.broken || err != nil || r.code == 421
	s.heard(err)
	return r, err
}

// heard tells who made the attempt that the peer is there.
func (s *session) heard(err error) {
	if err == nil && s.progress != nil {
		s.progress()
	}
}

// quit ends the session; nobody waits for the answer.
func (s *session) quit() {
	if !s.broken {
		s.conn.SetWriteDeadline(time.Now().Add(time.Second))
		s.conn.Write([]byte("QUIT\r\n"))
		s.conn.Close()
	}
	s.raw.Close()
}

// died is the failure for a connection that broke, or talks nonsense.
func (s *session) died(err error) *failure {
	s.broken = true
	f := deferral(s.connected("connection died. (#4.4.2)"))
	if err == errMalformed {
		f.text = s.connected("its reply was malformed. (#4.5.0)")
	}
	f.err, f.next = err, true
	return f
}

// refused is the failure for a reply of 4yz or 5yz. A peer that says 421 says
// nothing about the message (RFC 5321, 3.8).
func (s *session) refused(what string, r reply) *failure {
	f := &failure{text: s.connected(what), reply: r}
	if r.code >= 500 {
		f.class = sqmail.Rejection
	}
	return f
}

func (s *session) connected(what string) string { return "Connected to " + s.ip + " but " + what }

// extensions are what a peer offers (RFC 5321, 4.1.1.1).
type extensions struct {
	pipelining, eightBitMIME, smtpUTF8, dsn, startTLS, requireTLS bool

	size  bool
	limit int64 // 0: none
	auth  []string
}

// parseExtensions reads the reply to EHLO: a keyword is the first word of a
// line, and nothing else.
func parseExtensions(r reply) extensions {
	var e extensions
	first := true
	for line := range r.lines {
		words := strings.Fields(line)
		if first || len(words) == 0 {
			first = false
			continue
		}
		switch strings.ToUpper(words[0]) {
		case "PIPELINING":
			e.pipelining = true
		case "8BITMIME":
			e.eightBitMIME = true
		case "SMTPUTF8":
			e.smtpUTF8 = true
		case "DSN":
			e.dsn = true
		case "STARTTLS":
			e.startTLS = true
		case "REQUIRETLS":
			e.requireTLS = true
		case "SIZE":
			e.size = true
			if len(words) > 1 {
				e.limit, _ = strconv.ParseInt(words[1], 10, 64)
			}
		case "AUTH":
			e.auth = words[1:]
		}
	}
	return e
}
