package scan

import (
	"bytes"
	"context"
	"io"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/internal/spool"
)

// spooled is a scanner that puts the message by, and asks when it is complete.
type spooled struct {
	ctx  context.Context
	s    *filter.Session
	file *spool.File
	max  int64
	ask  func(m *spooled) (sqmail.Verdict, error)
	long bool // the message is longer than max
}

func newSpooled(ctx context.Context, s *filter.Session, dir string, maxSize int64, ask func(*spooled) (sqmail.Verdict, error)) (filter.Scanner, error) {
	file, err := spool.CreateNameless(dir)
	if err != nil {
		return nil, err
	}
	return &spooled{ctx: ctx, s: s, file: file, max: maxSize, ask: ask}, nil
}

// Write puts a piece by, until the message is too long.
func (m *spooled) Write(p []byte) (int, error) {
	if m.long = m.long || m.file.Size()+int64(len(p)) > m.max; m.long {
		return len(p), nil
	}
	return m.file.Write(p)
}

// End asks about the message.
func (m *spooled) End() (sqmail.Verdict, error) {
	if m.long {
		return sqmail.Verdict{Rule: "longer than MaxSize"}, nil
	}
	return m.ask(m)
}

// Close removes the file.
func (m *spooled) Close() { m.file.Close() }

// message returns the header fields that stand before the message, and the
// message, with their length.
func (m *spooled) message() (r io.Reader, size int64) {
	header := m.envelope().Header
	return io.MultiReader(bytes.NewReader(header), m.file.Reader()), int64(len(header)) + m.file.Size()
}

func (m *spooled) envelope() *sqmail.Envelope {
	if m.s.Envelope == nil {
		return new(sqmail.Envelope)
	}
	return m.s.Envelope
}
