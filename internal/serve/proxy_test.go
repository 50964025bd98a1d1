package serve_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/internal/serve"
)

// behindProxies serves what proxies at 10.0.0.0/8 pass on, and tells each
// client who it is.
func behindProxies(t testing.TB) *serve.Server {
	return &serve.Server{
		Preamble:  serve.ProxyHeader([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}),
		TLSConfig: serverTLS(t),
		Limits:    serve.Limits{PerAddress: 1},
		Refuse:    func(c *serve.Conn, _ error) { c.WriteString("421 too many\r\n") },
		Handler: func(_ context.Context, c *serve.Conn) {
			c.WriteString("you are " + c.RemoteAddr().String() + "\r\n")
			c.ReadLine(100)
		},
	}
}

func TestProxyTellsTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, behindProxies(t))
		for _, proxy := range []string{"10.0.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1%eth0]:1"} {
			c := l.dial(t, proxy)
			c.send("PROXY TCP4 192.0.2.7 203.0.113.1 12345 25\r\n")
			c.expect("you are 192.0.2.7:12345")
			// The limits count the client, not the proxy.
			d := l.dial(t, proxy)
			d.send("PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 12346 25\r\n")
			d.expect("421 too many")
			d.expectEnd()
			c.Close()
			synctest.Wait()
		}
	})
}

func TestProxyThatDoesNotSayForWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, behindProxies(t))
		c := l.dial(t, "10.0.0.1:1")
		c.send("PROXY UNKNOWN\r\n")
		c.expect("you are invalid AddrPort")
		c = l.dial(t, "10.0.0.1:1") // it looks whether the server is there
		c.send("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00")
		c.expect("you are 10.0.0.1:1")
	})
}

func TestHeaderIsReadBeforeTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := behindProxies(t)
		l := newPipes()
		go s.ServeTLS(l)
		defer s.Close()
		c := l.dial(t, "10.0.0.1:1")
		c.send("PROXY TCP4 192.0.2.7 203.0.113.1 12345 465\r\n")
		c.secure().expect("you are 192.0.2.7:12345")
	})
}

func TestProxyWithoutHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, behindProxies(t))
		c := l.dial(t, "10.0.0.1:1")
		go c.Write([]byte("EHLO client.test\r\n"))
		c.expectEnd()

		begin := time.Now()
		c = l.dial(t, "10.0.0.1:1")
		c.send("PROXY")
		c.expectEnd()
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestHeaderOfOthersIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, behindProxies(t))
		for _, from := range []string{"192.0.2.9:1", ""} {
			c := l.dial(t, from)
			go c.Write([]byte("PROXY TCP4 10.0.0.1 203.0.113.1 12345 25\r\n"))
			want := "you are " + from
			if from == "" {
				want = "you are invalid AddrPort"
			}
			c.expect(want)
		}
	})
}
