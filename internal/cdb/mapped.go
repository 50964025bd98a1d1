package cdb

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime/debug"
)

// mapped is a file that is mapped into memory: a look-up costs no system call.
type mapped []byte

// ReadAt copies from the file. A file that somebody has made shorter, which
// nobody should do (see [Create]), is an error like any other damage, not the
// end of the process.
func (m mapped) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > int64(len(m)) {
		return 0, io.EOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	if n = copy(p, m[off:]); n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// get is d.Get in a file that is mapped: the same, without a copy and a guard
// for each read.
func (m mapped) get(d *Reader, key []byte) (value []byte, found bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			value, found, err = nil, false, fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	h, size := hash(key), int64(len(m))
	pos, slots := d.table(int(h % tables))
	if slots == 0 {
		return nil, false, nil
	}
	for n, slot := int64(0), int64(h>>8)%slots; n < slots; n++ {
		at := pos + slot*8 // NewReader has seen that tables are inside
		record := int64(binary.LittleEndian.Uint32(m[at+4:]))
		if record == 0 {
			return nil, false, nil
		}
		if binary.LittleEndian.Uint32(m[at:]) == h {
			if record < headerSize || record+8 > size {
				return nil, false, ErrDamaged
			}
			klen, vlen := int64(binary.LittleEndian.Uint32(m[record:])), int64(binary.LittleEndian.Uint32(m[record+4:]))
			begin := record + 8
			if begin+klen+vlen > size {
				return nil, false, ErrDamaged
			}
			if string(m[begin:begin+klen]) == string(key) {
				return append([]byte{}, m[begin+klen:begin+klen+vlen]...), true, nil
			}
		}
		if slot++; slot == slots {
			slot = 0
		}
	}
	return nil, false, nil
}
