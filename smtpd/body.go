package smtpd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/wire"
)

// What is wrong with a message that is refused for its own sake.
var (
	errLoop   = &sqmail.Error{Op: "body", Class: sqmail.Rejection, Reply: replyLoop}
	errBareLF = &sqmail.Error{Op: "body", Class: sqmail.Rejection, Reply: replyBareLF, Close: true}

	// errAborted: a command ended the transaction between two chunks.
	errAborted = errors.New("smtpd: client broke off the message")
)

// body is a message on its way to the Receiver. It counts octets and hops. Its
// error is final.
type body struct {
	s    *session
	src  source
	size int64
	hops hopCounter
	err  error
	lost bool // err is the connection's
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.src.Read(p)
	b.size += int64(n)
	b.hops.scan(p[:n])
	set := b.s.set
	switch {
	case set.maxMessage > 0 && b.size > set.maxMessage:
		b.err = set.errTooBig
		return 0, b.err
	case set.maxHops > 0 && b.hops.count >= set.maxHops:
		b.err = errLoop
		return 0, b.err
	case err == io.EOF:
		b.err = err
		b.s.conn.Watch() // what the Receiver does from here on, the client waits for
	case err != nil:
		b.fail(err)
	}
	return n, b.err
}

// fail keeps the error that ends the reading.
func (b *body) fail(err error) {
	switch {
	case err == io.EOF, err == errAborted, err == errSkipTooMuch:
		b.err = err
	case errors.Is(err, wire.ErrBareLF), errors.Is(err, wire.ErrBareCR):
		b.err = errBareLF
	default:
		b.err, b.lost = fmt.Errorf("smtpd: client lost within a message: %w", err), true
	}
}

// hopCounter counts the Received and Delivered-To fields of a header, which
// ends at the first empty line.
type hopCounter struct {
	count int
	start [24]byte // of the present line
	n     int
	over  bool
}

func (h *hopCounter) scan(p []byte) {
	for !h.over && len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			h.n += copy(h.start[h.n:], p)
			return
		}
		h.n += copy(h.start[h.n:], p[:end])
		h.line(string(h.start[:h.n]))
		h.n = 0
		p = p[end+1:]
	}
}

func (h *hopCounter) line(start string) {
	if start == "" {
		h.over = true
		return
	}
	rest, found := cutPrefixFold(start, "Received")
	if !found {
		rest, found = cutPrefixFold(start, "Delivered-To")
	}
	if found && strings.HasPrefix(strings.TrimLeft(rest, " \t"), ":") {
		h.count++
	}
}
