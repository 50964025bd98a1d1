package pop3

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"strings"
)

// retr sends a message (RFC 1939, 5).
func (x *session) retr(arg string) {
	if n, ok := x.message(arg); ok && x.send(n, -1) {
		x.retrieved++
	}
}

// top sends a message's header and the first lines of its body (RFC 1939, 7);
// without a number of lines the whole.
func (x *session) top(arg string) {
	_, count, given := strings.Cut(arg, " ")
	lines := int64(-1)
	if count = strings.Trim(count, " "); given && count != "" {
		var ok bool
		if lines, ok = parseNumber(count); !ok {
			x.wrong(replyTopNotCount)
			return
		}
	}
	if n, ok := x.message(arg); ok {
		x.send(n, lines)
	}
}

// send sends a message, with the given number of lines of its body, or whole
// if that is negative. After an error amid the message the connection is
// closed: the client must not take a part for the whole.
func (x *session) send(n int, lines int64) bool {
	r, err := x.drop.Open(x.ctx, n)
	if err != nil {
		x.unreadable(n, err)
		return false
	}
	defer r.Close()
	x.say(replyMessage)
	w := x.conn.NewDotWriter()
	var src io.Reader = r
	if lines >= 0 {
		src = &topReader{r: r, left: lines}
	}
	if _, err = w.ReadFrom(src); err == nil {
		err = w.Close()
	}
	if err != nil {
		w.Abort()
		x.over = true
		x.event(slog.LevelWarn, "message not sent", "id", x.drop.UniqueID(n), "err", err)
		return false
	}
	return true
}

func (x *session) unreadable(n int, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		x.say(replyGone)
		return
	}
	x.event(slog.LevelError, "message not opened", "id", x.drop.UniqueID(n), "err", err)
	x.say(replyUnreadable)
}

// topReader ends after the header, the empty line and left lines more.
type topReader struct {
	r    io.Reader
	left int64
	body bool // the empty line is over
	line int  // octets of the present line, other than CR; more than 0 count as 1
}

func (t *topReader) Read(p []byte) (int, error) {
	if t.body && t.left == 0 {
		return 0, io.EOF
	}
	n, err := t.r.Read(p)
	end, done := t.scan(p[:n])
	if done {
		return end, io.EOF
	}
	return n, err
}

// scan looks for the end in b.
func (t *topReader) scan(b []byte) (end int, done bool) {
	for at := 0; at < len(b); {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			t.mark(b[at:])
			break
		}
		t.mark(b[at : at+i])
		at += i + 1
		switch {
		case t.body:
			t.left--
		case t.line == 0:
			t.body = true
		}
		t.line = 0
		if t.body && t.left == 0 {
			return at, true
		}
	}
	return 0, false
}

// mark notes whether the line holds more than its end.
func (t *topReader) mark(b []byte) {
	if len(bytes.TrimRight(b, "\r")) > 0 {
		t.line = 1
	}
}
