package segstore

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/sqmail/sqmail/queue"
)

// Verify reads every message in a store as a whole, and yields its number with
// what is wrong with it, nil if nothing is. What Scan cannot read, or has put
// aside, comes with number 0; the error names it. It works on a store in use; a
// message that leaves meanwhile is left out.
func Verify(ctx context.Context, store queue.Store) iter.Seq2[queue.ID, error] {
	return func(yield func(queue.ID, error) bool) {
		for e, err := range store.Scan(ctx) {
			var id queue.ID
			if err == nil {
				id, err = e.ID, verify(ctx, store, e.ID)
			}
			if errors.Is(err, queue.ErrNotFound) {
				continue
			}
			if !yield(id, err) {
				return
			}
		}
	}
}

func verify(ctx context.Context, store queue.Store, id queue.ID) error {
	m, err := store.Open(ctx, id)
	if err != nil {
		return err
	}
	defer m.Close()
	n, err := io.Copy(io.Discard, io.NewSectionReader(m.Content, 0, m.Size))
	if err == nil && n != m.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// The names in an archive, behind the message's number.
const (
	entrySuffix   = ".json"
	contentSuffix = ".eml"
)

// Export writes the messages of a store as a tar archive: for each a file
// NUMBER.json with its [queue.Entry], and NUMBER.eml with its content. It
// returns how many there are in it. A message that cannot be read is left
// out, and the error tells of it; an error of w ends the export.
//
// Messages stay in the store. To move them, hold them first: what is delivered
// after it was exported is delivered again from where it is imported.
func Export(ctx context.Context, store queue.Store, w io.Writer) (int, error) {
	out := tar.NewWriter(w)
	var unreadable []error
	n := 0
	for e, err := range store.Scan(ctx) {
		var written error
		if err == nil {
			err, written = export(ctx, store, e.ID, out)
		}
		switch {
		case written != nil:
			return n, written
		case ctx.Err() != nil:
			return n, ctx.Err()
		case err == nil:
			n++
		case !errors.Is(err, queue.ErrNotFound) && len(unreadable) < 100:
			unreadable = append(unreadable, err)
		}
	}
	return n, errors.Join(append(unreadable, out.Close())...)
}

// export writes a message. It tells the errors of reading and writing apart.
func export(ctx context.Context, store queue.Store, id queue.ID, out *tar.Writer) (read, written error) {
	m, err := store.Open(ctx, id)
	if err != nil {
		return err, nil
	}
	defer m.Close()
	entry, err := json.Marshal(m.Entry)
	if err != nil {
		return err, nil
	}
	name := m.ID.String()
	if err := putFile(out, name+entrySuffix, m, int64(len(entry)), bytes.NewReader(entry)); err != nil {
		return nil, err
	}
	return nil, putFile(out, name+contentSuffix, m, m.Size, io.NewSectionReader(m.Content, 0, m.Size))
}

func putFile(out *tar.Writer, name string, m *queue.Message, size int64, r io.Reader) error {
	err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: m.Arrived, Format: tar.FormatPAX})
	if err == nil {
		_, err = io.Copy(out, r)
	}
	return err
}

// maxEntry bounds the JSON of one message.
const maxEntry = 256 << 20

var errArchive = errors.New("segstore: not an archive that Export makes")

// Import commits the messages of an archive that [Export] has made to a store,
// and returns how many. They get new numbers, and keep all else: envelope,
// time of arrival, due time, journal, and whether they are held. It ends at
// the first error; the messages before it are durable.
func Import(ctx context.Context, store queue.Store, r io.Reader) (int, error) {
	in := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if err := importMessage(ctx, store, in, h); err != nil {
			return n, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func importMessage(ctx context.Context, store queue.Store, in *tar.Reader, h *tar.Header) error {
	name, found := strings.CutSuffix(h.Name, entrySuffix)
	if !found || h.Size > maxEntry {
		return errArchive
	}
	var e queue.Entry
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	h, err = in.Next()
	if err != nil || h.Name != name+contentSuffix {
		return errors.Join(errArchive, err)
	}
	head := make([]byte, len(e.Envelope.Header))
	if _, err := io.ReadFull(in, head); err != nil || !bytes.Equal(head, e.Envelope.Header) {
		return errors.Join(errArchive, err)
	}
	return commitEntry(ctx, store, &e, in)
}

// commitEntry commits a message with the state it had.
func commitEntry(ctx context.Context, store queue.Store, e *queue.Entry, body io.Reader) error {
	d, err := store.Begin(ctx)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.Copy(d, body); err != nil {
		return err
	}
	_, err = d.Commit(ctx, queue.Submission{Envelope: &e.Envelope, Arrived: e.Arrived, Due: e.Due, Held: e.Held, Journal: e.Journal})
	return err
}
