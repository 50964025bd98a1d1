package segstore

import "sync"

// A buffer is memory for the body of a draft, behind room for the header of its
// record and before room for the meta. It is used again for other drafts.
type buffer struct {
	room  int // for the body
	class int
	mem   []byte
}

// metaRoom is enough for the meta of most messages: their recipients are few.
const metaRoom = 1 << 10

// The sizes of buffers: a body that grows is copied three times at most.
var (
	bufferRoom = [...]int{firstBuffer, 16 << 10, fileBuffer, 256 << 10}
	buffers    [len(bufferRoom)]sync.Pool
)

// borrow returns a buffer with room for a body of n octets.
func borrow(n int) *buffer {
	for class, room := range bufferRoom {
		if n > room {
			continue
		}
		if b, _ := buffers[class].Get().(*buffer); b != nil {
			return b
		}
		return newBuffer(room, class)
	}
	return newBuffer(n, -1)
}

func newBuffer(room, class int) *buffer {
	return &buffer{room, class, make([]byte, headerLen+room+metaRoom)}
}

// release lets others use the memory; b may be nil.
func (b *buffer) release() {
	if b != nil && b.class >= 0 {
		buffers[b.class].Put(b)
	}
}
