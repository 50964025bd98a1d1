package transfer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
)

// Errors of Read. Both are final: nothing can be read behind them.
var (
	ErrFormat    = errors.New("transfer: not an export of a queue, or a damaged one")
	ErrTruncated = errors.New("transfer: the export has no end: a part of it is missing")
)

// errDigest is what the content of a message that was changed ends with.
var errDigest = errors.New("transfer: the message is not what was exported: its digest differs")

// Read yields the messages of a stream that a [Writer] has written, as it is
// read, and at last an error if the stream is not complete. The content of a
// message that was changed on the way ends with an error in place of io.EOF;
// those that follow are not affected.
func Read(r io.Reader) iter.Seq2[*Item, error] {
	return func(yield func(*Item, error) bool) {
		s := &stream{r: bufio.NewReaderSize(r, 256<<10)}
		var head streamHead
		if err := s.line(&head); err != nil {
			yield(nil, err)
			return
		}
		if head.Format != format {
			yield(nil, ErrFormat)
			return
		}
		if head.Version != version {
			yield(nil, fmt.Errorf("%w: it has version %d, not %d", ErrFormat, head.Version, version))
			return
		}
		for {
			item, body, err := s.next()
			if err != nil {
				yield(nil, err)
				return
			}
			if item == nil || !yield(item, nil) {
				return
			}
			if err := body.finish(); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// stream is what is being read.
type stream struct {
	r *bufio.Reader
	n int
}

// next returns the next message; nil at the end.
func (s *stream) next() (*Item, *body, error) {
	var line struct {
		messageHead
		streamTail
	}
	if err := s.line(&line); err != nil {
		return nil, nil, err
	}
	if line.End {
		if line.Messages != s.n {
			return nil, nil, fmt.Errorf("%w: %d messages, and there should be %d", ErrFormat, s.n, line.Messages)
		}
		return nil, nil, nil
	}
	if line.Size < 0 || line.Submission.Envelope == nil || line.Key == (Key{}) {
		return nil, nil, ErrFormat
	}
	s.n++
	b := &body{s: s, left: line.Size, sum: sha256.New()}
	return &Item{Name: "message " + line.ID.String(), Key: line.Key, Submission: line.Submission, Content: b}, b, nil
}

// line reads a JSON object.
func (s *stream) line(v any) error {
	var text []byte
	for {
		part, err := s.r.ReadSlice('\n')
		if text = append(text, part...); len(text) > maxLine {
			return fmt.Errorf("%w: a line is too long", ErrFormat)
		}
		if err == nil {
			break
		}
		if err == io.EOF {
			return ErrTruncated
		}
		if err != bufio.ErrBufferFull {
			return err
		}
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// body is the content of a message in the stream.
type body struct {
	s    *stream
	left int64
	sum  hash.Hash
	err  error // what Read says at the end
	bad  error // why the stream cannot go on
}

// Read checks the digest before it says that this was all.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		b.err = b.tail()
		return 0, b.err
	}
	n, err := b.s.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.sum.Write(p[:n])
	if err == io.EOF {
		err = ErrTruncated
	}
	if err != nil {
		b.err, b.bad = err, err
	}
	return n, err
}

// tail reads what stands behind the message.
func (b *body) tail() error {
	if c, err := b.s.r.ReadByte(); err != nil || c != '\n' {
		b.bad = ErrFormat
		if err == io.EOF {
			b.bad = ErrTruncated
		}
		return b.bad
	}
	var tail messageTail
	if b.bad = b.s.line(&tail); b.bad != nil {
		return b.bad
	}
	if tail.Void != "" {
		return fmt.Errorf("transfer: it could not be exported: %.200q", tail.Void)
	}
	if tail.SHA256 != hex.EncodeToString(b.sum.Sum(nil)) {
		return errDigest
	}
	return io.EOF
}

// finish reads what the caller has left of it.
func (b *body) finish() error {
	if b.err == nil {
		io.Copy(io.Discard, b) // the error is in b
	}
	return b.bad
}
