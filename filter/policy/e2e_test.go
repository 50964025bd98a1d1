//go:build e2e

package policy_test

import (
	"bytes"
	"cmp"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/policy"
)

// startPostgrey starts the real postgrey on a port of loopback, with lists of
// those whom it lets in at once, and returns what POSTGREY would say.
func startPostgrey(t *testing.T, options ...string) (value string) {
	t.Helper()
	path, err := exec.LookPath("postgrey")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	account, group := ownerFor(t, dir)
	put := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	var out bytes.Buffer
	cmd := exec.Command(path, append([]string{
		"--inet=" + addr, "--dbdir=" + filepath.Join(dir, "db"), "--pidfile=" + filepath.Join(dir, "db", "pid"),
		"--user=" + account, "--group=" + group, "--auto-whitelist-clients=0", "--hostname=mx.test",
		"--whitelist-clients=" + put("clients", "friend.test\n203.0.113.0/24\n"),
		"--whitelist-recipients=" + put("recipients", "postmaster@\nopen@example.org\n"),
	}, options...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		if t.Failed() {
			t.Logf("postgrey said:\n%s", &out)
		}
	})
	until(t, ended, "postgrey does not answer", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return "127.0.0.1;" + port
}

// ownerFor makes the directory of the database for an account that is not root,
// which postgrey will not run as, and returns the names of it and its group.
func ownerFor(t *testing.T, dir string) (account, group string) {
	t.Helper()
	who, err := user.Current()
	if err == nil && who.Uid == "0" {
		who, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	of, err := user.LookupGroupId(who.Gid)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(who.Uid)
	gid, _ := strconv.Atoi(who.Gid)
	for up := dir; strings.HasPrefix(up, os.TempDir()+string(filepath.Separator)); up = filepath.Dir(up) {
		err = cmp.Or(err, os.Chmod(up, 0o755))
	}
	err = cmp.Or(err, os.Mkdir(filepath.Join(dir, "db"), 0o700), os.Chown(filepath.Join(dir, "db"), uid, gid))
	if err != nil {
		t.Fatal(err)
	}
	return who.Username, of.Name
}

// until waits for something that a program of others does in its own time.
func until(t *testing.T, ended <-chan struct{}, complaint string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !done(); {
		select {
		case <-ended:
			t.Fatal("the program ended: " + complaint)
		case <-deadline:
			t.Fatal(complaint)
		case <-tick.C:
		}
	}
}

// attempt is what a client hears about a recipient.
func attempt(t *testing.T, f *policy.Postgrey, addr, name, from, to string) sqmail.Verdict {
	t.Helper()
	s := &filter.Session{
		Peer:     &sqmail.Peer{Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 25), Name: name},
		Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf(from)},
	}
	v, err := f.Recipient(t.Context(), s, &sqmail.Recipient{Path: sqmail.PathOf(to)})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The real postgrey defers a stranger, lets it in when its time has passed, and
// never defers those on its lists.
func TestRealPostgrey(t *testing.T) {
	address, err := policy.ParsePostgrey(startPostgrey(t, "--delay=4"))
	if err != nil {
		t.Fatal(err)
	}
	client := &policy.Client{Address: address}
	t.Cleanup(func() { client.Close() })
	f := &policy.Postgrey{Client: client}

	for _, test := range []struct {
		name, addr, host, from, to string
		code                       int // 250: let in
	}{
		{"a stranger", "192.0.2.7", "mail.example.net", "a@example.net", "b@example.org", 450},
		{"again, too soon", "192.0.2.7", "mail.example.net", "a@example.net", "b@example.org", 450},
		{"the null path", "192.0.2.7", "", "", "b@example.org", 450},
		{"IPv6", "2001:db8::7", "", "a@example.net", "b@example.org", 450},
		{"a path to be quoted", "192.0.2.7", "", `"a b"@example.net`, `"b\"c"@example.org`, 450},
		{"a client of the list, by name", "192.0.2.8", "mx.friend.test", "a@example.net", "b@example.org", 250},
		{"a client of the list, by address", "203.0.113.9", "", "a@example.net", "b@example.org", 250},
		{"a recipient of the list", "192.0.2.9", "", "a@example.net", "open@example.org", 250},
		{"postmaster, of the list", "192.0.2.9", "", "a@example.net", "postmaster@example.org", 250},
	} {
		v := attempt(t, f, test.addr, test.host, test.from, test.to)
		if code := sqmail.ReplyFor(v.Err()).Code; code != test.code {
			t.Errorf("%s: %d (%s), want %d", test.name, code, v.Rule, test.code)
		}
		if v.Rule == `"out of order"` {
			t.Errorf("%s: postgrey was not asked", test.name)
		}
	}

	// The time passes for all of one network at once, as postgrey has it.
	var v sqmail.Verdict
	start := time.Now()
	until(t, nil, "the time does not pass", func() bool {
		v = attempt(t, f, "192.0.2.200", "other.example.net", "A@example.net", "b@example.org")
		return v.Action == sqmail.ActionPass
	})
	if !strings.Contains(v.Rule, "PREPEND X-Greylist: delayed") {
		t.Errorf("let in by %s", v.Rule)
	}
	t.Logf("let in after %v", time.Since(start))
	if v := attempt(t, f, "192.0.2.7", "mail.example.net", "a@example.net", "b@example.org"); v.Action != sqmail.ActionPass || v.Rule != `"DUNNO"` {
		t.Errorf("once let in: %+v", v)
	}
	if v := attempt(t, f, "192.0.2.7", "mail.example.net", "c@example.net", "b@example.org"); v.Reply.Code != 450 {
		t.Errorf("another reverse-path: %+v", v)
	}
}

// What postgrey is told to answer in place of DEFER_IF_PERMIT is understood, and
// so is one that closes the connection behind each answer.
func TestRealPostgreyOfOtherActions(t *testing.T) {
	for _, test := range []struct {
		action string
		reject bool
		code   int
	}{
		{"DEFER", false, 450},
		{"450 4.2.0 later", false, 450},
		{"550 5.7.1 never", false, 250},
		{"550 5.7.1 never", true, 550},
	} {
		address, err := policy.ParsePostgrey(startPostgrey(t, "--exim", "--greylist-action="+test.action))
		if err != nil {
			t.Fatal(err)
		}
		client := &policy.Client{Address: address}
		f := &policy.Postgrey{Client: client, Reject: test.reject}
		for range 3 {
			v := attempt(t, f, "192.0.2.7", "", "a@example.net", "b@example.org")
			if code := sqmail.ReplyFor(v.Err()).Code; code != test.code || v.Rule == `"out of order"` {
				t.Errorf("%s: %+v, want %d", test.action, v, test.code)
			}
		}
		client.Close()
	}
}
