package wire

import "io"

// ChunkReader reads a message that comes in BDAT chunks (RFC 3030), with LF for
// CRLF. A CRLF may be cut in two by the end of a chunk.
//
// Read returns io.EOF at the end of each chunk, which is not final: after
// [ChunkReader.Next] it reads on. Other errors are final, as with [DotReader].
type ChunkReader struct {
	chunk chunk
	text  TextReader
}

// NewChunkReader returns a reader without a chunk: call Next first.
func NewChunkReader(r *Reader, bare Policy) *ChunkReader {
	c := &ChunkReader{chunk: chunk{r: r}}
	c.text = TextReader{src: &c.chunk, dec: decoder{bare: bare}, err: io.EOF}
	return c
}

// Next begins a chunk of exactly size octets. last says that the message ends
// with it: a CR at its end is then a bare CR. What is unread of the chunk
// before is skipped.
func (c *ChunkReader) Next(size int64, last bool) error {
	if err := c.Skip(); err != nil {
		return err
	}
	c.chunk.left = size
	c.text.last = last
	if c.text.err == io.EOF {
		c.text.err = nil
	}
	return nil
}

// Skip reads and drops the rest of the chunk, as a server must before it can
// answer a BDAT that it does not want.
func (c *ChunkReader) Skip() error {
	err := c.chunk.r.Discard(c.chunk.left)
	c.chunk.left = 0
	return err
}

// Left returns how many octets of the chunk have not been read from the peer.
func (c *ChunkReader) Left() int64 { return c.chunk.left }

// Read reads up to len(p) octets of the chunk.
func (c *ChunkReader) Read(p []byte) (int, error) { return c.text.Read(p) }

// WriteTo writes the rest of the chunk to w in large pieces.
func (c *ChunkReader) WriteTo(w io.Writer) (int64, error) { return copyBulk(w, c) }

// chunk reads exactly left octets.
type chunk struct {
	r    *Reader
	left int64
}

func (c *chunk) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, unexpected(err)
}
