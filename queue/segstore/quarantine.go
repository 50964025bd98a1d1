package segstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
)

// damaged reports whether an error of read means that the message cannot ever
// be read.
func damaged(err error) bool {
	return errors.Is(err, errCorrupt) || errors.Is(err, fs.ErrNotExist)
}

// putAside takes a damaged message out of the queue: what there is of it is
// saved in the quarantine.
func (s *Store) putAside(id queue.ID, cause error) error {
	if err := s.own(context.Background(), id); err != nil {
		return err
	}
	defer s.disown(id)
	s.index.Lock()
	slot, ok := s.index.Find(id)
	if !ok {
		s.index.Unlock()
		return queue.ErrNotFound
	}
	w := s.locate(slot)
	s.index.Unlock()
	defer s.unpin(slices.Collect(maps.Values(w.pinned))...)
	s.log.Error("queue: damaged message put aside", "message", id, "err", cause)
	if g := w.pinned[w.meta.msg.seq]; g != nil {
		r := region{int64(w.meta.msg.off), int64(w.meta.msg.off) + int64(w.meta.msgLen)}
		s.saveRegion(g, r)
		if w.file.number == 0 && spoolfs.Unreadable(cause) {
			s.loseRegions(g, []region{r}) // the disk may give it another day
		}
	}
	if err := s.saveBody(w.file); err != nil {
		return err
	}
	if err := s.finish(id); err != nil {
		return err
	}
	s.quarantined.Add(1)
	return nil
}

// saveBody moves a body to the quarantine, durably: a message that has ended has
// no body, and what is found where bodies are is removed at a start.
func (s *Store) saveBody(file bodyFile) error {
	if file.number == 0 {
		return nil
	}
	path := s.bodyPath(file.number)
	if !s.saveFile(path) {
		return errNotSaved
	}
	return errors.Join(s.fs.SyncDir(filepath.Join(s.dir, "quarantine")), s.fs.SyncDir(filepath.Dir(path)))
}

var errNotSaved = errors.New("segstore: the message could not be put aside")

// saveRegion copies a part of a segment to the quarantine.
func (s *Store) saveRegion(g *segment, r region) {
	buf := make([]byte, r.to-r.from)
	n, _ := g.f.ReadAt(buf, r.from)
	s.saveBytes(fmt.Sprintf("segment-%d-%d", g.seq, r.from), buf[:n])
}

func (s *Store) saveBytes(name string, p []byte) {
	path := filepath.Join(s.dir, "quarantine", name)
	f, err := s.fs.Create(path, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return // saved at an earlier start
	}
	if err == nil {
		_, err = f.WriteAt(p, 0)
		err = errors.Join(err, f.Datasync(), f.Close())
	}
	if err != nil {
		s.fs.Remove(path)
		s.log.Error("queue: cannot save what is damaged", "file", path, "err", err)
	}
}

// quarantinePath returns a file's name in the quarantine.
func (s *Store) quarantinePath(path string) string {
	return filepath.Join(s.dir, "quarantine", fmt.Sprintf("%s-%d", filepath.Base(path), time.Now().Unix()))
}

// saveFile moves a file to the quarantine, and reports whether it is gone.
func (s *Store) saveFile(path string) bool {
	if err := s.fs.Rename(path, s.quarantinePath(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("queue: cannot put a file aside", "file", path, "err", err)
		return false
	}
	return true
}

// scanQuarantine reports what was put aside.
func (s *Store) scanQuarantine(yield func(*queue.Entry, error) bool) {
	names, err := s.fs.ReadDir(filepath.Join(s.dir, "quarantine"))
	if err != nil {
		yield(nil, storageError("scan", err))
		return
	}
	for _, name := range names {
		if !yield(nil, storageError("scan", fmt.Errorf("quarantine/%s: %w, put aside", name, errCorrupt))) {
			return
		}
	}
}
