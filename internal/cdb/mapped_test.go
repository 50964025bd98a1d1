package cdb_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sqmail/sqmail/internal/cdb"
)

// TestFileThatIsCutOffUnderALookUp: a database is replaced by renaming, but
// somebody may copy over it. That must not end the process.
func TestFileThatIsCutOffUnderALookUp(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.cdb")
	err := cdb.Create(name, func(w *cdb.Writer) error {
		for i := range 10_000 {
			if err := w.Put(fmt.Appendf(nil, "key %d", i), make([]byte, 20)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	db, err := cdb.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 5000); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, found, err := db.Get(fmt.Appendf(nil, "key %d", i)); found || !errors.Is(err, cdb.ErrDamaged) {
			t.Fatalf("%v, %v", found, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := db.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the second Close: %v", err)
	}
}

// BenchmarkFile looks up in a file of a million records.
func BenchmarkFile(b *testing.B) {
	const records = 1_000_000
	name := filepath.Join(b.TempDir(), "x.cdb")
	err := cdb.Create(name, func(w *cdb.Writer) error {
		for i := range records {
			if err := w.Put(fmt.Appendf(nil, "m%d.example.org", i), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	db, err := cdb.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var key []byte
	for what, prefix := range map[string]string{"hit": "m", "miss": "n"} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				key = fmt.Appendf(key[:0], "%s%d.example.org", prefix, i*7919%records)
				if _, found, err := db.Get(key); err != nil || found != (what == "hit") {
					b.Fatal(found, err)
				}
			}
		})
	}
}
