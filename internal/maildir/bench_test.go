package maildir_test

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail/internal/maildir"
)

func BenchmarkDeliver(b *testing.B) {
	for _, goroutines := range []int{1, 16} {
		b.Run(map[int]string{1: "alone", 16: "crowd"}[goroutines], func(b *testing.B) {
			dir := newDir(b)
			w := &maildir.Writer{Host: "mx.test"}
			message := strings.Repeat("a line of a message\n", 200)
			b.SetBytes(int64(len(message)))
			b.SetParallelism(goroutines)
			if goroutines == 1 {
				for b.Loop() {
					if _, err := w.Deliver(b.Context(), string(dir), strings.NewReader(message)); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := w.Deliver(b.Context(), string(dir), strings.NewReader(message)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
