package pop3_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/pop3"
)

// FuzzDialogue says anything to a server, before and after a login. Whatever
// it is: each line of the answer is a line of POP3, the session ends, the
// maildrop is closed, and no message goes without QUIT.
func FuzzDialogue(f *testing.F) {
	f.Add("USER joe\r\nPASS x\r\nCAPA\r\nQUIT\r\n", false)
	f.Add("STAT\r\nLIST\r\nLIST 1\r\nUIDL\r\nRETR 1\r\nTOP 1 1\r\nDELE 1\r\nLAST\r\nRSET\r\nQUIT\r\n", true)
	f.Add("AUTH PLAIN\r\nAGpvZQBzZWNyZXQ=\r\nRETR 99999999999999999999\r\nDELE 1\r\nQUIT\r\n", true)
	f.Add("STLS\r\nNOOP\n\r\nAPOP joe x\r\n", false)
	f.Fuzz(func(t *testing.T, said string, loggedIn bool) {
		drop := &memory{messages: []string{"A: 1\n\n.\nb\n", "\r\n.\r\n", ""}}
		s := &pop3.Server{Verifier: failing(auth.Rejected("no")), Open: opening(drop, nil), APOP: true, CleartextAuth: true, AuthFailureDelay: -1}
		if loggedIn {
			s.Verifier = failing(nil)
			said = "USER joe\r\nPASS x\r\n" + said
		}
		c := &canned{said: strings.NewReader(said + "\r\nQUI")}
		if err := s.ServeConn(c); err != nil {
			t.Fatal(err)
		}
		heard := c.heard.String()
		if !strings.HasPrefix(heard, "+OK <") || !strings.HasSuffix(heard, "\r\n") {
			t.Errorf("heard %q", heard)
		}
		if strings.ContainsAny(strings.ReplaceAll(heard, "\r\n", ""), "\r\n") {
			t.Errorf("heard %q", heard)
		}
		if drop.updated && !strings.Contains(strings.ToUpper(said), "QUIT") {
			t.Error("updated without QUIT")
		}
		if loggedIn != drop.closed {
			t.Errorf("maildrop closed: %v", drop.closed)
		}
	})
}

// memory is a maildrop of strings: what an embedder's own store may look like.
type memory struct {
	messages        []string
	updated, closed bool
}

func (m *memory) Len() int              { return len(m.messages) }
func (m *memory) UniqueID(n int) string { return string(rune('a' + n)) }
func (m *memory) Size(_ context.Context, n int) (int64, error) {
	return int64(len(m.messages[n])), nil
}

func (m *memory) Open(_ context.Context, n int) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(m.messages[n])), nil
}

func (m *memory) Update(context.Context, []bool) error { m.updated = true; return nil }
func (m *memory) Close() error                         { m.closed = true; return nil }

// canned is a client that says what it has to say and hangs up.
type canned struct {
	said  *strings.Reader
	heard strings.Builder
}

func (c *canned) Read(p []byte) (int, error)       { return c.said.Read(p) }
func (c *canned) Write(p []byte) (int, error)      { return c.heard.Write(p) }
func (c *canned) Close() error                     { return nil }
func (c *canned) LocalAddr() net.Addr              { return nil }
func (c *canned) RemoteAddr() net.Addr             { return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
