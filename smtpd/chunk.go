package smtpd

import (
	"io"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail/internal/wire"
)

// bdat begins a message that comes in chunks (RFC 3030). The further chunks
// are read by chunkSource while the Receiver is at work.
func (s *session) bdat(arg string) {
	size, last, ok := parseChunk(arg)
	switch {
	case !s.offers(extChunking):
		s.sayLast(replyNotOffered)
		return
	case !ok: // how many octets follow nobody knows; none of them may run
		s.sayLast(replyArgument)
		return
	}
	c := &chunkSource{s: s, r: wire.NewChunkReader(s.conn.Reader(), wire.Policy(s.set.bareLF)), last: last}
	s.conn.BeginBody()
	if err := c.r.Next(size, last); err != nil {
		s.lost(err)
		return
	}
	if r := s.beforeMessage(); r.Code != 0 {
		if s.skipChunk(c) {
			s.say(r)
		}
		return
	}
	if err := s.checkData(); err != nil {
		if s.skipChunk(c) {
			s.refuseData(err)
		}
		return
	}
	s.receive(c)
}

// isChunk reports whether a line is a BDAT, whatever stands behind the verb.
func isChunk(line []byte) bool {
	_, found := cutPrefixFold(string(line[:min(len(line), 4)]), "BDAT")
	return found && (len(line) == 4 || !isAlphanumeric(line[4]))
}

// parseChunk parses "chunk-size [SP LAST]" (RFC 3030, 2).
func parseChunk(arg string) (size int64, last, ok bool) {
	number, word, found := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || found && !equalFold(word, "LAST") {
		return 0, false, false
	}
	return int64(n), found, true
}

// skipChunk reads past a chunk that nobody wants. If the client announced
// more than any message may have, the session ends instead.
func (s *session) skipChunk(c *chunkSource) bool {
	err := c.skip(s.skipLimit())
	switch err {
	case nil:
		return true
	case errSkipTooMuch:
		s.sayLast(s.set.tooBig)
	default:
		s.lost(err)
	}
	return false
}

// chunkSource is a message in chunks. At the end of each it answers, and
// reads on.
type chunkSource struct {
	s    *session
	r    *wire.ChunkReader
	last bool
	line bool // the message ends within a line so far
}

func (c *chunkSource) final() bool { return c.last }

func (c *chunkSource) Read(p []byte) (int, error) {
	if len(p) == 0 { // nothing is decided, and no chunk is answered
		return 0, nil
	}
	for {
		n, err := c.r.Read(p)
		if n > 0 {
			c.line = p[n-1] != '\n'
		}
		if err != io.EOF || n > 0 {
			return n, err
		}
		if c.last {
			return c.endLine(p)
		}
		c.s.say(replyChunk)
		if err := c.next(); err != nil {
			return 0, err
		}
	}
}

// endLine ends a last line that the client has left open: a message in chunks
// may end anywhere, but SMTP cannot pass on what does not end with a line.
func (c *chunkSource) endLine(p []byte) (int, error) {
	if !c.line {
		return 0, io.EOF
	}
	c.line = false
	p[0] = '\n'
	return 1, nil
}

// next waits for the next chunk, as one waits within a message. Between chunks a
// client may send NOOP. What ends the transaction is kept, and run when the
// Receiver has returned.
func (c *chunkSource) next() error {
	s := c.s
	for {
		line, err := s.conn.Reader().ReadLine(maxCommandLine)
		if err != nil {
			if s.badLine(line, err); s.closing {
				return errAborted
			}
			continue
		}
		name, arg := splitCommand(line)
		if isChunk(line) {
			size, last, ok := parseChunk(string(arg))
			if !ok {
				s.sayLast(replyArgument)
				return errAborted
			}
			c.last = last
			s.conn.BeginBody()
			return c.r.Next(size, last)
		}
		var verb [maxVerb]byte
		switch string(upper(&verb, name)) {
		case "RSET", "HELO", "EHLO", "LHLO", "QUIT":
			s.pending = line
			return errAborted
		case "NOOP":
			s.say(replyNoop)
		default:
			s.bad(replyChunking)
			if s.closing {
				return errAborted
			}
		}
	}
}

func (c *chunkSource) skip(most int64) error {
	if c.r.Left() > most {
		return errSkipTooMuch
	}
	return c.r.Skip()
}
