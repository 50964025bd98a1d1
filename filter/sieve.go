package filter

import (
	"encoding/binary"
	"math/bits"
)

// sieve tells what is surely not in a set of signatures, at the cost of a few
// instructions: a bit for what a signature's four octets behind the first are
// hashed to.
type sieve struct {
	bits  []uint64
	shift int
}

// newSieve returns one for the keys of a database; nil if it does not know
// them.
func newSieve(db Database) *sieve {
	switch db := db.(type) {
	case Keys:
		return sieveFor(len(db), func(add func(string)) {
			for key := range db {
				add(key)
			}
		})
	case RuleKeys:
		return sieveFor(len(db), func(add func(string)) {
			for key := range db {
				add(key)
			}
		})
	}
	return nil
}

func sieveFor(n int, each func(add func(string))) *sieve {
	size := max(6, bits.Len(uint(8*n))) // 8 to 16 bits a key
	s := &sieve{make([]uint64, 1<<(size-6)), 32 - min(size, 32)}
	each(func(key string) {
		if len(key) == loaderSignature {
			i := s.at([]byte(key))
			s.bits[i/64] |= 1 << (i % 64)
		}
	})
	return s
}

func (s *sieve) at(key []byte) uint32 {
	return binary.LittleEndian.Uint32(key[1:]) * 0x9E3779B1 >> s.shift // Knuth's multiplicative hash
}

// has reports whether a key may be in the set.
func (s *sieve) has(key []byte) bool {
	i := s.at(key)
	return s.bits[i/64]>>(i%64)&1 != 0
}

// sieveOf returns the sieve for a filter's signatures, which is made once in the
// life of the Chain.
func (s *Session) sieveOf(f Filter, db Database) *sieve {
	if s.chain == nil {
		return nil
	}
	made, known := s.chain.sieves.Load(f)
	if !known {
		made, _ = s.chain.sieves.LoadOrStore(f, newSieve(db))
	}
	return made.(*sieve)
}
