package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/mimefilter"
	"github.com/sqmail/sqmail/smtpd"
)

// bodyFilters look at messages as they stream by.
func bodyFilters() *filter.Chain {
	return &filter.Chain{Filters: []filter.Filter{
		&filter.RcptHosts{Domains: filter.ListOf("example.test")},
		&filter.BadMIMEType{Types: filter.KeysOf("TVqQAAMAA"), Blanks: true},
		&filter.BadLoaderType{Types: filter.KeysOf("Mi5kb"), First: 'M'},
		&mimefilter.Filter{Names: mimefilter.NewPatterns([]filter.Rule{{Text: "*.exe"}})},
	}}
}

// TestHostileMessagesAreRefused: whatever a message is made of, it costs less
// than a second of CPU and little memory, and the client hears one sentence.
func TestHostileMessagesAreRefused(t *testing.T) {
	mixed := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	var nested strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for _, test := range []struct{ name, message string }{
		{"10 MB of header", strings.Repeat("X-Field: abcdefghijklmnopqrstuvwxyz\r\n", 10<<20/37)},
		{"10 MB in a field", "Subject: x\r\n" + strings.Repeat(" abcdefgh\r\n", 10<<20/11)},
		{"10 MB in a line", "Subject: " + strings.Repeat("x", 10<<20) + "\r\n"},
		{"100,000 empty parts", mixed + strings.Repeat("--b\r\n\r\n", 100_000)},
		{"100,000 parts with the same boundary", mixed + strings.Repeat("--b\r\n"+mixed, 100_000)},
		{"10,000 nested parts", nested.String()},
		{"10,000 messages in messages", strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 10_000)},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := meter.Now()
			reply := send(t, bodyFilters(), strings.NewReader(test.message))
			used, _ := meter.Since(before)
			if reply != "554 5.6.0 sorry, invalid message structure\r\n" {
				t.Errorf("the client hears %q", reply)
			}
			if used.CPU.Seconds() > 1 {
				t.Errorf("%v of CPU", used.CPU)
			}
			if used.Bytes > 4<<20 && !underRace {
				t.Errorf("%d octets allocated", used.Bytes)
			}
		})
	}
}

// TestBodyFiltersStream: what they hold of a message does not grow with it.
func TestBodyFiltersStream(t *testing.T) {
	var allocated [2]uint64
	for i, size := range []int64{1 << 20, 100 << 20} {
		header := "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		before := meter.Now()
		reply := send(t, bodyFilters(), io.MultiReader(strings.NewReader(header), io.LimitReader(lineReader{}, size/int64(len(base64Line))*int64(len(base64Line)))))
		used, _ := meter.Since(before)
		if !strings.HasPrefix(reply, "250 ") {
			t.Fatalf("the client hears %q", reply)
		}
		allocated[i] = used.Bytes
	}
	// All that was ever allocated, in use or not: timers of the connection in
	// memory, about 1 KB for each 32 KB of the message.
	if allocated[1] > allocated[0]+8<<20 && !underRace {
		t.Errorf("%d octets for 1 MB, %d for 100 MB", allocated[0], allocated[1])
	}
}

// lineReader is base64 without end.
type lineReader struct{}

const base64Line = "JVBERi0xLjcgMDAwMDAgTXkgYXR0YWNobWVudCAwMDAwMDAwIGFiY2RlZmdoaWprbG1ub3BxcnN0d\r\n"

func (lineReader) Read(p []byte) (int, error) {
	n := 0
	for len(p)-n >= len(base64Line) {
		n += copy(p[n:], base64Line)
	}
	return n, nil
}

// send sends a message to a server, and returns what that says of it.
func send(t *testing.T, chain *filter.Chain, message io.Reader) string {
	t.Helper()
	ours, theirs := net.Pipe()
	server := &smtpd.Server{Receiver: sqmail.ReceiverFunc(func(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		return load.Discard(ctx, env, body)
	}), Policy: chain, MaxMessageBytes: -1}
	go server.ServeConn(theirs)
	defer server.Close()
	r := bufio.NewReader(ours)
	hear := func() (line string) {
		for {
			line, _ = r.ReadString('\n')
			if len(line) < 4 || line[3] != '-' {
				return line
			}
		}
	}
	hear()
	for _, command := range []string{"EHLO c", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.test>", "DATA"} {
		io.WriteString(ours, command+"\r\n")
		if reply := hear(); reply > "4" {
			t.Fatalf("%s: %s", command, reply)
		}
	}
	buf := make([]byte, 100*len(base64Line))
	if _, err := io.CopyBuffer(struct{ io.Writer }{ours}, struct{ io.Reader }{message}, buf); err != nil {
		t.Error(err)
	}
	go io.WriteString(ours, ".\r\n")
	reply := hear()
	runtime.KeepAlive(buf)
	return reply
}
