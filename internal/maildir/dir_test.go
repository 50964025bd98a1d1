package maildir_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail/internal/maildir"
)

// put makes a file in the maildir, older by age.
func put(t *testing.T, dir maildir.Dir, name, content string, age time.Duration) {
	t.Helper()
	path := filepath.Join(string(dir), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-age).Truncate(time.Second)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, dir maildir.Dir) []maildir.Entry {
	t.Helper()
	entries, err := dir.List(0)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestCreateTwice(t *testing.T) {
	dir := newDir(t)
	if err := dir.Create(); err != nil {
		t.Error(err)
	}
	for _, sub := range []string{"", "tmp", "new", "cur"} {
		if info, err := os.Stat(filepath.Join(string(dir), sub)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%q: %v, %v", sub, info, err)
		}
	}
	if err := maildir.Dir(filepath.Join(string(dir), "no", "parent")).Create(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without parent: %v", err)
	}
}

func TestListIsOldestFirstAndHoldsOnlyMessages(t *testing.T) {
	dir := newDir(t)
	put(t, dir, "new/3", "x", time.Hour)
	put(t, dir, "cur/1:2,S", "x", 3*time.Hour)
	put(t, dir, "new/2b", "x", 2*time.Hour)
	put(t, dir, "new/2a", "x", 2*time.Hour)
	put(t, dir, "new/.hidden", "x", time.Hour)
	put(t, dir, "tmp/4", "x", time.Hour)
	os.Mkdir(filepath.Join(string(dir), "new/dir"), 0o700)
	os.Symlink("/etc/passwd", filepath.Join(string(dir), "new/link"))
	if err := syscall.Mkfifo(filepath.Join(string(dir), "cur/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}

	var got []string
	for _, e := range list(t, dir) {
		got = append(got, fmt.Sprint(e.New, " ", e.Name))
	}
	if want := "false 1:2,S;true 2a;true 2b;true 3"; strings.Join(got, ";") != want {
		t.Errorf("got %q", got)
	}
	if few, err := dir.List(3); len(few) != 3 || err != nil {
		t.Errorf("a limit of 3 gives %d, %v", len(few), err)
	}
}

func TestListOfWhatIsNoMaildirFails(t *testing.T) {
	if _, err := maildir.Dir(t.TempDir()).List(0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestWireSizeCountsCRLF(t *testing.T) {
	for stored, want := range map[string]int64{
		"": 0, "a": 3, "a\n": 3, "a\nb": 6, "\n\n": 4, "a\r\n": 3, "a\r": 4, "A: 1\n\nx\n.y\n": 15,
	} {
		dir := newDir(t)
		put(t, dir, "cur/1:2,", stored, 0)
		put(t, dir, "cur/2,S=77,W=88:2,", stored, 0) // as if edited after delivery
		deliver(t, dir, stored)
		for _, e := range list(t, dir) {
			if e.Size != int64(len(stored)) {
				t.Errorf("%q: size %d", stored, e.Size)
			}
			if got, err := dir.WireSize(e); got != want || err != nil {
				t.Errorf("%q: wire size %d of %s, %v", stored, got, e.Name, err)
			}
		}
	}
}

func TestSizesInNamesMustFitTheFile(t *testing.T) {
	dir := newDir(t)
	for name, want := range map[string]int64{
		"1,S=4,W=6": 6, "2,S=4,W=8": 8, "3,S=4,W=9": -1, "4,S=4,W=3": -1, "5,S=5,W=6": -1,
		"6,W=6": -1, "7,S=4": -1, "8,S=4,W=-6": -1, "9,S=4,W=99999999999999999999": -1, "A": -1,
		"B,W=6,S=4:2,S": 6, "C:2,S=4,W=6": -1,
	} {
		put(t, dir, "cur/"+name, "abcd", 0)
		for _, e := range list(t, dir) {
			if e.Name == name && e.Wire != want {
				t.Errorf("%s: wire size %d", name, e.Wire)
			}
		}
	}
}

func TestUniqueIDIsTheNameWithoutFlags(t *testing.T) {
	long := strings.Repeat("n", 71)
	for name, want := range map[string]string{
		"1700000000.123.host":      "1700000000.123.host",
		"1700000000.123.host:2,S":  "1700000000.123.host",
		"a,S=1,W=2:2,FS":           "a,S=1,W=2",
		strings.Repeat("n", 70):    strings.Repeat("n", 70),
		"with blank":               "hash",
		long:                       "hash",
		"\xc3\xa9":                 "hash",
		":2,S":                     "hash",
		"\x7f":                     "hash",
		"new\nline" + long + ":2,": "hash",
	} {
		got := maildir.Entry{Name: name}.UniqueID()
		if want == "hash" && len(got) == 48 && got == (maildir.Entry{Name: name + ":2,RS"}).UniqueID() {
			continue
		}
		if got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

func TestMarkSeenMovesToCur(t *testing.T) {
	dir := newDir(t)
	deliver(t, dir, "x\n")
	before := list(t, dir)[0]
	after, err := dir.MarkSeen(before)
	if err != nil || after.New || after.Name != before.Name+":2," || after.UniqueID() != before.UniqueID() {
		t.Fatalf("%+v, %v", after, err)
	}
	if got := list(t, dir)[0]; got != after {
		t.Errorf("listed as %+v", got)
	}
	if again, err := dir.MarkSeen(after); again != after || err != nil {
		t.Errorf("again: %+v, %v", again, err)
	}
	if _, err := dir.MarkSeen(before); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stale entry: %v", err)
	}
}

func TestMovedMessageIsStillFound(t *testing.T) {
	dir := newDir(t)
	deliver(t, dir, "here\n")
	listed := list(t, dir)[0]
	seen, err := dir.MarkSeen(listed)
	if err != nil {
		t.Fatal(err)
	}
	cur := filepath.Join(string(dir), "cur")
	if err := os.Rename(filepath.Join(cur, seen.Name), filepath.Join(cur, seen.Name+"RS")); err != nil {
		t.Fatal(err)
	}

	for _, stale := range []maildir.Entry{listed, seen} {
		f, err := dir.Open(stale)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f); string(b) != "here\n" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		f.Close()
	}
	if err := dir.Remove(listed); err != nil {
		t.Error(err)
	}
	if left := names(t, dir, "cur"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if err := dir.Remove(listed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestOpenNeitherFollowsLinksNorWaits(t *testing.T) {
	dir := newDir(t)
	os.Symlink("/etc/passwd", filepath.Join(string(dir), "new/link"))
	if err := syscall.Mkfifo(filepath.Join(string(dir), "new/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "fifo"} {
		if f, err := dir.Open(maildir.Entry{Name: name, New: true}); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
}

func TestCleanRemovesWhatNobodyUsed(t *testing.T) {
	dir := newDir(t)
	put(t, dir, "tmp/old", "x", 36*time.Hour+time.Minute)
	put(t, dir, "tmp/young", "x", 36*time.Hour-time.Minute)
	put(t, dir, "tmp/.hidden", "x", 99*time.Hour)
	put(t, dir, "new/old", "x", 99*time.Hour)
	os.Mkdir(filepath.Join(string(dir), "tmp/sub"), 0o700)
	os.Chtimes(filepath.Join(string(dir), "tmp/sub"), time.Unix(0, 0), time.Unix(0, 0))
	if err := dir.Clean(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(t, dir, "tmp"), " "); got != ".hidden sub young" {
		t.Errorf("tmp holds %s", got)
	}
	if got := len(list(t, dir)); got != 1 {
		t.Errorf("%d messages", got)
	}
}
