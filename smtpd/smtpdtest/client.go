package smtpdtest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// patience is how long a Client waits for what should come at once.
const patience = time.Minute

// Client is a connection to a server, and fails its test when the server does
// not do as expected. It is used by one goroutine, that of the test.
type Client struct {
	net.Conn
	t      testing.TB
	reader *bufio.Reader
	tls    *tls.Config
}

// Dial connects to the server and reads its greeting, which must be 220. The
// connection is closed with the test.
func (s *Server) Dial(t testing.TB) *Client {
	t.Helper()
	c := s.Connect(t)
	c.Expect(220)
	return c
}

// Connect connects to the server, and reads nothing.
func (s *Server) Connect(t testing.TB) *Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(t, conn, s.ClientTLS)
}

// NewClient returns a Client that speaks over conn, which it closes with the
// test. config is for StartTLS; it may be nil if that is not used. It reads no
// greeting.
func NewClient(t testing.TB, conn net.Conn, config *tls.Config) *Client {
	t.Cleanup(func() { conn.Close() })
	return &Client{Conn: conn, t: t, reader: bufio.NewReader(conn), tls: config}
}

func (c *Client) hurry() { c.SetDeadline(time.Now().Add(patience)) }

// Send sends text as it is.
func (c *Client) Send(text string) {
	c.t.Helper()
	c.hurry()
	if _, err := c.Write([]byte(text)); err != nil {
		c.t.Fatalf("sending %.40q: %v", text, err)
	}
}

// Reply reads a reply, and returns its lines, joined by LF. At the end of the
// connection it returns "".
func (c *Client) Reply() string {
	c.t.Helper()
	c.hurry()
	var lines []string
	for {
		line, err := c.reader.ReadString('\n')
		if err != nil {
			if len(lines) > 0 || line != "" {
				c.t.Fatalf("the connection ended within a reply: %q %q: %v", lines, line, err)
			}
			return ""
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(text) < 4 {
			c.t.Fatalf("not a line of a reply: %q", line)
		}
		lines = append(lines, text)
		if text[3] == ' ' {
			return strings.Join(lines, "\n")
		}
	}
}

// Expect reads a reply, which must have the code, and returns it.
func (c *Client) Expect(code int) string {
	c.t.Helper()
	r := c.Reply()
	if !strings.HasPrefix(r, fmt.Sprintf("%03d", code)) {
		c.t.Fatalf("the server says %q, want %d", r, code)
	}
	return r
}

// Do sends a command, to which CRLF is added, and expects a reply with the
// code.
func (c *Client) Do(command string, code int) string {
	c.t.Helper()
	c.Send(command + "\r\n")
	r := c.Reply()
	if !strings.HasPrefix(r, fmt.Sprintf("%03d", code)) {
		c.t.Fatalf("the server answers %q with %q, want %d", command, r, code)
	}
	return r
}

// ExpectEnd checks that the server closes the connection and says nothing
// before.
func (c *Client) ExpectEnd() {
	c.t.Helper()
	if r := c.Reply(); r != "" {
		c.t.Fatalf("the server says %q, want the end of the connection", r)
	}
}

// StartTLS says STARTTLS and does the handshake.
func (c *Client) StartTLS() {
	c.t.Helper()
	c.Do("STARTTLS", 220)
	c.Handshake()
}

// Handshake does the client's side of a TLS handshake.
func (c *Client) Handshake() {
	c.t.Helper()
	c.hurry()
	conn := tls.Client(c.Conn, c.tls)
	if err := conn.Handshake(); err != nil {
		c.t.Fatalf("TLS handshake: %v", err)
	}
	c.Conn = conn
	c.reader.Reset(conn)
}

// Mail sends a message whose lines end in LF, and returns the reply to its
// end. Whatever is refused before fails the test. The client must have said
// hello.
func (c *Client) Mail(from, to, message string) string {
	c.t.Helper()
	c.Do("MAIL FROM:<"+from+">", 250)
	c.Do("RCPT TO:<"+to+">", 250)
	c.Do("DATA", 354)
	for line := range strings.Lines(message) {
		if strings.HasPrefix(line, ".") {
			line = "." + line
		}
		c.Send(strings.TrimSuffix(line, "\n") + "\r\n")
	}
	c.Send(".\r\n")
	return c.Reply()
}
