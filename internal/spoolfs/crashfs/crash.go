package crashfs

import (
	"math/rand/v2"
	"slices"
)

// Loss says what becomes, in a crash, of what was not synced.
type Loss string

// The losses. All are allowed by POSIX; Rand decides where there is a choice.
const (
	// LoseAll: the disk has what was synced, nothing else.
	LoseAll Loss = "lose all"

	// KeepAll: only the process died. What was not synced is still in memory,
	// and a later crash can lose it.
	KeepAll Loss = "keep all"

	// LoseNames: content is there, directory entries are not.
	LoseNames Loss = "lose names"

	// LoseContent: directory entries are there, content is not.
	LoseContent Loss = "lose content"

	// TearBytes: writes and entries got there in order, up to some octet.
	TearBytes Loss = "tear bytes"

	// TearBlocks: each block of 512 octets and each entry got there or not.
	TearBlocks Loss = "tear blocks"

	// Garbage: as TearBlocks, and what did not get there holds garbage.
	Garbage Loss = "garbage"
)

// Losses returns all of them.
func Losses() []Loss {
	return []Loss{LoseAll, KeepAll, LoseNames, LoseContent, TearBytes, TearBlocks, Garbage}
}

const block = 512

// Crash returns what a machine may find after losing power now. The file
// system itself goes on. The same seed gives the same result.
func (f *FS) Crash(loss Loss, seed uint64) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crash(loss, seed)
}

func (f *FS) crash(loss Loss, seed uint64) *FS {
	f.start()
	c := &crash{loss: loss, rand: rand.New(rand.NewPCG(seed, 7)), kept: make(map[*entryOp]bool), nodes: make(map[*node]*node), ops: make(map[*entryOp]*entryOp)}
	return &FS{root: c.node(f.root), locks: make(map[string]bool), Limit: f.Limit}
}

type crash struct {
	loss  Loss
	rand  *rand.Rand
	kept  map[*entryOp]bool
	nodes map[*node]*node
	ops   map[*entryOp]*entryOp
}

// node returns what is left of a file or directory.
func (c *crash) node(n *node) *node {
	if old := c.nodes[n]; old != nil {
		return old
	}
	left := &node{dir: n.dir, space: n.space}
	c.nodes[n] = left
	if c.loss == KeepAll {
		c.whole(n, left)
		return left
	}
	if !n.dir {
		left.synced = c.content(n)
		left.data = left.synced.share()
		return left
	}
	names := make(map[string]*node, len(n.durable))
	for name, child := range n.durable {
		names[name] = child
	}
	for _, op := range n.pending {
		if !c.keeps(op) {
			continue
		}
		for _, ch := range op.changes {
			if ch.dir == n {
				names[ch.name] = ch.node
			}
		}
	}
	left.live, left.durable = make(map[string]*node), make(map[string]*node)
	for name, child := range names {
		if child != nil {
			left.live[name] = c.node(child)
			left.durable[name] = left.live[name]
		}
	}
	return left
}

// whole copies a file or directory with all that is not synced.
func (c *crash) whole(n, left *node) {
	left.data, left.synced = n.data.share(), n.synced.share()
	left.writes = slices.Clone(n.writes) // their content is not changed any more
	if !n.dir {
		return
	}
	left.live, left.durable = make(map[string]*node), make(map[string]*node)
	for name, child := range n.live {
		left.live[name] = c.node(child)
	}
	for name, child := range n.durable {
		left.durable[name] = c.node(child)
	}
	for _, op := range n.pending {
		left.pending = append(left.pending, c.entryOp(op))
	}
}

// entryOp copies a change of entries, once for all directories it concerns.
func (c *crash) entryOp(op *entryOp) *entryOp {
	if left := c.ops[op]; left != nil {
		return left
	}
	left := &entryOp{doubtful: op.doubtful, applied: op.applied, overtaken: op.overtaken}
	c.ops[op] = left
	for _, ch := range op.changes {
		ch.dir = c.node(ch.dir)
		if ch.node != nil {
			ch.node = c.node(ch.node)
		}
		left.changes = append(left.changes, ch)
	}
	return left
}

// keeps decides whether a change of entries got to the disk, once for all
// directories that it concerns.
func (c *crash) keeps(op *entryOp) bool {
	if op.applied || op.overtaken {
		return op.applied
	}
	if kept, decided := c.kept[op]; decided {
		return kept
	}
	kept := false
	switch c.loss {
	case LoseContent:
		kept = true
	case TearBytes, TearBlocks, Garbage:
		kept = c.rand.IntN(2) == 0
	}
	c.kept[op] = kept
	return kept
}

// content returns what is left of a file's content.
func (c *crash) content(n *node) content {
	data := n.synced.share()
	torn := c.rand.IntN(len(n.writes) + 1)
	for i, w := range n.writes {
		switch c.loss {
		case LoseNames:
			data.write(w)
		case TearBytes:
			if i < torn {
				data.write(w)
			} else if i == torn && len(w.data) > 0 {
				data.write(write{off: w.off, data: w.data[:c.rand.IntN(len(w.data)+1)]})
			}
		case TearBlocks, Garbage:
			c.blocks(&data, w)
		}
	}
	return data
}

// blocks writes some of the blocks of w.
func (c *crash) blocks(data *content, w write) {
	if w.data == nil {
		if c.rand.IntN(2) == 0 {
			data.write(w)
		}
		return
	}
	for off := w.off; off < w.off+int64(len(w.data)); {
		end := min((off/block+1)*block, w.off+int64(len(w.data)))
		part := append([]byte(nil), w.data[off-w.off:end-w.off]...)
		written := c.rand.IntN(2) == 0
		if !written && c.loss == Garbage {
			c.scribble(part)
			written = true
		}
		if written {
			data.write(write{off: off, data: part})
		}
		off = end
	}
}

// scribble fills a block with noise or zeros, from some octet on.
func (c *crash) scribble(p []byte) {
	p = p[c.rand.IntN(len(p)):]
	if c.rand.IntN(2) == 0 {
		clear(p)
		return
	}
	for i := range p {
		p[i] = byte(c.rand.Uint32())
	}
}
