package segstore

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/sqmail/sqmail/queue"
)

// A record is a header of 48 octets, data (the body of a message), meta (what
// codec.go makes), and zeros up to a multiple of eight. docs/queue-format.md
// has it octet by octet.
const (
	headerLen   = 48
	recordMagic = 0x7351 // "Qs"
	align       = 8
)

// kind says what a record is about.
type kind uint8

const (
	kindMessage kind = 1 + iota // a message: envelope, and body or the file with it
	kindState                   // attempts, due time, held
	kindDone                    // the message is gone; arg: the segment that has it
	kindVoid                    // what segment arg has from the offset id on does not count
)

// Flags of a record.
const (
	flagBatch  = 1 << iota // the first of what one sync saved: all before was saved by another
	flagHeld               // message, state: held
	flagFile               // message: the body is in a file of its own
	flagMeta               // message: so is the meta
	flagFull               // state: holds the whole journal; message: holds one
	flagTried              // message, state: the message has been attempted
	flagRetry              // state: all pending recipients are due at a given time
	flagUnique             // message: has the token of the drop file it came from
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// header is the beginning of a record.
type header struct {
	kind    kind
	flags   uint8
	seq     uint32 // of the segment that it was written to
	lsn     uint64 // states of a message count in this order
	id      queue.ID
	arg     uint32
	dataLen uint32
	metaLen uint32
	dataCRC uint32
	metaCRC uint32
}

// put writes the header. The nonce of the segment goes into the checksum, so
// that neither a record of the segment's former use nor a forgery in the body
// of a message is taken for a record.
func (h *header) put(b []byte, nonce uint64) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], recordMagic)
	b[2], b[3] = byte(h.kind), h.flags
	le.PutUint32(b[4:], h.seq)
	le.PutUint64(b[8:], h.lsn)
	le.PutUint64(b[16:], uint64(h.id))
	le.PutUint32(b[24:], h.arg)
	le.PutUint32(b[28:], h.dataLen)
	le.PutUint32(b[32:], h.metaLen)
	le.PutUint32(b[36:], h.dataCRC)
	le.PutUint32(b[40:], h.metaCRC)
	le.PutUint32(b[44:], headerSum(b, nonce))
}

func headerSum(b []byte, nonce uint64) uint32 {
	seed := ^uint32(0) // of the nonce's octets; package crc32 would move them to the heap
	for i := range 8 {
		seed = castagnoli[byte(seed)^byte(nonce>>(8*i))] ^ seed>>8
	}
	return crc32.Update(^seed, castagnoli, b[:44])
}

// parseHeader reads a header, and reports whether it is one of this segment.
func parseHeader(b []byte, nonce uint64, seq uint32) (h header, ok bool) {
	le := binary.LittleEndian
	if len(b) < headerLen || le.Uint16(b) != recordMagic || le.Uint32(b[4:]) != seq || le.Uint32(b[44:]) != headerSum(b, nonce) {
		return h, false
	}
	return header{
		kind: kind(b[2]), flags: b[3], seq: seq,
		lsn: le.Uint64(b[8:]), id: queue.ID(le.Uint64(b[16:])), arg: le.Uint32(b[24:]),
		dataLen: le.Uint32(b[28:]), metaLen: le.Uint32(b[32:]), dataCRC: le.Uint32(b[36:]), metaCRC: le.Uint32(b[40:]),
	}, true
}

// size is the room that the record takes in its segment.
func (h *header) size() int64 { return padded(headerLen + int64(h.dataLen) + int64(h.metaLen)) }

func padded(n int64) int64 { return (n + align - 1) &^ (align - 1) }

// record is a record in memory.
type record struct {
	header
	data, meta []byte
}

// parseRecord reads a record at the start of b and checks it whole. If only
// the header is sound it returns that, and false.
func parseRecord(b []byte, nonce uint64, seq uint32) (r record, ok bool) {
	r, ok = parseMeta(b, nonce, seq)
	return r, ok && checksum(r.data) == r.dataCRC
}

// parseMeta is parseRecord without a look at the data.
func parseMeta(b []byte, nonce uint64, seq uint32) (r record, ok bool) {
	h, ok := parseHeader(b, nonce, seq)
	if !ok {
		return r, false
	}
	r.header = h
	if h.size() > int64(len(b)) {
		return r, false
	}
	end := headerLen + int(h.dataLen)
	r.data, r.meta = b[headerLen:end], b[end:end+int(h.metaLen)]
	return r, checksum(r.meta) == h.metaCRC
}

// seal completes a record whose data stands in buf behind room for the header.
func seal(buf []byte, h *header, meta []byte) []byte {
	data := buf[headerLen:]
	h.dataLen, h.dataCRC = uint32(len(data)), checksum(data)
	h.metaLen, h.metaCRC = uint32(len(meta)), checksum(meta)
	buf = append(buf, meta...)
	for len(buf)%align != 0 {
		buf = append(buf, 0)
	}
	return buf
}

// bare returns a record without data.
func bare(h *header, meta []byte) []byte {
	buf := make([]byte, headerLen, padded(int64(headerLen+len(meta))))
	return seal(buf, h, meta)
}
