package callout

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/wire"
)

const (
	maxReplyLine  = 2048
	maxReplyLines = 100
)

// dialogue is the client's side of a session.
type dialogue struct {
	conn       net.Conn
	r          *wire.Reader
	extensions []string // the lines of EHLO behind the first
}

func newDialogue(conn net.Conn) *dialogue { return &dialogue{conn: conn, r: wire.NewReader(conn)} }

// command sends a command and reads the reply.
func (d *dialogue) command(text string) (code int, lines []string, err error) {
	if _, err := io.WriteString(d.conn, text+"\r\n"); err != nil {
		return 0, nil, err
	}
	return d.reply()
}

var errReply = errors.New("malformed reply")

// reply reads a reply (RFC 5321, 4.2).
func (d *dialogue) reply() (code int, lines []string, err error) {
	for len(lines) < maxReplyLines {
		line, err := d.r.ReadLine(maxReplyLine)
		if err != nil {
			return 0, nil, err
		}
		n, text, more, err := replyLine(string(line))
		if err != nil || code != 0 && n != code {
			return 0, nil, errReply
		}
		code, lines = n, append(lines, text)
		if !more {
			return code, lines, nil
		}
	}
	return 0, nil, errReply
}

// replyLine takes a line of a reply apart.
func replyLine(line string) (code int, text string, more bool, err error) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, "", false, errReply
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, "", false, errReply
		}
		code = 10*code + int(c-'0')
	}
	if code < 200 || code > 599 {
		return 0, "", false, errReply
	}
	if len(line) > 3 {
		text, more = line[4:], line[3] == '-'
	}
	return code, text, more, nil
}

// expect reads a reply that must have a code.
func (d *dialogue) expect(want int) ([]string, error) {
	code, lines, err := d.reply()
	return lines, refused("the greeting", code, want, lines, err)
}

// refused is the error of another reply than was wanted.
func refused(to string, code, want int, lines []string, err error) error {
	if err != nil || code == want {
		return err
	}
	text := ""
	if len(lines) > 0 {
		text = lines[0]
	}
	return fmt.Errorf("%s is %d %.100q", to, code, text)
}

// hello says EHLO, or HELO to servers that do not know it.
func (d *dialogue) hello(name string) error {
	code, lines, err := d.command("EHLO " + name)
	if err == nil && code == 250 {
		d.extensions = lines[1:]
		return nil
	}
	if err == nil && code/100 == 5 {
		d.extensions = nil
		code, lines, err = d.command("HELO " + name)
	}
	return refused("the answer to HELO", code, 250, lines, err)
}

// offers reports whether the server has an extension.
func (d *dialogue) offers(keyword string) bool {
	for _, line := range d.extensions {
		word, _, _ := strings.Cut(line, " ")
		if strings.EqualFold(word, keyword) {
			return true
		}
	}
	return false
}

// startTLS begins TLS. What the server sent before it counts for nothing (RFC
// 3207, 4.2): the dialogue is over then.
func (d *dialogue) startTLS(ctx context.Context, config *tls.Config) error {
	code, lines, err := d.command("STARTTLS")
	if err := refused("the answer to STARTTLS", code, 220, lines, err); err != nil {
		return err
	}
	if d.r.Buffered() > 0 {
		return errors.New("something came behind the answer to STARTTLS")
	}
	conn := tls.Client(d.conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	d.conn, d.extensions = conn, nil
	d.r.Reset(conn)
	return nil
}

// ask names a recipient, and says goodbye.
func (d *dialogue) ask(to sqmail.Path) (known bool, err error) {
	mail := "MAIL FROM:<>"
	if path := to.String(); !isASCII(path) {
		if !d.offers("SMTPUTF8") { // it cannot have such a mailbox
			return false, nil
		}
		mail += " SMTPUTF8"
	}
	code, lines, err := d.command(mail)
	if err := refused("the answer to MAIL", code, 250, lines, err); err != nil {
		return false, err
	}
	code, lines, err = d.command("RCPT TO:<" + to.String() + ">")
	if err == nil {
		io.WriteString(d.conn, "QUIT\r\n") // the answer would tell nothing
	}
	switch {
	case err == nil && code/100 == 2:
		return true, nil
	case err == nil && noMailbox(code, lines[0]):
		return false, nil
	}
	return false, refused("the answer to RCPT", code, 0, lines, err)
}

// noMailbox reports whether a reply to RCPT says that there is no such mailbox
// (RFC 5321, 3.3). Others are about us, the dialogue, or space: 554 is what many
// say to clients they do not like, and so are 5.7.z (RFC 3463, 3.8).
func noMailbox(code int, text string) bool {
	switch code {
	case 550, 551, 553:
		return !strings.HasPrefix(text, "5.7.")
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
