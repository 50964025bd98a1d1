package segstore

import (
	"context"
	"errors"
	"io"

	"github.com/sqmail/sqmail/queue"
)

// content is the header fields of the envelope, followed by the body.
type content struct {
	head []byte
	body io.ReaderAt
	off  int64 // of the body
	size int64
}

var errOffset = errors.New("segstore: negative offset")

// ReadAt implements [io.ReaderAt].
func (c *content) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errOffset
	}
	if off < int64(len(c.head)) {
		n = copy(p, c.head[off:])
	}
	rest := p[n:]
	at := max(off+int64(n)-int64(len(c.head)), 0)
	if left := c.size - at; int64(len(rest)) > left {
		rest, err = rest[:max(left, 0)], io.EOF
	}
	if len(rest) > 0 {
		m, readErr := c.body.ReadAt(rest, c.off+at)
		n += m
		if m < len(rest) {
			err = readErr
		}
	}
	return n, err
}

// open looks a message up and reads it.
func (s *Store) open(id queue.ID, verify bool) (*opened, error) {
	s.index.Lock()
	if err := s.index.Err(); err != nil {
		s.index.Unlock()
		return nil, err
	}
	slot, ok := s.index.Find(id)
	if !ok {
		s.index.Unlock()
		return nil, queue.ErrNotFound
	}
	w := s.locate(slot)
	s.index.Unlock()
	o, err := s.read(w, verify)
	if err != nil && !s.has(id) { // it left while it was read
		return nil, queue.ErrNotFound
	}
	return o, err
}

func (s *Store) has(id queue.ID) bool {
	s.index.Lock()
	defer s.index.Unlock()
	_, ok := s.index.Find(id)
	return ok
}

// Open implements [queue.Store].
func (s *Store) Open(ctx context.Context, id queue.ID) (*queue.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.known(ctx, id); err != nil {
		return nil, err
	}
	o, err := s.open(id, true)
	if err != nil {
		return nil, wrapRead(err)
	}
	return &queue.Message{Entry: &o.Entry, Content: &o.content, Closer: &closer{o}}, nil
}

func wrapRead(err error) error {
	if errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrClosed) {
		return err
	}
	return storageError("open", err)
}

// closer closes once.
type closer struct{ o *opened }

func (c *closer) Close() error {
	if c.o != nil {
		c.o.close()
		c.o = nil
	}
	return nil
}
