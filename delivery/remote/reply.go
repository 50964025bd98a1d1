package remote

import (
	"bufio"
	"bytes"
	"errors"
	"strings"

	"github.com/sqmail/sqmail"
)

const (
	maxReplyKept = 5000      // octets of a reply that reports show
	maxReply     = 64 * 1024 // octets of a reply; a longer one is malformed
	replyBuffer  = 4096
)

// errMalformed is for what is no reply of SMTP. The session is over then:
// nobody knows what the next line belongs to.
var errMalformed = errors.New("malformed reply")

// A reply is what a peer answers to one command (RFC 5321, 4.2).
type reply struct {
	code int
	text string // its lines, codes included, LF between them; fit for print
}

// readReply reads one reply. Its error is errMalformed or the connection's.
func readReply(br *bufio.Reader) (reply, error) {
	var r reply
	var kept strings.Builder
	for total := 0; ; {
		line, n, err := readLine(br, maxReply-total)
		if err != nil {
			return r, err
		}
		total += n
		code, more, ok := parseLine(line)
		if !ok || r.code != 0 && code != r.code {
			return r, errMalformed
		}
		r.code = code
		if r.text == "" && !more {
			r.text = printable(line)
			return r, nil
		}
		keep(&kept, line)
		r.text = kept.String()
		if !more {
			return r, nil
		}
	}
}

// readLine reads a line, and returns what of it fits the buffer, without its
// line end; n is how long it was.
func readLine(br *bufio.Reader, limit int) (line []byte, n int, err error) {
	chunk, err := br.ReadSlice('\n')
	n = len(chunk)
	if err == bufio.ErrBufferFull {
		line = bytes.Clone(chunk)
		for err == bufio.ErrBufferFull && n <= limit {
			chunk, err = br.ReadSlice('\n')
			n += len(chunk)
		}
	} else {
		line = chunk
	}
	if n > limit {
		return nil, n, errMalformed
	}
	if err != nil {
		return nil, n, err
	}
	return bytes.TrimRight(line, "\r\n"), n, nil
}

// parseLine reads the code at the start of a line, and whether more lines of
// the reply follow.
func parseLine(line []byte) (code int, more, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		code = code*10 + int(c-'0')
	}
	return code, len(line) > 3 && line[3] == '-', true
}

func keep(b *strings.Builder, line []byte) {
	if b.Len() >= maxReplyKept {
		return
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	s := printable(line)
	b.WriteString(s[:min(len(s), maxReplyKept-b.Len())])
}

// printable returns a line for reports: control characters and what is no
// UTF-8 become question marks.
func printable(line []byte) string {
	s := string(line[:min(len(line), maxReplyKept)])
	clean := true
	for i := range len(s) {
		clean = clean && s[i] >= ' ' && s[i] < 0x7f
	}
	if clean {
		return s
	}
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\r", ""), "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// lines yields the lines of r without their codes.
func (r reply) lines(yield func(string) bool) {
	for line := range strings.SplitSeq(r.text, "\n") {
		if !yield(strings.TrimSpace(line[min(len(line), 4):])) {
			return
		}
	}
}

// public returns r as the type that the rest of the world knows.
func (r reply) public() sqmail.Reply {
	p := sqmail.Reply{Code: r.code}
	var text []string
	for line := range r.lines {
		enhanced, rest := cutEnhanced(line, r.code/100)
		if enhanced != (sqmail.EnhancedCode{}) {
			p.Enhanced, line = enhanced, rest
		}
		text = append(text, line)
	}
	p.Text = strings.Join(text, "\n")
	return p
}

// cutEnhanced cuts an enhanced status code (RFC 2034, 4) of the given class
// off the front of a line.
func cutEnhanced(line string, class int) (sqmail.EnhancedCode, string) {
	word, rest, _ := strings.Cut(line, " ")
	var e sqmail.EnhancedCode
	parts := strings.Split(word, ".")
	if len(word) > 9 || len(parts) != 3 {
		return e, line
	}
	for i, part := range parts {
		n, ok := number(part)
		if !ok {
			return sqmail.EnhancedCode{}, line
		}
		e[i] = n
	}
	if e[0] != class {
		return sqmail.EnhancedCode{}, line
	}
	return e, rest
}

// number reads up to three digits (RFC 3463, 2).
func number(s string) (n int, ok bool) {
	if s == "" || len(s) > 3 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
