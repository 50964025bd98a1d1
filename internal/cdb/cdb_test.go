package cdb_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sqmail/sqmail/internal/cdb"
)

func Example() {
	dir, _ := os.MkdirTemp("", "cdb")
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "morercpthosts.cdb")
	if err := cdb.Create(name, func(w *cdb.Writer) error { return w.Put([]byte("example.org"), nil) }); err != nil {
		panic(err)
	}
	db, err := cdb.Open(name)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	_, found, err := db.Get([]byte("example.org"))
	fmt.Println(found, err)
	// Output: true <nil>
}

// seeker is a file in memory.
type seeker struct {
	b   []byte
	pos int
}

func (s *seeker) Write(p []byte) (int, error) {
	if n := s.pos + len(p); n > len(s.b) {
		s.b = append(s.b, make([]byte, n-len(s.b))...)
	}
	s.pos += copy(s.b[s.pos:], p)
	return len(p), nil
}

func (s *seeker) Seek(offset int64, _ int) (int64, error) {
	s.pos = int(offset)
	return offset, nil
}

func build(t testing.TB, records [][2]string) []byte {
	t.Helper()
	var s seeker
	w := cdb.NewWriter(&s)
	for _, r := range records {
		if err := w.Put([]byte(r[0]), []byte(r[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return s.b
}

func open(t testing.TB, b []byte) *cdb.Reader {
	t.Helper()
	r, err := cdb.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryKeyIsFoundAndNoOther(t *testing.T) {
	var records [][2]string
	for i := range 2000 {
		records = append(records, [2]string{fmt.Sprintf("key %d", i), fmt.Sprintf("value %d", i*i)})
	}
	records = append(records, [2]string{"", "of the empty key"}, [2]string{"key 7", "second"})
	r := open(t, build(t, records))
	for _, rec := range records[:2001] {
		v, found, err := r.Get([]byte(rec[0]))
		if err != nil || !found || string(v) != rec[1] {
			t.Fatalf("%q: %q, %v, %v", rec[0], v, found, err)
		}
	}
	for i := range 2000 {
		if v, found, err := r.Get(fmt.Appendf(nil, "other %d", i)); err != nil || found {
			t.Fatalf("%q, %v, %v", v, found, err)
		}
	}
	n := 0
	err := r.Each(func(k, v []byte) bool {
		if string(k) != records[n][0] || string(v) != records[n][1] {
			t.Errorf("record %d is %q, %q", n, k, v)
		}
		n++
		return true
	})
	if err != nil || n != len(records) {
		t.Errorf("%d records, %v", n, err)
	}
}

// TestFormat keeps the layout that other programs read: the position of the
// record, lengths, hash and slot for the key "one" as the format's description
// gives them.
func TestFormat(t *testing.T) {
	b := build(t, [][2]string{{"one", "Hello"}})
	if got := hex.EncodeToString(b[2048:2064]); got != "0300000005000000"+hex.EncodeToString([]byte("oneHello")) {
		t.Errorf("record %s", got)
	}
	if len(b) != 2048+16+16 {
		t.Errorf("%d octets", len(b))
	}
	// h = 5381; h = h*33 ^ c for each octet.
	h := uint32(5381)
	for _, c := range []byte("one") {
		h = h*33 ^ uint32(c)
	}
	at := int(h % 256 * 8)
	if b[at] != 0x10 || b[at+1] != 0x08 || b[at+4] != 2 {
		t.Errorf("header of the key's table: % x", b[at:at+8])
	}
}

func TestDamageIsAnError(t *testing.T) {
	whole := build(t, [][2]string{{"a", "1"}, {"b", "2"}})
	for n := range len(whole) {
		r, err := cdb.NewReader(bytes.NewReader(whole[:n]), int64(n))
		if err == nil {
			t.Errorf("the first %d of %d octets passed as a database: %v", n, len(whole), r)
		}
	}
	if r, err := cdb.NewReader(bytes.NewReader(nil), 0); !errors.Is(err, cdb.ErrDamaged) {
		t.Errorf("an empty file: %v, %v", r, err)
	}
}

func TestCreateChangesNothingWhenItFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.cdb")
	put := func(v string) func(*cdb.Writer) error {
		return func(w *cdb.Writer) error { return w.Put([]byte("k"), []byte(v)) }
	}
	if err := cdb.Create(name, put("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := cdb.Create(name, func(w *cdb.Writer) error { put("new")(w); return broken }); err != broken {
		t.Errorf("%v", err)
	}
	db, err := cdb.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if v, _, err := db.Get([]byte("k")); string(v) != "old" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	files, _ := os.ReadDir(filepath.Dir(name))
	if len(files) != 1 {
		t.Errorf("left over: %v", files)
	}
}

func TestOpenRefusesADirectory(t *testing.T) {
	if _, err := cdb.Open(t.TempDir()); err == nil {
		t.Error("a directory passed as a database")
	}
}

// FuzzReader reads what claims to be a database: no panic, no endless loop.
func FuzzReader(f *testing.F) {
	f.Add(build(f, [][2]string{{"a", "1"}, {"b", "2"}}), []byte("a"))
	f.Add(make([]byte, 2048), []byte(""))
	f.Fuzz(func(t *testing.T, b, key []byte) {
		r, err := cdb.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		r.Get(key)
		r.Each(func(k, v []byte) bool { return len(k)+len(v) <= len(b) })
	})
}

func BenchmarkGet(b *testing.B) {
	var records [][2]string
	for i := range 100_000 {
		records = append(records, [2]string{fmt.Sprintf("key%d.example.org", i), ""})
	}
	r := open(b, build(b, records))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, found, err := r.Get([]byte(records[i%len(records)][0])); !found || err != nil {
			b.Fatal(err)
		}
	}
}

var _ io.WriteSeeker = (*seeker)(nil)

// TestTablesOfZerosAreDamage: a key that is not found is a refusal for good, so
// that a file whose end was never written must not be asked.
func TestTablesOfZerosAreDamage(t *testing.T) {
	var records [][2]string
	for i := range 20_000 {
		records = append(records, [2]string{fmt.Sprintf("key %d", i), "value"})
	}
	whole := build(t, records)
	for _, lost := range []int{4 << 10, 64 << 10, len(whole) / 2, len(whole)} {
		torn := slices.Clone(whole)
		clear(torn[len(torn)-lost:])
		if _, err := cdb.NewReader(bytes.NewReader(torn), int64(len(torn))); !errors.Is(err, cdb.ErrDamaged) {
			t.Errorf("zeros in the place of the last %d octets: %v", lost, err)
		}
	}
}
