package segstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue/segstore"
)

const sector = 4096

// bad is a part of a disk that cannot be read.
type bad struct {
	file     string
	from, to int64 // 0, 0: the file cannot even be opened
	content  []byte
	around   []byte // with the ends of the records that overlap it
}

func (b *bad) read(name string, from, to int64) error {
	whole := b.to == 0 && from == to
	if filepath.Base(name) == filepath.Base(b.file) && (whole || from < b.to && to > b.from) {
		return syscall.EIO
	}
	return nil
}

// badPlaces returns each sector of each file of a store, and each file.
func badPlaces(disk *crashfs.FS) (places []*bad) {
	for _, dir := range []string{"/queue/segments", "/queue"} {
		names, _ := disk.ReadDir(dir)
		for _, name := range names {
			f, err := disk.Open(filepath.Join(dir, name))
			if err != nil || name == "lock" {
				continue
			}
			size, _ := f.Size()
			all := make([]byte, size)
			f.ReadAt(all, 0)
			if dir == "/queue" {
				places = append(places, &bad{file: filepath.Join(dir, name)})
			}
			if dir == "/queue/segments" {
				places = append(places, &bad{filepath.Join(dir, name), 0, 0, all, all}, &bad{filepath.Join(dir, name), 0, 2 * sector, all, all})
			}
			for off := int64(0); off < size; off += sector {
				end := min(off+sector, size)
				places = append(places, &bad{filepath.Join(dir, name), off, end, all[off:end], all[max(off-400, 0):min(end+100, size)]})
			}
		}
	}
	return places
}

// TestEverySectorIsUnreadable lives the life, and now and then looks at what
// becomes of the store when the process dies and one sector, or one file, cannot
// be read: the others are there, no number is given twice, nothing that is on
// the disk is removed, and nothing comes back when it can be read again.
func TestEverySectorIsUnreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		disk := &crashfs.FS{}
		l := newLife(disk, false)
		l.churns = 1
		rests, points := 0, 0
		l.rest = func() {
			rests++
			losses := []crashfs.Loss{crashfs.KeepAll, crashfs.LoseAll, crashfs.TearBlocks}
			for _, b := range badPlaces(disk.Crash(crashfs.KeepAll, 1)) {
				image := disk.Crash(losses[(rests+points)%3], uint64(points))
				if rests%2 == 0 {
					image.Remove("/queue/checkpoint")
				}
				points++
				if err := l.ledger.endures(image, b, points%2 == 0); err != nil && !t.Failed() {
					t.Errorf("at rest %d, %s cannot be read from %d to %d: %v", rests, b.file, b.from, b.to, err)
				}
			}
		}
		l.live()
		l.store.Close()
		t.Logf("%d places could not be read", points)
	})
}

// endures opens what a crash has left, of which a part cannot be read. If that
// heals the disk is well again after the store was opened once, and closed.
func (l *ledger) endures(image *crashfs.FS, b *bad, heals bool) error {
	image.Unreadable = b.read
	var log bytes.Buffer
	o := segstore.TinyQuiet(image)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if heals {
		s, err := segstore.Open("/queue", o)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		if err := errors.Join(s.Loaded(ctx), s.Close()); err != nil {
			return err
		}
		image.Unreadable = nil
	}
	back, probe, err := l.enduresOnce(o, &log, b, nil)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, log.Bytes())
	}
	if !b.kept(image) {
		return fmt.Errorf("the content is not kept\n%s", log.Bytes())
	}
	for _, healed := range []bool{false, true} {
		if healed {
			image.Unreadable = nil
		}
		again, _, err := l.enduresOnce(o, &log, b, probe)
		if err != nil {
			return fmt.Errorf("opened again (can be read: %v): %w\n%s", healed, err, log.Bytes())
		}
		for f := range again {
			if !back[f] {
				return fmt.Errorf("opened again (can be read: %v): message %s came back\n%s", healed, f.key, log.Bytes())
			}
		}
	}
	return nil
}

// enduresOnce returns which messages came back whose end was recorded in the
// part that cannot be read. One is written to it, and the house is kept.
func (l *ledger) enduresOnce(o *segstore.Options, log *bytes.Buffer, b *bad, probe *fact) (back map[*fact]bool, _ *fact, err error) {
	s, err := segstore.Open("/queue", o)
	if err != nil {
		return nil, nil, fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	if err := s.Loaded(ctx); err != nil {
		return nil, nil, fmt.Errorf("load: %w", err)
	}
	back = make(map[*fact]bool)
	found := make(map[string]bool)
	var told []string
	for e, err := range s.Scan(ctx) {
		if err != nil {
			told = append(told, err.Error()) // that it is there, and cannot be read now
			continue
		}
		f := l.facts[e.Envelope.EnvelopeID]
		if e.Envelope.EnvelopeID == "probe" {
			continue
		}
		if f == nil || found[f.key] {
			return nil, nil, fmt.Errorf("message %v (%q) was never committed, or is there twice", e.ID, e.Envelope.EnvelopeID)
		}
		found[f.key] = true
		if f.ended {
			back[f] = true
		}
	}
	for _, f := range l.facts {
		aside := strings.Contains(log.String(), fmt.Sprintf("damaged message put aside\" message=%v ", f.id))
		asked := func(text string) bool { return strings.Contains(text, fmt.Sprintf("message %v: ", f.id)) }
		if f.must() && !found[f.key] && !b.has(f.key) && !aside && (b.whole() || !slices.ContainsFunc(told, asked)) {
			return nil, nil, fmt.Errorf("message %s (%v) is lost", f.key, f.id)
		}
	}
	if most := int(max(b.to-b.from, 1)+sector*6*2) / 48; len(back) > most {
		return nil, nil, fmt.Errorf("%d messages came back", len(back))
	}
	last := l.lastID
	if probe != nil {
		l.lastID = max(last, probe.id)
	}
	next, err := l.probe(s)
	l.lastID = last
	if err != nil {
		return nil, nil, err
	}
	for range 12 { // until what cannot be read is given up
		s.KeepHouse()
	}
	return back, next, nil
}

// has reports whether something of a message is in the part that cannot be
// read.
func (b *bad) has(key string) bool {
	return bytes.Contains(b.around, []byte(key))
}

// whole reports whether nothing of the file can be had.
func (b *bad) whole() bool { return b.from == 0 && b.to != sector && strings.HasSuffix(b.file, ".seg") }

// kept reports whether the content of the part is still somewhere.
func (b *bad) kept(disk *crashfs.FS) bool {
	if !strings.HasSuffix(b.file, ".seg") || b.from < 2*sector {
		return true // made anew, or maybe in no use
	}
	image := disk.Crash(crashfs.KeepAll, 1)
	for _, dir := range []string{"/queue/segments", "/queue/quarantine"} {
		names, _ := image.ReadDir(dir)
		for _, name := range names {
			if !strings.HasPrefix(name, filepath.Base(b.file)) {
				continue
			}
			f, err := image.Open(filepath.Join(dir, name))
			if err != nil {
				return false
			}
			have := make([]byte, len(b.content))
			f.ReadAt(have, b.from)
			return bytes.Equal(have, b.content)
		}
	}
	return false
}
