package local_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/internal/maildir"
)

// Deliveries into one user's maildir, sixteen at a time per processor: what
// counts is how fast the disk makes them durable.
func BenchmarkMaildir(b *testing.B) {
	dir := home(b, nil)
	a := &local.Agent{Users: only(dir), Host: "mx.test"}
	text := "Subject: x\n\n" + strings.Repeat("a line of a message\n", 200)
	b.SetBytes(int64(len(text)))
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		m := message(text, "s@x.test", "u@h.test")
		for pb.Next() {
			if o := deliver(b, a, m); o.Class != sqmail.Accepted {
				b.Errorf("%+v", o)
			}
		}
	})
	b.StopTimer()
	if list, err := maildir.Dir(filepath.Join(dir, "Maildir")).List(0); err != nil || len(list) != b.N {
		b.Errorf("%d of %d, %v", len(list), b.N, err)
	}
}
