package filter_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
	"github.com/sqmail/sqmail/internal/cdb"
)

// writeCDB makes a database with keys.
func writeCDB(t testing.TB, name string, keys ...string) {
	t.Helper()
	err := cdb.Create(name, func(w *cdb.Writer) error {
		for _, k := range keys {
			if err := w.Put([]byte(k), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedCDBIsAnErrorAndNeverAMiss(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.cdb")
	writeCDB(t, whole, "a")
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none.cdb")
	writeCDB(t, none)
	for name, content := range map[string][]byte{
		"empty": {}, "truncated": content[:len(content)-1], "half": content[:1024], "text": []byte("joe@example.org\n"),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, optional := range []bool{false, true} {
			d := &filter.CDB{Path: path, Optional: optional}
			if _, found, err := d.Get([]byte("a")); found || err == nil {
				t.Errorf("%s, optional %v: found %v, %v", name, optional, found, err)
			}
			d.Close()
		}
	}
	for path, want := range map[string]error{none: filter.ErrNoRecords, filepath.Join(dir, "absent"): fs.ErrNotExist} {
		d, optional := &filter.CDB{Path: path}, &filter.CDB{Path: path, Optional: true}
		if _, found, err := d.Get([]byte("a")); found || !errors.Is(err, want) {
			t.Errorf("%s: found %v, %v", path, found, err)
		}
		if _, found, err := optional.Get([]byte("a")); found || err != nil {
			t.Errorf("%s, optional: found %v, %v", path, found, err)
		}
	}
	if _, _, err := (&filter.CDB{Path: dir}).Get([]byte("a")); err == nil {
		t.Error("a directory passed as a database")
	}
}

func TestReplacedCDBIsNoticed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.cdb")
	synctest.Test(t, func(t *testing.T) {
		d := &filter.CDB{Path: name}
		defer d.Close()
		has := func(key string) bool {
			_, found, err := d.Get([]byte(key))
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
			return found
		}
		writeCDB(t, name, "old")
		if !has("old") || has("new") {
			t.Error("the database is not what was written")
		}
		writeCDB(t, name, "new")
		time.Sleep(time.Second)
		if has("old") || !has("new") {
			t.Error("the new database was not noticed")
		}
		os.Remove(name)
		time.Sleep(time.Second)
		if _, _, err := d.Get([]byte("new")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the database is gone: %v", err)
		}
		writeCDB(t, name, "again")
		time.Sleep(time.Second)
		if !has("again") {
			t.Error("the database is back, and was not noticed")
		}
		d.Close()
		if !has("again") {
			t.Error("not opened again")
		}
	})
}

func TestCDBIsForManyAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.cdb")
	writeCDB(t, name, "a", "b")
	d := &filter.CDB{Path: name}
	defer d.Close()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				if _, found, err := d.Get([]byte("a")); err == nil && !found {
					t.Error("a look-up missed while the file was closed")
				}
			}
		})
		all.Go(func() { d.Close() })
	}
	all.Wait()
}

func TestMoreRcptHosts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "morercpthosts.cdb")
	more := &filter.CDB{Path: name, Optional: true}
	defer more.Close()
	f := &filter.RcptHosts{Domains: filter.ListOf("a.test"), Listed: filter.Listed(more)}
	try := func(to string, want int) {
		t.Helper()
		v, err := f.Recipient(t.Context(), stranger(), &sqmail.Recipient{Path: sqmail.PathOf(to)})
		if got := sqmail.ReplyFor(errors.Join(err, v.Err())).Code; got != want {
			t.Errorf("%s: %d, want %d", to, got, want)
		}
	}
	try("x@a.test", 250)
	try("x@b.test", 553)
	more.Close()
	err := cdb.Create(name, func(w *cdb.Writer) error {
		return compile.MoreRcptHosts(strings.NewReader("B.test\n.c.test\n"), w.Put)
	})
	if err != nil {
		t.Fatal(err)
	}
	try("x@B.TEST", 250)
	try("x@sub.b.test", 553)
	try("x@sub.sub.c.test", 250)
	try("x@c.test", 553)
	if err := os.Truncate(name, 2050); err != nil {
		t.Fatal(err)
	}
	more.Close()
	try("x@b.test", 451)
	try("x@a.test", 250)
}

func BenchmarkCDBOfAMillionKeys(b *testing.B) {
	name := filepath.Join(b.TempDir(), "x.cdb")
	err := cdb.Create(name, func(w *cdb.Writer) error {
		for i := range 1_000_000 {
			if err := w.Put(fmt.Appendf(nil, ":user%d@example.org", i), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	d := &filter.CDB{Path: name}
	defer d.Close()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, found, err := d.Get(fmt.Appendf(nil, ":user%d@example.org", i*7919%1_000_000)); err != nil || !found {
			b.Fatal(found, err)
		}
	}
}
