package filter

import (
	"fmt"
	"testing"
)

func TestBloom(t *testing.T) {
	for _, n := range []int{0, 1, 51, 10_000} {
		b := newBloom(n)
		for i := range n {
			b.add(b.hash(fmt.Sprint("word ", i)))
		}
		for i := range n {
			if !b.has(b.hash(fmt.Sprint("word ", i))) {
				t.Fatalf("word %d of %d was forgotten", i, n)
			}
		}
		wrong := 0
		for i := range 10_000 {
			if b.has(b.hash(fmt.Sprint("other ", i))) {
				wrong++
			}
		}
		if wrong > 800 {
			t.Errorf("with %d words it is wrong for %d of 10,000", n, wrong)
		}
	}
}
