package milter

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-milter"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/internal/field"
)

const (
	maxHeader = 256 << 10
	maxField  = 60 << 10 // a packet has 64 KiB at most
	chunkSize = 32 << 10
)

// scanner shows a milter one message.
type scanner struct {
	l   *link
	ctx context.Context

	verdict sqmail.Verdict // refuses, if it is decided
	err     error

	mods   modifications
	inBody bool
	size   int    // of the header so far
	line   []byte // of the header, not complete
	field  []byte // not complete; its lines are separated by LF
	chunk  []byte // of the body, with CRLF
}

// settled reports whether the milter need not see any more.
func (m *scanner) settled() bool {
	return m.err != nil || m.verdict.Action >= sqmail.ActionDefer || m.l.pass || m.l.accepted
}

// Write shows the milter a piece of the message.
func (m *scanner) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && !m.settled() {
		if m.inBody {
			p = m.body(p)
		} else {
			p = m.header(p)
		}
	}
	return n, nil
}

// header takes the piece of a header at the start of p, and returns the rest.
func (m *scanner) header(p []byte) (rest []byte) {
	end := bytes.IndexByte(p, '\n')
	n := end + 1
	if end < 0 {
		n = len(p)
	}
	if m.size += n; m.size > cmp.Or(m.l.f.MaxHeader, maxHeader) {
		m.refuse("header too long")
		return nil
	}
	m.line = append(m.line, p[:n]...)
	if end >= 0 {
		line := m.line
		m.line = m.line[:0]
		m.headerLine(line)
	}
	return p[n:]
}

func (m *scanner) refuse(rule string) {
	m.verdict = sqmail.Verdict{Action: sqmail.ActionReject, Reply: longField, Rule: rule}
}

// headerLine takes a line of a header, with its end.
func (m *scanner) headerLine(line []byte) {
	text := bytes.TrimRight(line, "\r\n")
	name, _, found := bytes.Cut(text, []byte(":"))
	switch {
	case len(text) == 0:
		m.endHeader()
	case (text[0] == ' ' || text[0] == '\t') && len(m.field) > 0:
		m.field = append(append(m.field, '\n'), text...)
	case found && field.ValidName(strings.TrimRight(string(name), " \t")):
		m.endField()
		m.field = append(m.field, text...)
	default: // the message has begun without an empty line
		m.endHeader()
		for len(line) > 0 && !m.settled() {
			line = m.body(line)
		}
	}
}

// endField shows the milter a field.
func (m *scanner) endField() {
	if len(m.field) == 0 || m.settled() {
		return
	}
	if len(m.field) > maxField {
		m.refuse("field too long")
		return
	}
	name, value, _ := strings.Cut(string(m.field), ":")
	name = strings.TrimRight(name, " \t")
	m.mods.counts[strings.ToLower(name)]++
	m.field = m.field[:0]
	m.send(func() (*milter.Action, error) {
		return m.l.ms.HeaderField(name, strings.ReplaceAll(strings.TrimPrefix(value, " "), "\x00", "?"))
	})
}

func (m *scanner) endHeader() {
	m.endField()
	m.inBody = true
	if !m.settled() {
		m.send(m.l.ms.HeaderEnd)
	}
}

// send has a command done, and settles the message by its answer.
func (m *scanner) send(f func() (*milter.Action, error)) {
	act, err := m.l.command(m.ctx, f)
	if err == nil {
		m.verdict, err = m.l.message(act)
	}
	m.err = err
}

// body takes the piece of a body at the start of p, and returns the rest.
func (m *scanner) body(p []byte) (rest []byte) {
	end := bytes.IndexByte(p, '\n')
	n := end
	if end < 0 {
		n = len(p)
	}
	n = min(n, chunkSize)
	m.chunk = append(m.chunk, p[:n]...)
	if n == end {
		m.chunk = append(m.chunk, "\r\n"...)
		n++
	}
	if len(m.chunk) >= chunkSize-2 {
		m.flush()
	}
	return p[n:]
}

func (m *scanner) flush() {
	if len(m.chunk) > 0 && !m.settled() {
		m.send(func() (*milter.Action, error) { return m.l.ms.BodyChunk(m.chunk) })
	}
	m.chunk = m.chunk[:0]
}

// End ends the message, and gives the milter's verdict.
func (m *scanner) End() (sqmail.Verdict, error) {
	if !m.inBody && !m.settled() {
		if len(m.line) > 0 {
			m.headerLine(m.line)
		}
		if !m.inBody && !m.settled() {
			m.endHeader()
		}
	}
	m.flush()
	var v sqmail.Verdict
	if !m.settled() {
		v, m.err = m.end()
	}
	switch {
	case m.err != nil && (m.l.failed != nil || errors.Is(m.err, errCannot)):
		return v, m.err // told before, or asked and not to be passed over
	case m.err != nil:
		return m.l.unasked(m.ctx, m.err)
	case m.verdict.Action >= sqmail.ActionDefer:
		return m.verdict, nil
	}
	return v, nil
}

// end has the milter decide.
func (m *scanner) end() (sqmail.Verdict, error) {
	var mods []milter.ModifyAction
	var act *milter.Action
	err := m.l.conn.do(m.ctx, m.l.f.endTimeout(), func() (err error) {
		mods, act, err = m.l.ms.End()
		return err
	})
	if err != nil {
		return sqmail.Verdict{}, err
	}
	m.l.told, m.l.inMessage = greeted, false
	v, err := verdict(act)
	if err != nil || v.Action >= sqmail.ActionDefer {
		return v, err
	}
	for i := range mods {
		m.mods.apply(&mods[i])
	}
	undone := strings.Join(m.mods.undone, ", ")
	if undone != "" && (!m.l.f.IgnoreChanges || slices.Contains(m.mods.undone, quarantine)) {
		return v, fmt.Errorf("%w: %s", errCannot, undone)
	}
	if undone != "" {
		v.Rule = "left undone: " + undone
	}
	if len(m.mods.header) > 0 {
		v.Action, v.Header = sqmail.ActionTag, string(m.mods.header)
	}
	return v, nil
}

var errCannot = errors.New("milter: it wants what cannot be done")

// Close does nothing: the connection is the session's. If the message was
// broken off the milter hears of it before the next one.
func (m *scanner) Close() {}
