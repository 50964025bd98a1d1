package filter

import "hash/maphash"

// bloom tells what is surely not in a set, in a small part of the set's memory:
// what it takes for 100,000 words stays in a processor's cache. For two or three
// in a hundred words it is wrong.
type bloom struct {
	seed   maphash.Seed
	blocks [][8]uint64 // a cache line each; the length is a power of two
}

// newBloom returns one for n words.
func newBloom(n int) bloom {
	const perBlock = 8 * 64 / 10 // words, at ten bits each
	blocks := 1
	for blocks*perBlock < n {
		blocks *= 2
	}
	return bloom{maphash.MakeSeed(), make([][8]uint64, blocks)}
}

// hash returns what a word is known by.
func (b *bloom) hash(word string) uint64 { return maphash.String(b.seed, word) }

// bits returns the block of a word's hash, and four bits in it.
func (b *bloom) bits(h uint64) (block *[8]uint64, bits [4]uint64) {
	for i := range bits {
		bits[i] = h & 511
		h >>= 9
	}
	return &b.blocks[h&uint64(len(b.blocks)-1)], bits
}

func (b *bloom) add(h uint64) {
	block, bits := b.bits(h)
	for _, bit := range bits {
		block[bit/64] |= 1 << (bit % 64)
	}
}

// has reports whether a word with a hash may have been added.
func (b *bloom) has(h uint64) bool {
	block, bits := b.bits(h)
	for _, bit := range bits {
		if block[bit/64]>>(bit%64)&1 == 0 {
			return false
		}
	}
	return true
}
