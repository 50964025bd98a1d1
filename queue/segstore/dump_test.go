package segstore

import (
	"fmt"

	"github.com/sqmail/sqmail/internal/spoolfs"
)

func Dump(fs spoolfs.FS) {
	names, _ := fs.ReadDir("/queue/segments")
	for _, n := range names {
		f, err := fs.Open("/queue/segments/" + n)
		if err != nil {
			fmt.Println(n, err)
			continue
		}
		l, err := readLabel(f)
		fmt.Printf("%s seq %d void %v %v\n", n, l.seq, l.void, err)
		size, _ := f.Size()
		b := make([]byte, size)
		f.ReadAt(b, 0)
		walk(b[segmentBody:], segmentBody, l.nonce, l.seq, func(off int64, r record) {
			fmt.Printf("   %d: kind %d id %d arg %d lsn %d flags %x\n", off, r.kind, r.id, r.arg, r.lsn, r.flags)
		})
	}
}
