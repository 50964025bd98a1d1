package pop3_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/pop3"
)

// TestProxyTellsTheClient: the address in the header is the one that the log
// names; without a header there is no session.
func TestProxyTellsTheClient(t *testing.T) {
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.7 203.0.113.1 12345 110\r\n": "remote=192.0.2.7",
		"USER joe             \r\n":                      "not a PROXY header",
	} {
		var log strings.Builder
		server := &pop3.Server{
			ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AuthFailureDelay: -1,
			CleartextAuth: true, Verifier: auth.VerifierFunc(nobody), Log: slog.New(slog.NewTextHandler(&log, nil)),
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, header)
		if r := bufio.NewReader(c); strings.HasPrefix(header, "PROXY") {
			r.ReadString('\n')
			io.WriteString(c, "USER joe\r\nPASS x\r\nQUIT\r\n")
			io.Copy(io.Discard, r)
		} else if greeting, err := r.ReadString('\n'); err == nil {
			t.Errorf("a proxy without header hears %q", greeting)
		}
		c.Close()
		server.Close()
		if err := <-done; err != pop3.ErrServerClosed {
			t.Error(err)
		}
		if !strings.Contains(log.String(), want) {
			t.Errorf("want %s in the log:\n%s", want, log.String())
		}
	}
}

// nobody is who the Verifier knows.
func nobody(context.Context, *auth.Credentials) (auth.Identity, error) {
	return auth.Identity{}, auth.Rejected("no such user")
}
