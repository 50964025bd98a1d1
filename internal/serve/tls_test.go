package serve_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/internal/serve"
)

// serverTLS has a certificate of its own making.
func serverTLS(t testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// secure turns the client's end into TLS, without looking at the certificate.
func (p *peer) secure() *peer {
	c := tls.Client(p.Conn, &tls.Config{InsecureSkipVerify: true})
	q := *p
	q.Conn = c
	q.r.Reset(c)
	return &q
}

// startTLS serves one command that starts TLS, and then lines. What StartTLS
// returns is sent to result.
func startTLS(result chan<- error) func(context.Context, *serve.Conn) {
	return func(ctx context.Context, c *serve.Conn) {
		if _, err := c.ReadLine(100); err != nil {
			return
		}
		c.WriteString("220 go ahead\r\n")
		err := c.StartTLS(nil)
		result <- err
		if err == nil && c.TLS() == nil {
			c.WriteString("in clear?\r\n")
		}
		echoLines(ctx, c)
	}
}

func TestStartTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result := make(chan error, 1)
		s := &serve.Server{Handler: startTLS(result), TLSConfig: serverTLS(t)}
		l := start(t, s)
		c := l.dial(t, "")
		c.send("STARTTLS\r\n")
		c.expect("220 go ahead")
		c = c.secure()
		c.send("hello\r\n")
		c.expect("hello")
		if err := <-result; err != nil {
			t.Error(err)
		}

		go s.Shutdown(t.Context()) // finds the wait below TLS
		c.expect("goodbye")
		c.expectEnd()
	})
}

func TestStartTLSRefusesWhatIsBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result := make(chan error, 1)
		l := start(t, &serve.Server{Handler: startTLS(result), TLSConfig: serverTLS(t)})
		c := l.dial(t, "")
		c.send("STARTTLS\r\nMAIL FROM:<x@y.test>\r\n")
		if err := <-result; err != serve.ErrPlaintext {
			t.Errorf("err = %v", err)
		}
		c.expectEnd()
	})
}

func TestFailedHandshakeEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result := make(chan error, 1)
		l := start(t, &serve.Server{Handler: startTLS(result), TLSConfig: serverTLS(t)})
		c := l.dial(t, "")
		c.send("STARTTLS\r\n")
		c.expect("220 go ahead")
		go c.Write([]byte("MAIL FROM:<x@y.test>\r\n"))
		rest, _ := io.ReadAll(c.r)
		if err := <-result; err == nil || bytes.Contains(rest, []byte("MAIL")) {
			t.Errorf("err = %v, then %q", err, rest)
		}
	})
}

func TestStartTLSNeedsTLSAndOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := serverTLS(t)
		l := start(t, &serve.Server{Handler: func(_ context.Context, c *serve.Conn) {
			if err := c.StartTLS(nil); err != serve.ErrNoTLS {
				t.Errorf("without configuration: %v", err)
			}
			if err := c.StartTLS(config); err != nil {
				t.Error(err)
			}
			if err := c.StartTLS(config); err != serve.ErrTLSActive {
				t.Errorf("again: %v", err)
			}
			c.WriteString("still there\r\n")
		}})
		l.dial(t, "").secure().expect("still there")
	})
}

func TestImplicitTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &serve.Server{Handler: greet, TLSConfig: serverTLS(t)}
		l := newPipes()
		go s.ServeTLS(l)
		defer s.Close()
		silent := l.dial(t, "192.0.2.1:1") // holds up nobody else
		c := l.dial(t, "192.0.2.2:1").secure()
		c.expect("220 hello")

		begin := time.Now()
		silent.expectEnd()
		if took := time.Since(begin); took != 30*time.Second {
			t.Errorf("a silent peer is closed after %v", took)
		}
		c.send("still\r\n")
		c.expect("still")
	})
}

func TestServeTLSNeedsAConfiguration(t *testing.T) {
	var s serve.Server
	if err := s.ServeTLS(newPipes()); err != serve.ErrNoTLS {
		t.Errorf("err = %v", err)
	}
}

// On TCP a connection that is closed while the peer still sends is reset, and
// the reset can take away the reply that the peer has not read yet.
func TestLingerSavesTheLastReply(t *testing.T) {
	s := &serve.Server{Handler: func(_ context.Context, c *serve.Conn) {
		if _, err := c.ReadLine(100); err != nil {
			t.Error(err)
		}
		c.WriteString("554 no\r\n")
		c.Linger()
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(ln)
	defer s.Close()
	for range 20 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("DATA\r\n"))
		for range 8 {
			c.Write(make([]byte, 32<<10))
		}
		c.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c)
		if string(got) != "554 no\r\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		c.Close()
	}
}

func TestTalksLooksAtWhatHasArrived(t *testing.T) {
	arrived := make(chan bool, 1)
	s := &serve.Server{Handler: func(_ context.Context, c *serve.Conn) {
		first, _ := c.Talks(0)
		c.WriteString("220\r\n")
		c.ReadLine(100)
		if err := c.Await(); err != nil {
			t.Error(err)
		}
		second, err := c.Talks(0)
		if err != nil {
			t.Error(err)
		}
		arrived <- !first && second
		c.ReadLine(100)
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(ln)
	defer s.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.ReadFull(c, make([]byte, 5))
	c.Write([]byte("EHLO a\r\nEHLO b\r\n"))
	if !<-arrived {
		t.Error("Talks is wrong")
	}
}

// One packet answers a group of commands (RFC 2920, 3.2).
func TestRepliesToPipelinedCommandsGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, &serve.Server{Handler: echoLines})
		c := l.dial(t, "")
		c.send("a\r\nb\r\nc\r\n")
		b := make([]byte, 100)
		if n, err := c.Read(b); string(b[:n]) != "a\r\nb\r\nc\r\n" || err != nil {
			t.Errorf("%q, %v", b[:n], err)
		}
	})
}

func TestPeerTellsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := make(map[string]bool)
		l := start(t, &serve.Server{Name: "mx", Handler: func(_ context.Context, c *serve.Conn) {
			p := c.Peer()
			if p.Listener != "mx" || p.Remote != c.RemoteAddr() || p.TLS != nil || p.Session != c.ID() {
				t.Errorf("%+v", p)
			}
			ids[c.ID()] = true
		}})
		for _, from := range []string{"192.0.2.1:1", "", "[fe80::1%eth0]:1"} {
			l.dial(t, from).expectEnd()
		}
		if len(ids) != 3 {
			t.Errorf("sessions are named %v", ids)
		}
	})
}

// A client may send all it has, close its side and wait for the answers.
func TestEndOfInputDoesNotEndTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := start(t, &serve.Server{Handler: func(ctx context.Context, c *serve.Conn) {
			if _, err := c.ReadLine(10); !errors.Is(err, io.EOF) || ctx.Err() != nil {
				t.Errorf("%v, context %v", err, ctx.Err())
			}
			c.Flush()
		}})
		l.dial(t, "").Close()
		synctest.Wait()
	})
}
