package scan_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/scan"
)

// daemon is a server that gives one answer to each connection.
type daemon struct {
	heard  chan string // what each client said
	answer string

	// early answers without listening, deaf never answers, hangup closes the
	// connection at once.
	early, deaf, hangup bool
}

// dial returns a DialFunc for connections in memory to the daemon. read reads
// a whole question.
func (d *daemon) dial(t *testing.T, read func(io.Reader) string) scan.DialFunc {
	d.heard = make(chan string, 1)
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		done := make(chan bool)
		go func() {
			defer close(done)
			d.serve(server, read)
		}()
		t.Cleanup(func() { client.Close(); <-done })
		return client, nil
	}
}

func (d *daemon) serve(conn net.Conn, read func(io.Reader) string) {
	defer conn.Close()
	switch {
	case d.hangup:
		return
	case d.deaf:
		io.Copy(io.Discard, conn)
		return
	case !d.early:
		d.heard <- read(conn)
	}
	io.WriteString(conn, d.answer)
}

// readStream reads an INSTREAM, and returns the message.
func readStream(r io.Reader) string {
	br := bufio.NewReader(r)
	command, _ := br.ReadString(0)
	var b strings.Builder
	for {
		var n uint32
		if binary.Read(br, binary.BigEndian, &n) != nil {
			return "broken off"
		}
		if n == 0 {
			return strings.TrimSuffix(command, "\x00") + " " + b.String()
		}
		io.CopyN(&b, br, int64(n))
	}
}

// session is one with an envelope.
func session() *filter.Session {
	return &filter.Session{
		Peer: &sqmail.Peer{
			Remote: netip.MustParseAddrPort("192.0.2.1:2525"), Hello: "client.test", Name: "host.test", Session: "s1",
		},
		Envelope: &sqmail.Envelope{
			ReversePath: sqmail.PathOf("a@x.test"),
			Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("b@y.test")}, {Path: sqmail.PathOf("c@y.test")}},
			Header:      []byte("Received: from client.test\n"),
		},
	}
}

const message = "Subject: hi\n\nhello\n"

// ask shows f a message in pieces, and returns the verdict.
func ask(t *testing.T, f filter.BodyFilter, text string) (sqmail.Verdict, error) {
	t.Helper()
	return askIn(t, t.Context(), f, session(), text)
}

func askIn(t *testing.T, ctx context.Context, f filter.BodyFilter, s *filter.Session, text string) (sqmail.Verdict, error) {
	t.Helper()
	scanner, err := f.Body(ctx, s)
	if err != nil {
		return sqmail.Verdict{}, err
	}
	if scanner == nil {
		return sqmail.Verdict{Rule: "not looked at"}, nil
	}
	defer scanner.Close()
	for len(text) > 0 {
		n := min(len(text), 7)
		if n, err := io.WriteString(scanner, text[:n]); err != nil || n > 7 {
			t.Fatalf("wrote %d: %v", n, err)
		}
		text = text[n:]
	}
	return scanner.End()
}

// empty fails the test if something is left in dir.
func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
