package mailtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
)

func (s *session) data(_, arg string) error {
	if arg != "" {
		return s.say("501 5.5.4 no argument, please")
	}
	if len(s.env.Recipients) == 0 {
		return s.say("503 5.5.1 RCPT first")
	}
	d := s.event(Data, "")
	if err := s.suffer(d); err != nil {
		return err
	}
	ok, err := s.answer(d, "354 go on")
	if !ok || err != nil {
		return err
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	wire, whole, err := s.readDotted()
	if err != nil {
		return err
	}
	return s.finish(wire, unstuff(wire), whole)
}

// readDotted reads up to the dot that stands alone between CRLFs. What is
// beyond the largest size is read and forgotten; whole is false then.
func (s *session) readDotted() (wire []byte, whole bool, err error) {
	whole = true
	last := []byte("\r\n") // the two octets before what is read next
	for {
		part, err := s.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, false, err
		}
		if string(last) == "\r\n" && string(part) == ".\r\n" {
			return wire, whole, nil
		}
		last = append(last, part[max(0, len(part)-2):]...)
		last = last[len(last)-2:]
		if int64(len(wire)+len(part)) > 2*s.peer.maxSize() {
			whole = false
			continue
		}
		wire = append(wire, part...)
	}
}

// unstuff takes away the dots that DATA doubles (RFC 5321, 4.5.2), and makes
// LF of CRLF.
func unstuff(wire []byte) []byte {
	text := make([]byte, 0, len(wire))
	for len(wire) > 0 {
		line := wire
		if i := bytes.Index(wire, []byte("\r\n")); i >= 0 {
			line = wire[:i+2]
		}
		wire = wire[len(line):]
		line = bytes.TrimPrefix(line, []byte("."))
		if content, found := bytes.CutSuffix(line, []byte("\r\n")); found {
			text = append(append(text, content...), '\n')
		} else {
			text = append(text, line...)
		}
	}
	return text
}

// bdat is RFC 3030, 2. The octets are read before anything else is decided.
func (s *session) bdat(_, arg string) error {
	first, rest, _ := strings.Cut(arg, " ")
	size, err := strconv.ParseInt(first, 10, 64)
	if err != nil || size < 0 || rest != "" && !strings.EqualFold(rest, "LAST") {
		s.say("501 5.5.4 bad chunk size")
		return errEnd
	}
	opening := !s.chunking
	if size > s.peer.maxSize()-int64(len(s.chunks)) {
		s.say("552 5.3.4 message too big")
		return errEnd
	}
	old := len(s.chunks)
	s.chunks = append(s.chunks, make([]byte, size)...)
	if _, err := io.ReadFull(s.r, s.chunks[old:]); err != nil {
		return err
	}
	if len(s.env.Recipients) == 0 {
		s.chunks = nil
		return s.say("503 5.5.1 RCPT first")
	}
	s.peer.log(s.number, "C:", fmt.Sprintf("(%d octets)", size))
	if opening {
		d := s.event(Data, "")
		if err := s.suffer(d); err != nil {
			return err
		}
		if d.reply != "" {
			s.abandon()
			_, err := s.answer(d, "")
			return err
		}
	}
	if rest == "" {
		s.chunking = true
		return s.say("250 2.0.0 ok")
	}
	wire := s.chunks
	return s.finish(wire, bytes.ReplaceAll(wire, []byte("\r\n"), []byte("\n")), true)
}

// finish answers for a message that is there, and records it.
func (s *session) finish(wire, text []byte, whole bool) error {
	if !s.chunking && s.chunks == nil {
		s.peer.log(s.number, "C:", fmt.Sprintf("(%d octets)", len(wire)))
	}
	env := s.env
	who := s.who
	env.Peer = &who
	s.abandon()
	if !whole || int64(len(text)) > s.peer.maxSize() {
		return s.say("552 5.3.4 message too big")
	}
	m := &Message{Envelope: env, Data: text, Wire: wire, Time: time.Now()}
	if s.peer.LMTP {
		return s.finishEach(m)
	}
	d := s.event(Body, env.ReversePath.String())
	if d.take {
		s.peer.recorder.record(m)
	}
	if err := s.suffer(d); err != nil {
		return err
	}
	ok, err := s.answer(d, "250 2.0.0 ok")
	if ok && !d.take {
		s.peer.recorder.record(m)
	}
	return err
}

// finishEach is LMTP's end: a reply for each recipient (RFC 2033, 4.2).
func (s *session) finishEach(m *Message) error {
	var taken []sqmail.Recipient
	var failed error
	for _, to := range m.Envelope.Recipients {
		d := s.event(Body, to.Path.String())
		if failed = s.suffer(d); failed != nil {
			if d.take {
				taken = append(taken, to)
			}
			break
		}
		ok, err := s.answer(d, "250 2.1.5 ok")
		if ok || d.take {
			taken = append(taken, to)
		}
		if failed = err; err != nil {
			break
		}
	}
	if len(taken) > 0 {
		m.Envelope.Recipients = taken
		s.peer.recorder.record(m)
	}
	return failed
}
