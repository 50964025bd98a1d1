package control

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail/internal/cdb"
)

// nonsense is, for each file of a home, a text that it must not have; its problem
// names the last line. Files without a text here take any.
var nonsense = map[string]string{
	"control/authsenders": "#\na@b.example:relay;0\n",
	"control/badhelo":     "#\n[a\n", "control/badmailfrom": "#\n[a\n", "control/badrcptto": "#\n[a\n",
	"control/badloadertypes": "#\nTV\n", "control/badmimetypes": "#\nTVqQ\n",
	"control/bouncefrom": "", "control/bouncehost": "-x\n", "control/bouncemaxbytes": "9999999999\n",
	"control/concurrencylocal": "100001\n", "control/concurrencyremote": "many\n",
	"control/databytes": "10M\n", "control/defaultdelivery": "", "control/doublebouncehost": "a b\n",
	"control/envnoathost": "a b\n", "control/helohost": "# mx\n", "control/localiphost": "[1.2.3.4]\n",
	"control/locals": "#\njoe@example.org\n", "control/me": "mx example\n",
	"control/mailfromrules": "#\nno ampersand\n", "control/mimefilter": "#\nnonsense\n",
	"control/morercpthosts": "#\n*.example.org\n", "control/percenthack": "#\na@b\n",
	"control/qmtproutes": "#\na.example:a b\n", "control/queuelifetime": "-1\n", "control/rbl": "#\n:\n",
	"control/rcpthosts": "#\n*\n", "control/recipients": "#\nexample.org:\n", "control/rules.smtpd": "#\n:permit\n",
	"control/services": "#\nsmtpd gopher :70\n", "control/smtpgreeting": "\x01\n", "control/smtproutes": "#\na.example:r;x\n",
	"control/timeoutconnect": "soon\n", "control/timeoutremote": "99999999999\n", "control/timeoutsmtpd": "1h\n",
	"control/virtualdomains": "#\nexample.org\n",
	"users/accounts":         "#\nnobody knows\n", "users/assign": "=a:a:1:1:/a:::\noops\n.\n", "users/authuser": "#\nno colon\n",
}

// databases are the files that are read where their text is absent.
var databases = []string{
	"control/morercpthosts.cdb", "control/badmimetypes.cdb", "control/badloadertypes.cdb", "control/mailfromrules.cdb",
	"control/rules.smtpd.cdb", "users/assign.cdb", "users/cdb", "users/recipients.cdb",
}

// damages are what may have become of a file. The problem is fatal, names the
// file, and, if there is one, the line.
var damages = []struct {
	name  string
	make  func(t *testing.T, path string)
	line  int
	texts bool // only of texts
}{
	{"directory", func(t *testing.T, path string) { try(t, os.Mkdir(path, 0o755)) }, 0, false},
	{"FIFO", func(t *testing.T, path string) { try(t, syscall.Mkfifo(path, 0o644)) }, 0, false},
	{"device", func(t *testing.T, path string) { try(t, os.Symlink("/dev/zero", path)) }, 0, false},
	{"link to nothing", func(t *testing.T, path string) { try(t, os.Symlink("nowhere", path)) }, 0, false},
	{"link to itself", func(t *testing.T, path string) { try(t, os.Symlink(filepath.Base(path), path)) }, 0, false},
	{"NUL", func(t *testing.T, path string) { put(t, path, "# x\nexample.org\x00\n") }, 2, true},
	{"UTF-16", func(t *testing.T, path string) { put(t, path, "\xff\xfe#\x00\n\x00") }, 1, true},
	{"64 MiB in a line", func(t *testing.T, path string) { try(t, os.Link(huge(t, "a"), path)) }, -1, true},
	{"64 MiB in lines", func(t *testing.T, path string) { try(t, os.Link(huge(t, "a\n"), path)) }, -1, true},
	{"foreign cdb", func(t *testing.T, path string) { put(t, path, strings.Repeat("key value\n", 1000)) }, 0, false},
	{"zeros for a cdb", func(t *testing.T, path string) { put(t, path, strings.Repeat("\x00", 64<<10)) }, 0, false},
	{"empty cdb file", func(t *testing.T, path string) { put(t, path, "") }, 0, false},
	{"truncated cdb", truncated, 0, false},
}

// onlyOfDatabases tells damages that a text may have, or that it shares.
func (d *damageOf) applies() bool {
	isCDB := strings.HasSuffix(d.file, "cdb")
	if strings.Contains(d.damage, "cdb") {
		return isCDB
	}
	return !isCDB || !d.texts
}

type damageOf struct {
	file, damage string
	texts        bool
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	try(t, os.WriteFile(path, []byte(text), 0o600))
}

// truncated leaves a database without its last octet.
func truncated(t *testing.T, path string) {
	putCDB(t, path)
	info, err := os.Stat(path)
	try(t, errors.Join(err, os.Truncate(path, info.Size()-1)))
}

func putCDB(t *testing.T, path string) {
	try(t, cdb.Create(path, func(w *cdb.Writer) error { return w.Put([]byte("10."), nil) }))
}

// hugeDir holds files of 64 MiB that tests link to.
var hugeDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "control-test")
	if err != nil {
		panic(err)
	}
	hugeDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func huge(t *testing.T, piece string) string {
	t.Helper()
	path := filepath.Join(hugeDir, fmt.Sprintf("%x", piece))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	f, err := os.Create(path)
	try(t, err)
	defer f.Close()
	_, err = io.CopyN(f, &repeated{piece}, 64<<20)
	try(t, err)
	return path
}

