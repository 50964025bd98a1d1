package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
)

func plan(t *testing.T, dir, from, to string) *local.Plan {
	t.Helper()
	a := &local.Agent{Users: only(dir), Programs: &local.Programs{}, Receiver: &sent{}}
	p, err := a.Plan(t.Context(), sqmail.PathOf(from), sqmail.PathOf(to))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The example of spec/local.md §3.2.
func TestPlanListsAsQmailLocalDoes(t *testing.T) {
	dir := home(t, map[string]string{
		".qmail": "./Mailbox\n./Maildir/\n|prog a \n&fwd@x.y\nfwd2@x.y\n#c\n\n+list\nfw3@x.y  \n+other",
	})
	const listing = `mbox ./Mailbox
maildir ./Maildir/
program prog a
forward fwd@x.y
forward fwd2@x.y
forward fw3@x.y
did 2+3+1
`
	if got := plan(t, dir, "s@x.test", "u@h.test").String(); got != listing {
		t.Errorf("got\n%s", got)
	}
}

// The search order of spec/local.md §3.1: of the files that are there, the
// first is taken, and then removed.
func TestSearchOrder(t *testing.T) {
	for ext, files := range map[string][]string{
		"a-b-c":      {".qmail-a-b-c ", ".qmail-a-b-default c", ".qmail-a-default b-c", ".qmail-default a-b-c"},
		"a-b-":       {".qmail-a-b- ", ".qmail-a-b-default ", ".qmail-a-default b-", ".qmail-default a-b-"},
		"A.b-C":      {".qmail-a:b-c ", ".qmail-a:b-default C", ".qmail-default A.b-C"},
		"x-Default":  {".qmail-x-default Default", ".qmail-x-default Default", ".qmail-default x-Default"},
		"my-default": {".qmail-my-default default", ".qmail-default my-default"},
	} {
		dir := home(t, nil)
		for _, f := range files {
			name, _, _ := strings.Cut(f, " ")
			os.WriteFile(filepath.Join(dir, name), []byte("#"), 0o600)
		}
		for n, f := range files {
			if n > 0 && f == files[n-1] {
				continue // that file is gone
			}
			name, rest, _ := strings.Cut(f, " ")
			p := plan(t, dir, "", "u-"+ext+"@h.test")
			if p.File != name || p.Default != rest || p.HasDefault != strings.HasSuffix(name, "default") {
				t.Errorf("%s: file %s, default %q (%v); want %s", ext, p.File, p.Default, p.HasDefault, f)
			}
			os.Remove(filepath.Join(dir, name))
		}
	}
}

func TestPlainAddressMayHaveADefaultFile(t *testing.T) {
	dir := home(t, map[string]string{".qmaildefault": "#", ".qmail": "#"})
	if p := plan(t, dir, "", "u@h.test"); p.File != ".qmail" || p.HasDefault {
		t.Errorf("%+v", p)
	}
	os.Remove(filepath.Join(dir, ".qmail"))
	if p := plan(t, dir, "", "u@h.test"); p.File != ".qmaildefault" || !p.HasDefault || p.Default != "" {
		t.Errorf("%+v", p)
	}
}

func TestSearchPassesOverWhatIsNoFile(t *testing.T) {
	dir := home(t, map[string]string{".qmail-default": "./here\n", "real": "./linked\n"})
	os.Mkdir(filepath.Join(dir, ".qmail-dir"), 0o700)
	if err := syscall.Mkfifo(filepath.Join(dir, ".qmail-fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Symlink("nowhere", filepath.Join(dir, ".qmail-dangling"))
	os.Symlink("real", filepath.Join(dir, ".qmail-link"))
	for ext, file := range map[string]string{
		"dir": ".qmail-default", "fifo": ".qmail-default", "dangling": ".qmail-default", "link": ".qmail-link", "default/x": ".qmail-default",
	} {
		if p := plan(t, dir, "", "u-"+ext+"@h.test"); p.File != file {
			t.Errorf("%s: %s", ext, p.File)
		}
	}
}

// The conditions of spec/local.md §3.3.
func TestReversePathOfForwards(t *testing.T) {
	owner := map[string]string{".qmail-list": "#", ".qmail-list-owner": "#", ".qmail-plain": "#", ".qmail-d-default": "#"}
	verp := map[string]string{".qmail-list": "#", ".qmail-list-owner": "#", ".qmail-list-owner-default": "#"}
	for _, c := range []struct {
		files          map[string]string
		from, to, want string
	}{
		{owner, "s@x.test", "u-List@h.test", "u-List-owner@h.test"},
		{verp, "s@x.test", "u-list@h.test", "u-list-owner-@h.test-@[]"},
		{verp, "", "u-list@h.test", ""},
		{verp, "#@[]", "u-list@h.test", "#@[]"},
		{owner, "s@x.test", "u-plain@h.test", "s@x.test"},
		{owner, "s@x.test", "u-d-list@h.test", "s@x.test"},
	} {
		if got := plan(t, home(t, c.files), c.from, c.to).ReversePath.Unquoted(); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.from, c.to, got, c.want)
		}
	}
}

func TestPlanFailsAsDeliverWould(t *testing.T) {
	dir := home(t, map[string]string{".qmail-p": "|true", ".qmail-f": "&x@y"})
	a := &local.Agent{Users: only(dir)}
	for to, class := range map[string]sqmail.Class{
		"u-none@h.test": sqmail.Rejection, "u-p@h.test": sqmail.Deferral, "u-f@h.test": sqmail.Deferral,
	} {
		_, err := a.Plan(t.Context(), sqmail.Path{}, sqmail.PathOf(to))
		if e, ok := errors.AsType[*sqmail.Error](err); !ok || e.Class != class || e.Reply.Class() != class {
			t.Errorf("%s: %v", to, err)
		}
		if o := deliver(t, a, message("x\n", "", to)); o.Class != class {
			t.Errorf("%s: %v", to, o)
		}
	}
}
