package transfer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/sqmail/sqmail/queue"
)

// The stream is lines with a JSON object, and messages as they are:
//
//	{"format":"sqmail-queue","version":1}
//	{"id":7,"key":"…","size":1234,"submission":{"envelope":{…},"arrived":…,"due":…,"held":…,"journal":[…]}}
//	(1234 octets, and a line feed)
//	{"sha256":"…"}
//	…
//	{"end":true,"messages":1}
//
// A message that could not be read to its end is filled up with zeros, and has
// {"void":"why"} behind it. Fields that a reader does not know are passed over. docs/operators.md says
// this to people.
type (
	streamHead struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	messageHead struct {
		ID         queue.ID         `json:"id,omitempty"`
		Key        Key              `json:"key"`
		Size       int64            `json:"size"`
		Submission queue.Submission `json:"submission"`
	}
	messageTail struct {
		SHA256 string `json:"sha256,omitempty"`
		Void   string `json:"void,omitempty"` // why this is not the message
	}
	streamTail struct {
		End      bool `json:"end"`
		Messages int  `json:"messages"`
	}
)

const (
	format  = "sqmail-queue"
	version = 1

	// maxLine bounds the lines: there is room for some hundred thousand
	// recipients.
	maxLine = 256 << 20
)

// Writer writes messages to a stream. It is used by one goroutine.
type Writer struct {
	w     *bufio.Writer
	begun bool
	n     int
	err   error
}

// NewWriter returns a Writer to w. Nothing is written before the first Write
// or Close.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 256<<10)} }

// Write writes a message, whose content has e.Size octets. If the content
// cannot be read that is the error, and others can be written still. An error
// of the stream is final.
func (w *Writer) Write(e *queue.Entry, content io.ReaderAt) error {
	if w.err != nil {
		return w.err
	}
	head := messageHead{ID: e.ID, Key: KeyOfEntry(e), Size: e.Size, Submission: submissionOf(e)}
	text, err := json.Marshal(head)
	if err == nil && len(text) >= maxLine {
		err = fmt.Errorf("transfer: message %v: the envelope is too large", e.ID)
	}
	if err != nil {
		return err // nothing has been written of it
	}
	// Of most messages it is known before the first octet is written whether
	// they can be read.
	first := make([]byte, min(e.Size, readAhead))
	if _, err := io.ReadFull(io.NewSectionReader(content, 0, e.Size), first); err != nil {
		return err
	}
	w.begin()
	w.write(append(text, '\n'))
	sum := sha256.New()
	sum.Write(first)
	w.write(first)
	tail := messageTail{}
	err = w.rest(io.NewSectionReader(content, int64(len(first)), e.Size-int64(len(first))), sum)
	if err != nil {
		tail.Void = err.Error()
	} else {
		tail.SHA256 = hex.EncodeToString(sum.Sum(nil))
	}
	w.write([]byte{'\n'})
	w.line(tail)
	w.n++
	if w.err != nil {
		return w.err
	}
	return err
}

// readAhead is how much of a message is read before anything is written.
const readAhead = 256 << 10

// rest writes what is left of a message, zeros for what cannot be read.
func (w *Writer) rest(from *io.SectionReader, sum io.Writer) (err error) {
	buf := make([]byte, min(from.Size(), readAhead))
	for left := from.Size(); left > 0 && w.err == nil; {
		part := buf[:min(left, readAhead)]
		if err == nil {
			_, err = io.ReadFull(from, part)
		}
		if err != nil {
			clear(part)
		}
		sum.Write(part)
		w.write(part)
		left -= int64(len(part))
	}
	return err
}

// submissionOf returns what is known of a message. Its header fields stand in
// its content already.
func submissionOf(e *queue.Entry) queue.Submission {
	env := e.Envelope
	env.Header = nil
	return queue.Submission{Envelope: &env, Arrived: e.Arrived, Due: e.Due, Held: e.Held, Journal: e.Journal}
}

// Err returns the error of the stream, nil if it can be written to.
func (w *Writer) Err() error { return w.err }

// Close writes the end of the stream; it does not close what it writes to.
func (w *Writer) Close() error {
	w.begin()
	w.line(streamTail{true, w.n})
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

func (w *Writer) begin() {
	if !w.begun {
		w.begun = true
		w.line(streamHead{format, version})
	}
}

func (w *Writer) line(v any) {
	text, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.write(append(text, '\n'))
}

func (w *Writer) write(p []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(p)
	}
}
