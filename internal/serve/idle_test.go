package serve_test

import (
	"context"
	"crypto/tls"
	"net"
	"runtime"
	"testing"

	"github.com/sqmail/sqmail/internal/serve"
)

// What a connection costs that waits for a command, the client's end included:
// heap, stack and what the runtime keeps for both.
func BenchmarkIdleConnection(b *testing.B) {
	b.Run("clear", func(b *testing.B) {
		benchmarkIdle(b, (*serve.Server).Serve, func(c net.Conn) net.Conn { return c })
	})
	b.Run("TLS", func(b *testing.B) {
		benchmarkIdle(b, (*serve.Server).ServeTLS, func(c net.Conn) net.Conn {
			return tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		})
	})
}

func benchmarkIdle(b *testing.B, listen func(*serve.Server, net.Listener) error, secure func(net.Conn) net.Conn) {
	const conns = 1000
	s := &serve.Server{Handler: echoLines, TLSConfig: serverTLS(b)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go listen(s, ln)
	defer s.Close()
	for b.Loop() {
		before := inUse()
		for range conns {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			c = secure(c)
			c.Write([]byte("hello\r\n"))
			c.Read(make([]byte, 100))
		}
		b.ReportMetric(float64(inUse()-before)/conns, "bytes/conn")
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse + m.MSpanInuse
}

func echoLines(_ context.Context, c *serve.Conn) {
	for {
		line, err := c.ReadLine(512)
		if err != nil {
			if err == serve.ErrServerClosed {
				c.WriteString("goodbye\r\n")
			}
			return
		}
		c.Write(append(line, '\r', '\n'))
	}
}
