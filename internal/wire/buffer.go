package wire

import "sync"

// Buffers come in three sizes. The small one is part of each Reader and is
// all that an idle connection has; the others are borrowed while data flows.
const (
	smallSize = 256     // most commands, and pipelined groups of them
	lineSize  = 4 << 10 // a page: long commands, small bodies
	bulkSize  = 32 << 10
)

// MaxLine is the longest limit that [Reader.ReadLine] takes.
const MaxLine = bulkSize - 2

var (
	linePool = sync.Pool{New: func() any { return new([lineSize]byte) }}
	bulkPool = sync.Pool{New: func() any { return new([bulkSize]byte) }}
)

// borrow returns a buffer of at least the given size, at most bulkSize.
func borrow(size int) []byte {
	if size <= lineSize {
		return linePool.Get().(*[lineSize]byte)[:]
	}
	return bulkPool.Get().(*[bulkSize]byte)[:]
}

// giveBack returns what borrow gave, whole; other slices are left alone.
func giveBack(b []byte) {
	switch len(b) {
	case lineSize:
		linePool.Put((*[lineSize]byte)(b))
	case bulkSize:
		bulkPool.Put((*[bulkSize]byte)(b))
	}
}
