package serve_test

import (
	"context"
	"net"
	"runtime"
	"testing"

	"github.com/sqmail/sqmail/internal/serve"
)

// What a connection costs that waits for a command, the client's end included:
// heap, stack and what the runtime keeps for both.
func BenchmarkIdleConnection(b *testing.B) {
	const conns = 1000
	s := &serve.Server{Handler: echoLines}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(ln)
	defer s.Close()

	for b.Loop() {
		before := inUse()
		clients := make([]net.Conn, conns)
		for i := range clients {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			clients[i] = c
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
