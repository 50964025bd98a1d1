package segstore

import "encoding/binary"

// region is a part of a segment.
type region struct{ from, to int64 }

// walk finds the records in buf, which is what a segment has from the offset
// base on, and calls visit with the sound ones in order. Where there is none
// it looks for the next. It returns the offset behind the last record, and the
// regions that were synced once and cannot be read now: those with the
// beginning of a later batch behind them. What else cannot be read is a tail
// torn by a crash, or of the segment's former use. Last is where the last batch
// begins.
func walk(buf []byte, base int64, nonce uint64, seq uint32, visit func(off int64, r record)) (last, end int64, damaged []region) {
	return walkBy(parseRecord, buf, base, nonce, seq, visit)
}

// skim is walk, but for the bodies of messages: it does not look at them. What
// a later batch follows was whole once; a body that is not any more is found
// when it is needed. So only the last batch is looked at as a whole, for which
// visit is called a second time: restart is called in between.
func skim(buf []byte, base int64, nonce uint64, seq uint32, visit func(off int64, r record), restart func()) (last, end int64, damaged []region) {
	last, end, damaged = walkBy(parseMeta, buf, base, nonce, seq, visit)
	restart()
	_, end, more := walk(buf[last-base:end-base], last, nonce, seq, visit)
	return last, end, append(damaged, more...)
}

func walkBy(parse func([]byte, uint64, uint32) (record, bool), buf []byte, base int64, nonce uint64, seq uint32, visit func(off int64, r record)) (last, end int64, damaged []region) {
	var suspect []region
	last, end = base, base
	for pos := int64(0); pos+headerLen <= int64(len(buf)); {
		r, ok := parse(buf[pos:], nonce, seq)
		if !ok {
			next := nextMagic(buf, pos+align)
			suspect = extend(suspect, base+pos, base+next)
			pos = next
			continue
		}
		if r.flags&flagBatch != 0 {
			damaged = append(damaged, suspect...)
			suspect = nil
			last = base + pos
		}
		visit(base+pos, r)
		pos += r.size()
		end = base + pos
	}
	return last, end, damaged
}

// nextMagic returns where a record may begin, from pos on.
func nextMagic(buf []byte, pos int64) int64 {
	for ; pos+headerLen <= int64(len(buf)); pos += align {
		if binary.LittleEndian.Uint16(buf[pos:]) == recordMagic {
			break
		}
	}
	return pos
}

func extend(list []region, from, to int64) []region {
	if n := len(list); n > 0 && list[n-1].to == from {
		list[n-1].to = to
		return list
	}
	return append(list, region{from, to})
}