type repeated struct{ piece string }

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n+len(r.piece) <= len(p) {
		n += copy(p[n:], r.piece)
	}
	return n, nil
}

// wholeHome makes a home that reads all files, and returns its directory.
func wholeHome(t *testing.T, dir string) {
	t.Helper()
	try(t, Init(dir, "mx.example.org", InitOptions{}))
	put(t, filepath.Join(dir, "control/services"), "smtpd smtp 127.0.0.1:0 RBL=\"\" MIMEFILTER=\"\" rules=rules.smtpd\n")
	put(t, filepath.Join(dir, "control/recipients"), "example.org:users/recipients.cdb\n")
	put(t, filepath.Join(dir, "control/rbl"), "bl.example.net\n")
	putCDB(t, filepath.Join(dir, "users/recipients.cdb"))
}

// allFiles are the files that a home reads.
func allFiles() []string {
	files := append([]string{"control/rules.smtpd", "users/accounts", "users/assign", "users/authuser"}, databases...)
	for name, what := range knownFiles {
		switch name {
		case "accounts", "authuser", "concurrencyincoming", "rslbserver", "spfbehavior":
			continue
		}
		if !what.later && !strings.HasSuffix(name, ".cdb") {
			files = append(files, "control/"+name)
		}
	}
	return files
}

// Whatever has become of a file of a home, the home is not used, and the file is
// named; neither memory nor time grow with it.
func TestDamagedFilesAreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	wholeHome(t, dir)
	if err := failure(Check(dir)); err != nil {
		t.Fatal(err)
	}
	for _, file := range allFiles() {
		for _, damage := range damages {
			if !(&damageOf{file, damage.name, damage.texts}).applies() {
				continue
			}
			t.Run(file+" "+damage.name, func(t *testing.T) {
				path := filepath.Join(dir, file)
				aside(t, path)
				if text, isCDB := strings.CutSuffix(path, ".cdb"); isCDB {
					aside(t, text)
				}
				aside(t, path)
				damage.make(t, path)
				defer os.Remove(path)
				p := refusedFor(t, dir, file)
				if damage.line >= 0 && p.Line != damage.line || damage.line < 0 && p.Line == 0 && !strings.Contains(p.Text, "longer than 16 MiB") {
					t.Errorf("told of the wrong line: %v", p)
				}
			})
		}
	}
}

// aside puts a file aside for the time of a test.
func aside(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err != nil {
		return
	}
	try(t, os.Rename(path, path+".aside"))
	t.Cleanup(func() { try(t, os.Rename(path+".aside", path)) })
}

// refusedFor checks a home that cannot be used because of one file, and returns
// what is told of that.
func refusedFor(t *testing.T, dir, file string) Problem {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	c, err := Load(dir)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 200 {
		t.Errorf("%d MiB of memory", got)
	}
	if took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if err == nil {
		c.Close()
		t.Fatal("taken")
	}
	e, _ := errors.AsType[*Error](err)
	if len(e.Problems) != 1 || e.Problems[0].File != file {
		t.Fatalf("told %v", e.Problems)
	}
	for _, p := range Check(dir) {
		if p.File == file && !p.Fatal {
			t.Errorf("told besides: %v", p)
		}
	}
	return e.Problems[0]
}

// What makes no sense is told with its line. Where a file that makes no sense
// cannot do harm that is a warning.
func TestNonsenseIsToldWithItsLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	wholeHome(t, dir)
	for _, file := range allFiles() {
		if strings.HasSuffix(file, "cdb") {
			continue
		}
		text, found := nonsense[file]
		if !found {
			if file != "control/doublebounceto" {
				t.Errorf("%s: no test", file)
			}
			continue
		}
		t.Run(file, func(t *testing.T) {
			path := filepath.Join(dir, file)
			aside(t, path)
			put(t, path, text)
			defer os.Remove(path)
			told := Problem{}
			for _, p := range Check(dir) {
				if p.File == file && told.File == "" {
					told = p
				}
			}
			if want := max(1, strings.Count(strings.TrimSuffix(text, ".\n"), "\n")); told.Line != want {
				t.Errorf("told %v, want line %d", told, want)
			}
		})
	}
}

// Lists of usual and unusual length are taken.
func TestLongListsAreTaken(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	wholeHome(t, dir)
	lines := func(format string) string {
		var b strings.Builder
		for i := range 100_000 {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, format := range map[string]string{
		"rcpthosts": "d%d.example.org\n", "badmailfrom": "spam%d@example.net\n", "badrcptto": "gone%d@example.org\n",
		"badhelo": "host%d.example.net\n", "virtualdomains": "v%d.example.org:joe\n", "smtproutes": "r%d.example.net:relay.example.org\n",
		"morercpthosts": "m%d.example.org\n", "locals": "l%d.example.org\n",
	} {
		put(t, filepath.Join(dir, "control", name), lines(format))
	}
	try(t, cdb.Create(filepath.Join(dir, "users/recipients.cdb"), func(w *cdb.Writer) error {
		for i := range 1_000_000 {
			if err := w.Put(fmt.Appendf(nil, ":user%d@example.org", i), nil); err != nil {
				return err
			}
		}
		return nil
	}))
	c, err := Load(dir)
	try(t, err)
	defer c.Close()
	if _, ok := c.Accepts("m99999.example.org"); !ok {
		t.Error("the last entry is missing")
	}
}
