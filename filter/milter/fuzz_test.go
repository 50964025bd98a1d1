package milter_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/filter/milter"
)

// heardAll is a connection on which everything the milter says has come, and
// which takes whatever it is told.
type heardAll struct {
	net.Conn
	r io.Reader
}

func (c heardAll) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c heardAll) Write(p []byte) (int, error) { return len(p), nil }
func (heardAll) SetDeadline(time.Time) error   { return nil }
func (heardAll) Close() error                  { return nil }

// Whatever a milter says, what goes before the message is whole fields.
func FuzzAnswers(f *testing.F) {
	go1 := packet('c', "")
	f.Add(negotiated(1, 0x7f)+packet('h', "X-A\x00b\x00")+packet('i', "\x00\x00\x00\x01X-B\x00c\x00")+packet('a', ""), message)
	f.Add(negotiated(1, 0)+strings.Repeat(go1, 10)+packet('m', "\x00\x00\x00\x01X-A\x00\x00")+go1, message)
	f.Add(negotiated(0, 0)+go1+go1+packet('y', "550 5.7.1 no\x00"), "Subject: x\n\n")
	f.Add(negotiated(0, 0)+packet('p', "")+packet('t', ""), "\n\n")
	f.Fuzz(func(t *testing.T, script, text string) {
		filter := &milter.Filter{MaxHeader: 1000, Dial: func(context.Context, string, string) (net.Conn, error) {
			return heardAll{r: strings.NewReader(script)}, nil
		}}
		_, v, err := dialogue(t.Context(), filter, newSession(), text)
		if err != nil {
			return
		}
		for i, line := range strings.Split(v.Header, "\n") {
			last := i == strings.Count(v.Header, "\n")
			name, _, found := strings.Cut(line, ": ")
			if last != (line == "") || !last && line[0] != ' ' && line[0] != '\t' && (!found || strings.ContainsAny(name, " \t")) {
				t.Errorf("%q", v.Header)
			}
		}
		if strings.Contains(v.Reply.Text, "\r") || len(v.Reply.Text) > 10*201 {
			t.Errorf("%q", v.Reply.Text)
		}
	})
}
