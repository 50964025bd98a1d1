package smtpd

import (
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

const (
	maxReplyLine  = 512 // RFC 5321, 4.5.3.1.5, CRLF included
	maxReplyLines = 64
)

// replyStyle says how replies are written.
type replyStyle struct {
	// classic puts the enhanced status code at the end.
	classic bool

	// utf8 lets UTF-8 through: only in a transaction with SMTPUTF8 (RFC 6531,
	// 3.7.4).
	utf8 bool
}

// appendReply appends r as it goes over the wire. No line is longer than
// maxReplyLine, and none holds anything but printable characters: text that a
// client or a DNS record chose cannot end a line.
func (style replyStyle) appendReply(dst []byte, r sqmail.Reply) []byte {
	enhanced := enhancedOf(r)
	before, after := "", ""
	if enhanced != (sqmail.EnhancedCode{}) {
		if style.classic {
			after = " (#" + enhancedText(enhanced) + ")"
		} else {
			before = enhancedText(enhanced) + " "
		}
	}
	text, lines := r.Text, 1
	room := maxReplyLine - len("250 ") - len(before) - len(after) - len("\r\n")
	for {
		line, rest, more := cutLine(text, room)
		last := !more || lines == maxReplyLines
		dst = strconv.AppendInt(dst, int64(r.Code), 10)
		if last {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, '-')
		}
		dst = append(dst, before...)
		dst = appendPrintable(dst, line, style.utf8)
		if last {
			dst = append(dst, after...)
			return append(dst, '\r', '\n')
		}
		dst = append(dst, '\r', '\n')
		text = rest
		lines++
	}
}

// cutLine cuts the first line off text: at a LF, or at the last blank that
// leaves no more than room octets, or there.
func cutLine(text string, room int) (line, rest string, more bool) {
	line, rest, more = strings.Cut(text, "\n")
	line = strings.TrimSuffix(line, "\r")
	if len(line) <= room {
		return line, rest, more
	}
	n := strings.LastIndexByte(line[:room], ' ') + 1
	if n == 0 {
		n = room
		for n > room-4 && !startsRune(line[n]) {
			n--
		}
	}
	return line[:n], text[n:], true
}

func startsRune(c byte) bool { return c&0xc0 != 0x80 }

// enhancedOf returns the enhanced status code to write with r: 2yz, 4yz and
// 5yz replies have one (RFC 2034, 4), 3yz replies and the replies to a
// connection and to a hello have none. Those are written with appendPlain.
func enhancedOf(r sqmail.Reply) sqmail.EnhancedCode {
	class := r.Code / 100
	switch {
	case class != 2 && class != 4 && class != 5:
		return sqmail.EnhancedCode{}
	case r.Enhanced[0] == class && inRange(r.Enhanced[1]) && inRange(r.Enhanced[2]):
		return r.Enhanced
	}
	return sqmail.EnhancedCode{class, 0, 0}
}

func inRange(n int) bool { return n >= 0 && n <= 999 }

func enhancedText(c sqmail.EnhancedCode) string {
	var buf [11]byte
	b := strconv.AppendInt(buf[:0], int64(c[0]), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(c[1]), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(c[2]), 10)
	return string(b)
}

// appendPlain appends a reply that has no enhanced status code.
func appendPlain(dst []byte, code int, lines ...string) []byte {
	for i, line := range lines {
		dst = strconv.AppendInt(dst, int64(code), 10)
		if i == len(lines)-1 {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, '-')
		}
		if len(line) > maxReplyLine-len("250 \r\n") {
			line = line[:maxReplyLine-len("250 \r\n")]
		}
		dst = appendPrintable(dst, line, false)
		dst = append(dst, '\r', '\n')
	}
	return dst
}

// wireReply returns what the peer is told of err, which refuses something.
// Codes that cannot be an answer become general sentences, and so do the 2yz
// and 3yz codes of an *sqmail.Error that was returned by mistake.
func wireReply(err error) sqmail.Reply {
	r := sqmail.ReplyFor(err)
	if r.Code < 400 || r.Code > 599 {
		return sqmail.ReplyFor(errDeferred)
	}
	return r
}

var errDeferred = &sqmail.Error{}
