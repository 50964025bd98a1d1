package segstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

// A segment begins with its label, twice, in a page of its own each: if a
// crash tears one, the other is whole.
const (
	labelMagic  = "sqmailS1"
	labelLen    = 64
	labelPage   = 4096
	segmentBody = 2 * labelPage // where the records begin
)

// label says what use a segment file is in.
type label struct {
	seq    uint32 // counts the uses of all segments
	void   bool   // no use: there are no records
	nonce  uint64
	nextID uint64 // message numbers below were given before this use
	lsn    uint64 // and these log numbers
}

func (l *label) encode() []byte {
	b := make([]byte, labelLen)
	copy(b, labelMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], l.seq)
	if l.void {
		b[12] = 1
	}
	le.PutUint64(b[16:], l.nonce)
	le.PutUint64(b[24:], l.nextID)
	le.PutUint64(b[32:], l.lsn)
	le.PutUint32(b[60:], checksum(b[:60]))
	return b
}

func parseLabel(b []byte) (l label, ok bool) {
	le := binary.LittleEndian
	if len(b) < labelLen || string(b[:8]) != labelMagic || le.Uint32(b[60:]) != checksum(b[:60]) {
		return l, false
	}
	return label{seq: le.Uint32(b[8:]), void: b[12] != 0, nonce: le.Uint64(b[16:]), nextID: le.Uint64(b[24:]), lsn: le.Uint64(b[32:])}, true
}

var (
	errLabel = errors.New("segment has no readable label")
	errNewer = errors.New("segstore: the store was written by a newer version of this program")
)

// newer reports whether a label is whole, but of another version.
func newer(b []byte) bool {
	last := len(labelMagic) - 1
	return len(b) >= labelLen && string(b[:last]) == labelMagic[:last] && b[last] != labelMagic[last] &&
		binary.LittleEndian.Uint32(b[60:]) == checksum(b[:60])
}

// readLabel reads the younger of the two labels, and tells what of them cannot
// be read. One is enough: if the other is younger it is of a use that nothing
// was written in.
func readLabel(f spoolfs.File, p *retries) (l label, lost []region, err error) {
	var b [segmentBody]byte
	if lost, err = readAround(f, b[:], 0, p); err != nil {
		return l, nil, err
	}
	l, err = chooseLabel(f, &b, lost != nil)
	return l, lost, err
}

func chooseLabel(f spoolfs.File, b *[segmentBody]byte, lost bool) (label, error) {
	first, ok1 := parseLabel(b[:])
	second, ok2 := parseLabel(b[labelPage:])
	if newer(b[:]) || newer(b[labelPage:]) {
		return label{}, errNewer
	}
	young := first
	if !ok1 || ok2 && second.seq > first.seq {
		young = second
	}
	switch {
	case ok1 && ok2 && first != second:
		// A write was interrupted, and what we read may be in memory only.
		return young, writeLabel(f, &young)
	case ok1 || ok2:
		return young, nil
	case *b == [segmentBody]byte{} && !lost:
		return label{void: true}, nil // made, but never used
	}
	return label{}, errLabel
}

// writeLabel makes a segment one of this use; all it held is void from then
// on, durably. The labels are written one after the other, so that one of them
// can be read at any time.
func writeLabel(f spoolfs.File, l *label) error {
	page := make([]byte, labelPage)
	copy(page, l.encode())
	for _, off := range []int64{labelPage, 0} {
		if _, err := f.WriteAt(page, off); err != nil {
			return err
		}
		if err := f.Datasync(); err != nil {
			return err
		}
	}
	return nil
}

// segment is a segment file in one of its uses. The fields below f are
// guarded by the lock of the index.
type segment struct {
	label
	number uint64 // of the file
	f      spoolfs.File

	room   int64            // the file's length, if something is to be appended
	end    int64            // records up to here are synced and in the index
	live   int64            // octets of records that are needed
	tombs  map[uint32]int64 // octets of records needed while another segment is there
	pins   int              // readers, and the lane that writes to it
	sealed bool             // nothing is appended any more
	broken bool             // a sync has failed
	half   bool             // holds copies of records that were moved
	lost   bool             // cannot be read as a whole, or written: it is not used again
	misses int              // how often the keeper could not read it, or use it again
}

// first reports whether the segment has to go before others.
func (g *segment) first() bool { return g.half || g.broken || g.lost }

// needed is how many octets keep the segment from being used again.
func (g *segment) needed() int64 {
	n := g.live
	for _, size := range g.tombs {
		n += size
	}
	return n
}

// place is where a record is.
type place struct {
	seq uint32
	off uint32
}

func (s *Store) segmentPath(number uint64) string {
	return filepath.Join(s.dir, "segments", fmt.Sprintf("%08d.seg", number))
}

func (s *Store) bodyPath(number uint64) string {
	return filepath.Join(s.dir, "bodies", fmt.Sprintf("%08d.body", number))
}

// fileNumber reads a name that segmentPath or bodyPath made.
func fileNumber(name, suffix string) (uint64, bool) {
	digits, found := strings.CutSuffix(name, suffix)
	if !found || len(digits) < 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, err == nil
}
