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

// bits returns the block of a word, and four bits in it.
func (b *bloom) bits(word string) (block *[8]uint64, bits [4]uint64) {
	h := maphash.String(b.seed, word)
	for i := range bits {
		bits[i] = h & 511
		h >>= 9
	}
	return &b.blocks[h&uint64(len(b.blocks)-1)], bits
}

func (b *bloom) add(word string) {
	block, bits := b.bits(word)
	for _, bit := range bits {
		block[bit/64] |= 1 << (bit % 64)
	}
}

// has reports whether a word may have been added.
func (b *bloom) has(word string) bool {
	block, bits := b.bits(word)
	for _, bit := range bits {
		if block[bit/64]>>(bit%64)&1 == 0 {
			return false
		}
	}
	return true
}
