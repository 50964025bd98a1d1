package smtpd_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

var discard = sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	_, err := io.Copy(io.Discard, body)
	return sqmail.Receipt{ID: "1"}, err
})

// BenchmarkMessages sends messages over as many connections as there are
// goroutines, as clients do that pipeline: two round trips for each.
func BenchmarkMessages(b *testing.B) {
	for _, test := range []struct {
		name        string
		size, conns int
	}{
		{"1KiB/1conn", 1 << 10, 1}, {"1KiB/32conns", 1 << 10, 16}, {"4KiB/32conns", 4 << 10, 16}, {"100KiB/32conns", 100 << 10, 16},
	} {
		b.Run(test.name, func(b *testing.B) {
			server := smtpdtest.NewServer(b, discard)
			body := []byte(strings.Repeat(strings.Repeat("x", 62)+"\r\n", test.size/64) + ".\r\n")
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			b.SetParallelism(test.conns)
			if test.conns == 1 {
				sendMessages(b, server.Addr, body, func() bool { return b.Loop() })
				return
			}
			b.RunParallel(func(pb *testing.PB) { sendMessages(b, server.Addr, body, pb.Next) })
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func sendMessages(b *testing.B, addr string, body []byte, next func() bool) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	expect := func(prefix string) bool {
		line, err := r.ReadSlice('\n')
		if err != nil || !bytes.HasPrefix(line, []byte(prefix)) {
			b.Errorf("%q %v, want %s", line, err, prefix)
			return false
		}
		return true
	}
	if !expect("220") {
		return
	}
	io.WriteString(conn, "HELO c\r\n")
	expect("250")
	begin := []byte("MAIL FROM:<ann@example.org>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\n")
	for next() {
		conn.Write(begin)
		for _, code := range []string{"250", "250", "354"} {
			if !expect(code) {
				return
			}
		}
		conn.Write(body)
		if !expect("250") {
			return
		}
	}
}

// BenchmarkIdleConnections tells what a connection costs that has said EHLO and
// waits. The client's end is in it.
func BenchmarkIdleConnections(b *testing.B) {
	const conns = 2000
	for b.Loop() {
		server := smtpdtest.NewServer(b, discard, func(s *smtpd.Server) { s.MaxConnections = -1 })
		heap0, stack0 := memory()
		open := make([]net.Conn, conns)
		buf := make([]byte, 4096)
		for i := range open {
			conn, err := net.Dial("tcp", server.Addr)
			if err != nil {
				b.Fatal(err)
			}
			conn.Read(buf)
			io.WriteString(conn, "EHLO client.example.org\r\n")
			conn.Read(buf)
			open[i] = conn
		}
		heap, stack := memory()
		b.ReportMetric(float64(heap-heap0)/conns, "heap-B/conn")
		b.ReportMetric(float64(stack-stack0)/conns, "stack-B/conn")
		for _, conn := range open {
			conn.Close()
		}
		server.Close()
	}
}

// memory returns what heap and stacks hold after a collection.
func memory() (heap, stack int64) {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // stacks shrink, pools drain
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse)
}
