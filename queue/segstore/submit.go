package segstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
)

// A drop file is a head, the body, and the meta of a message record. It has
// its name when it is whole.
const (
	dropMagic   = "sqmailD1"
	dropHeadLen = 64
	dropSuffix  = ".msg"
	dropPart    = ".new" // being written

	maxDropMeta = 64 << 20 // it is read into memory; some 500,000 recipients
)

// dropHead is the beginning of a drop file.
type dropHead struct {
	flags   uint8
	body    int64
	bodyCRC uint32
	meta    int64
	metaCRC uint32
}

func (h *dropHead) encode() []byte {
	b := make([]byte, dropHeadLen)
	copy(b, dropMagic)
	le := binary.LittleEndian
	b[8] = h.flags
	le.PutUint64(b[16:], uint64(h.body))
	le.PutUint64(b[24:], uint64(h.meta))
	le.PutUint32(b[32:], h.bodyCRC)
	le.PutUint32(b[36:], h.metaCRC)
	le.PutUint32(b[60:], checksum(b[:60]))
	return b
}

func parseDropHead(b []byte) (h dropHead, ok bool) {
	le := binary.LittleEndian
	if len(b) < dropHeadLen || string(b[:8]) != dropMagic || le.Uint32(b[60:]) != checksum(b[:60]) {
		return h, false
	}
	h = dropHead{flags: b[8], body: int64(le.Uint64(b[16:])), meta: int64(le.Uint64(b[24:])), bodyCRC: le.Uint32(b[32:]), metaCRC: le.Uint32(b[36:])}
	return h, h.body >= 0 && h.body <= math.MaxInt64/2 && h.meta >= 0 && h.meta <= maxDropMeta
}

var errEnvelopeSize = &sqmail.Error{Op: "submit", Class: sqmail.Rejection, Reply: sqmail.Reply{
	Code: 552, Enhanced: sqmail.EnhancedCode{5, 5, 3}, Text: "too many recipients, or too long a path"}}

// pathsFit reports whether no path is longer than any server would take.
func pathsFit(env *sqmail.Envelope) bool {
	fits := func(p sqmail.Path) bool { return len(p.Local)+len(p.Domain) < sqmail.MaxPath }
	return fits(env.ReversePath) && !slices.ContainsFunc(env.Recipients, func(r sqmail.Recipient) bool { return !fits(r.Path) })
}

var errReplaces = errors.New("segstore: a dropped message cannot replace another")

// Submit leaves a message for the store in a directory, whether a process has
// it open or not: in the store's drop directory, from where it is taken in at
// once, where the kernel tells of new files (Linux), else within a second or
// two; or when the store is opened. When Submit returns nil the message is
// durable; it gets its number later.
//
// Any user who may write to the drop directory can submit, and nobody but the
// owner of the store and its group can read what others have submitted; that
// group should have no other members. Errors are as those
// of [queue.Draft.Commit]. A submission cannot replace a message.
func Submit(ctx context.Context, dir string, sub queue.Submission, body io.Reader) error {
	return submit(ctx, spoolfs.Disk{}, dir, sub, body)
}

func submit(ctx context.Context, files spoolfs.FS, dir string, sub queue.Submission, body io.Reader) error {
	if sub.Envelope == nil || len(sub.Envelope.Recipients) == 0 {
		return errNoRecipient
	}
	if sub.Replaces != 0 {
		return errReplaces
	}
	if !pathsFit(sub.Envelope) {
		return errEnvelopeSize
	}
	var token [16]byte
	rand.Read(token[:])
	drop := filepath.Join(dir, "drop")
	path := filepath.Join(drop, hex.EncodeToString(token[:]))
	f, err := files.Create(path+dropPart, 0o640)
	if err != nil {
		return storageError("submit", err)
	}
	defer f.Close()
	if err = writeDrop(ctx, f, sub, body); err == nil {
		err = f.Datasync()
	}
	if err == nil {
		err = files.Rename(path+dropPart, path+dropSuffix)
	}
	if err != nil {
		files.Remove(path + dropPart)
		return submitError(err)
	}
	if err := syncDrop(files, drop, f); err != nil {
		files.Remove(path + dropSuffix)
		return storageError("submit", err)
	}
	return nil
}

// submitError leaves an error of the body as it is: it may be a verdict.
func submitError(err error) error {
	if b, ok := errors.AsType[bodyError](err); ok {
		return b.error
	}
	return storageError("submit", err)
}

type bodyError struct{ error }

// syncDrop makes the names in the drop directory durable. A user who cannot
// read the directory cannot sync it either, but the file system as a whole.
func syncDrop(files spoolfs.FS, drop string, f spoolfs.File) error {
	err := files.SyncDir(drop)
	if all, ok := f.(interface{ SyncAll() error }); ok && errors.Is(err, fs.ErrPermission) {
		return all.SyncAll()
	}
	return err
}

// writeDrop writes a drop file, its head last.
func writeDrop(ctx context.Context, f spoolfs.File, sub queue.Submission, body io.Reader) error {
	w := &dropWriter{w: io.NewOffsetWriter(f, dropHeadLen)}
	buf := make([]byte, fileBuffer)
	if _, err := io.CopyBuffer(w, &bodyReader{ctx, body}, buf); err != nil {
		return err
	}
	if sub.Arrived.IsZero() {
		sub.Arrived = time.Now()
	}
	h := dropHead{body: w.size, bodyCRC: w.sum}
	if sub.Held {
		h.flags |= flagHeld
	}
	if len(sub.Journal) > 0 {
		h.flags |= flagFull | flagTried
	}
	meta, _ := encodeMessage(&message{arrived: sub.Arrived, due: sub.Due, env: *sub.Envelope, journal: sub.Journal}, h.flags)
	if len(meta) > maxDropMeta {
		return errEnvelopeSize
	}
	h.meta, h.metaCRC = int64(len(meta)), checksum(meta)
	if _, err := f.WriteAt(meta, dropHeadLen+h.body); err != nil {
		return err
	}
	_, err := f.WriteAt(h.encode(), 0)
	return err
}

// dropWriter counts and sums up what is written.
type dropWriter struct {
	w    io.Writer
	size int64
	sum  uint32
}

func (w *dropWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.size += int64(n)
	w.sum = crc32.Update(w.sum, castagnoli, p[:n])
	return n, err
}

// bodyReader marks the errors of the body, and ends with the context.
type bodyReader struct {
	ctx  context.Context
	body io.Reader
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, bodyError{err}
	}
	n, err := r.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyError{err}
	}
	return n, err
}

// dropMessage reads the meta of a drop file.
func dropMessage(f spoolfs.File) (h dropHead, m message, err error) {
	head, err := readPart(f, 0, dropHeadLen)
	if err != nil {
		return h, m, err
	}
	h, ok := parseDropHead(head)
	if !ok {
		return h, m, errCorrupt
	}
	meta, err := readPart(f, dropHeadLen+h.body, h.meta)
	if err != nil {
		return h, m, err
	}
	if checksum(meta) != h.metaCRC {
		return h, m, errCorrupt
	}
	d := decoder{b: meta}
	m = d.head(h.flags &^ (flagUnique | flagFile | flagMeta))
	m.env = d.envelope()
	if h.flags&flagFull != 0 {
		m.journal = d.journal()
	}
	if m.replaces != 0 || len(m.env.Recipients) == 0 || !pathsFit(&m.env) {
		d.fail()
	}
	return h, m, d.err
}
