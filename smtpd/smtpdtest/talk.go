package smtpdtest

import (
	"strconv"
	"strings"
	"testing"
)

// Talk plays a dialogue with the server, line by line:
//
//	# a comment
//	C: what the client sends, CRLF is added
//	C: "or in quotes, as a Go string, sent as it is"
//	S: 250 2.1.0 what the server says
//	S: 250 2.1.5*
//	S: 250...
//	TLS
//	END
//
// Lines of the client that follow each other go out in one piece. A line of
// the server must be equal, or, up to a "*" at the end of the script's line,
// begin so. "S: 250..." is a whole reply with that code, of however many lines.
// TLS is the client's handshake. END: the server closes the connection, and
// says nothing more.
//
// When the script does not say END the client hangs up after it. The server
// must not have said anything else by then; so that this can be seen, the
// client sends QUIT, which must be answered next.
func (s *Server) Talk(t testing.TB, script string) {
	t.Helper()
	c := s.Connect(t)
	ended := false
	pending := ""
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\r\n")
		kind, text, _ := strings.Cut(line, ": ")
		if kind != "C" && pending != "" {
			c.Send(pending)
			pending = ""
		}
		switch {
		case line == "" || line[0] == '#':
		case kind == "C" || line == "C:":
			pending += unquote(t, text)
		case kind == "S":
			c.expectLine(text)
		case line == "TLS":
			c.Handshake()
		case line == "END":
			c.ExpectEnd()
			ended = true
		default:
			t.Fatalf("not a line of a dialogue: %q", line)
		}
	}
	if !ended {
		c.Send(pending)
		c.Do("QUIT", 221)
		c.ExpectEnd()
	}
	c.Close()
}

func unquote(t testing.TB, text string) string {
	if !strings.HasPrefix(text, `"`) {
		return text + "\r\n"
	}
	raw, err := strconv.Unquote(text)
	if err != nil {
		t.Fatalf("not a Go string: %s", text)
	}
	return raw
}

func (c *Client) expectLine(want string) {
	c.t.Helper()
	if code, whole := strings.CutSuffix(want, "..."); whole {
		if got := c.Reply(); !strings.HasPrefix(got, code) {
			c.t.Fatalf("S: %s\nwant: %s", got, want)
		}
		return
	}
	c.hurry()
	got, err := c.reader.ReadString('\n')
	if err != nil {
		c.t.Fatalf("S: %q and %v\nwant: %s", got, err, want)
	}
	got = strings.TrimSuffix(got, "\r\n")
	prefix, open := strings.CutSuffix(want, "*")
	if got != want && !(open && strings.HasPrefix(got, prefix)) {
		c.t.Fatalf("S: %s\nwant: %s", got, want)
	}
}
