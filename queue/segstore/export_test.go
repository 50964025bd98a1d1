package segstore

import (
	"context"
	"encoding/binary"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// Small returns options for a store on fs whose segments, bodies and
// checkpoints are small enough that a few messages fill them.
func Small(fs spoolfs.FS) *Options {
	return &Options{fs: fs, segmentSize: 64 << 10, bodyMax: 8 << 10, logMax: 128 << 10}
}

// Tiny is smaller still: ten messages to a segment.
func Tiny(fs spoolfs.FS) *Options {
	return &Options{fs: fs, segmentSize: 24 << 10, bodyMax: 4 << 10, logMax: 20 << 10}
}

// TinyQuiet is Tiny without a keeper.
func TinyQuiet(fs spoolfs.FS) *Options {
	o := Tiny(fs)
	o.quiet = true
	return o
}

// SmallQuiet is Small without a keeper.
func SmallQuiet(fs spoolfs.FS) *Options {
	o := Small(fs)
	o.quiet = true
	return o
}

// Unread makes Open leave it to the loading to read all segments.
func (o *Options) Unread() *Options {
	o.openMax = 1
	return o
}

// Paused makes the loading call pause before each of its stages: read, build,
// batch (after each), finish.
func (o *Options) Paused(pause func(stage string)) *Options {
	o.pause = pause
	return o
}

// TakeDrops takes in what is in the drop directory.
func (s *Store) TakeDrops() error { return s.drop.takeAll(context.Background()) }

// SubmitOn is Submit on another file system.
var SubmitOn = submit

// KeepHouse does the keeper's work.
func (s *Store) KeepHouse() { s.keepHouse() }

// Unsettled reports whether a segment waits to be cleaned before others are
// freed.
func (s *Store) Unsettled() bool {
	s.index.Lock()
	defer s.index.Unlock()
	return s.unsettled()
}

// Quiet returns options for a store without goroutines.
func Quiet() *Options { return &Options{quiet: true} }

// CleanAll ends the writing to all segments, and moves what is needed of them.
func (s *Store) CleanAll() {
	s.front.leave()
	s.rear.leave()
	var all []*segment
	s.index.Lock()
	for _, g := range s.segments {
		all = append(all, g)
	}
	s.index.Unlock()
	for _, g := range all {
		s.clean(g)
	}
	s.keepHouse()
}

// DraftMemory returns how many octets of memory drafts are charged for.
func (s *Store) DraftMemory() int64 { return s.memory.Load() }

// NewerLabel returns the label of a segment of the next version.
func NewerLabel() []byte {
	b := (&label{seq: 1}).encode()
	b[len(labelMagic)-1]++
	binary.LittleEndian.PutUint32(b[60:], checksum(b[:60]))
	return b
}
