package mimefilter

import "bytes"

// decoder64 decodes base64 as the most lenient mail programs do: what does not
// belong into it is left out (RFC 2045, 6.8), padding may be missing, and what
// stands behind it goes on.
type decoder64 struct {
	out []byte

	bits   uint32 // of digits that are no whole group yet
	digits int
}

// alphabet is that of base64.
var alphabet = []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

// decode decodes a piece of base64.
func (d *decoder64) decode(piece []byte) {
	for _, c := range piece {
		if c == '=' {
			d.end()
			continue
		}
		value := bytes.IndexByte(alphabet, c)
		if value < 0 {
			continue
		}
		d.bits = d.bits<<6 | uint32(value)
		if d.digits++; d.digits == 4 {
			d.out = append(d.out, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
			d.bits, d.digits = 0, 0
		}
	}
}

// end ends a group that is not complete.
func (d *decoder64) end() {
	switch d.digits {
	case 2:
		d.out = append(d.out, byte(d.bits>>4))
	case 3:
		d.out = append(d.out, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.digits = 0, 0
}
