package pop3

import (
	"errors"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
)

// message returns the index of the message that a command's first word names.
// It has answered if there is none.
func (x *session) message(arg string) (n int, ok bool) {
	word, _, _ := strings.Cut(arg, " ")
	number, isNumber := parseNumber(word)
	switch {
	case !isNumber:
		x.wrong(replyNotNumber)
	case number == 0:
		x.say(replyFromOne)
	case number > int64(len(x.deleted)):
		x.say(replyNoMessage)
	case x.deleted[number-1]:
		x.say(replyDeleted)
	default:
		return int(number - 1), true
	}
	return 0, false
}

// maxNumber stands for every number that is greater.
const maxNumber = 1<<62 - 1

// parseNumber reads decimal digits; it does not wrap.
func parseNumber(s string) (n int64, ok bool) {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n, maxNumber/100)*10 + int64(c-'0')
	}
	return n, s != ""
}

// size is a message's size as it is announced; 0 if it cannot be told.
func (x *session) size(n int) int64 {
	size, err := x.drop.Size(x.ctx, n)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			x.event(slog.LevelWarn, "message has no size", "id", x.drop.UniqueID(n), "err", err)
		}
		return 0
	}
	return size
}

// stat counts what is not deleted (RFC 1939, 5).
func (x *session) stat(string) {
	var count, octets int64
	for n, deleted := range x.deleted {
		if !deleted {
			count++
			octets += x.size(n)
		}
	}
	x.say("+OK " + strconv.FormatInt(count, 10) + " " + strconv.FormatInt(octets, 10) + "\r\n")
}

func (x *session) list(arg string) {
	x.perMessage(arg, func(line []byte, n int) []byte { return strconv.AppendInt(line, x.size(n), 10) })
}

func (x *session) uidl(arg string) {
	x.perMessage(arg, func(line []byte, n int) []byte { return append(line, x.drop.UniqueID(n)...) })
}

// perMessage answers with a line for one message, or for each that is not
// deleted.
func (x *session) perMessage(arg string, add func(line []byte, n int) []byte) {
	var buf [128]byte
	line := func(head string, n int) []byte {
		b := append(buf[:0], head...)
		b = append(strconv.AppendInt(b, int64(n+1), 10), ' ')
		return append(add(b, n), '\r', '\n')
	}
	if arg != "" {
		if n, ok := x.message(arg); ok {
			x.conn.Write(line("+OK ", n))
		}
		return
	}
	x.say(replyList)
	for n, deleted := range x.deleted {
		if !deleted {
			x.conn.Write(line("", n))
		}
	}
	x.say(replyEndOfList)
}
