//go:build e2e

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/control/tcprules"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/internal/cdb"
)

// These tests have tinycdb's cdb read what our commands write, and the filters
// read what cdb writes.

// compiled is what our commands make of texts: the records, as cdb -d dumps
// them.
var compiled = []struct{ command, file, text, dump string }{
	{"newmrh", "control/morercpthosts", "Example.ORG \n# c\n.example.net\n", "+11,0:example.org->\n+12,0:.example.net->\n\n"},
	{"recipients", "users/recipients", "Joe@Example.org\nlist-@example.org\n", "+16,0::joe@example.org->\n+18,0::list-@example.org->\n\n"},
	{"mfrules", "control/mailfromrules", "joe&joe@x.test,sue@x.test\n10.0.0.1-2&@y.test\n192.0.2.&\n",
		"+3,22:joe->+joe@x.test+sue@x.test\n+8,8:10.0.0.1->+@y.test\n+8,8:10.0.0.2->+@y.test\n+8,0:192.0.2.->\n\n"},
	{"badmimetypes", "control/badmimetypes", "TVqQAAMAA programs\n#UEsDBBQAA\nUEsDBBQAA zip\n", "+9,0:TVqQAAMAA->\n+9,0:UEsDBBQAA->\n\n"},
	{"badloadertypes", "control/badloadertypes", "Mi5kb x\nMzIuZ\n", "+5,0:Mi5kb->\n+5,0:MzIuZ->\n\n"},
	{"tcprules", "control/rules.x", "10.:deny\n192.0.2.7:allow,RELAYCLIENT=\"\",A=/x y/\n=.example.net:allow\n:allow\n",
		"+3,1:10.->D\n+9,21:192.0.2.7->+RELAYCLIENT=\x00+A=x y\x00\n+13,0:=.example.net->\n+0,0:->\n\n"},
}

// compileAll runs our commands in a home of its own.
func compileAll(t *testing.T) (dir string) {
	t.Helper()
	dir = explainedHome(t)
	h := &home{t: t, dir: dir}
	for _, c := range compiled {
		h.write(c.file, c.text)
		args, stdin := []string{c.command, "-home", dir}, ""
		if c.command == "tcprules" {
			name := filepath.Join(dir, c.file+".cdb")
			args, stdin = []string{c.command, name, name + ".tmp"}, c.text
		}
		if _, errs, code := runCommand(t, stdin, args...); code != exitDone {
			t.Fatalf("%s: exit %d, %s", c.command, code, errs)
		}
	}
	return dir
}

func TestTinyCDBReadsOurs(t *testing.T) {
	dir := compileAll(t)
	for _, c := range compiled {
		name := filepath.Join(dir, c.file+".cdb")
		if dump := tool(t, nil, "cdb", "-d", name); dump != c.dump {
			t.Errorf("%s: cdb -d says\n%q\nwant\n%q", c.command, dump, c.dump)
		}
		db, err := cdb.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		db.Each(func(key, value []byte) bool {
			if out := tool(t, nil, "cdb", "-q", name, string(key)); out != string(value) {
				t.Errorf("%s: cdb -q says %q of %q, want %q", c.command, out, key, value)
			}
			return true
		})
		db.Close()
		if out, err := exec.Command("cdb", "-q", name, "no such key").CombinedOutput(); err == nil || len(out) > 0 {
			t.Errorf("%s: cdb found %q, which is not there", c.command, out)
		}
	}
}

// rebuilt has cdb make each database anew of its own dump of it.
func rebuilt(t *testing.T) func(file string) *filter.CDB {
	t.Helper()
	dir := compileAll(t)
	for _, c := range compiled {
		name := filepath.Join(dir, c.file+".cdb")
		dump := filepath.Join(dir, "dump")
		if err := os.WriteFile(dump, []byte(c.dump), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		tool(t, nil, "cdb", "-c", name, dump)
	}
	return func(file string) *filter.CDB {
		db := &filter.CDB{Path: filepath.Join(dir, file+".cdb")}
		t.Cleanup(func() { db.Close() })
		return db
	}
}

func TestOursReadTinyCDBs(t *testing.T) {
	open := rebuilt(t)
	peer := &sqmail.Peer{Remote: netip.MustParseAddrPort("10.0.0.2:25")}
	hosts := &filter.RcptHosts{Listed: filter.Listed(open("control/morercpthosts"))}
	users := &filter.Recipients{Rules: []filter.RecipientRule{{Domain: "example.org", Source: &filter.UserDatabase{Users: open("users/recipients")}}}}
	sender := &filter.LocalSender{Check: filter.SenderByRules, Rules: open("control/mailfromrules")}
	for _, test := range []struct {
		f        filter.Filter
		from, to string
		relay    bool
		ok       bool
	}{
		{f: hosts, to: "u@example.org", ok: true},
		{f: hosts, to: "u@a.example.net", ok: true},
		{f: hosts, to: "u@example.net"},
		{f: users, to: "JOE@example.org", ok: true},
		{f: users, to: "list-x@example.org", ok: true},
		{f: users, to: "sue@example.org"},
		{f: sender, from: "a@y.test", to: "u@example.org", relay: true, ok: true},
		{f: sender, from: "a@x.test", to: "u@example.org", relay: true},
	} {
		chain := &filter.Chain{Filters: []filter.Filter{test.f, hosts}, NewSession: func(_ context.Context, s *filter.Session) error {
			s.Relayed = test.relay
			return nil
		}}
		begun, err := chain.BeginSession(t.Context(), peer)
		if err != nil {
			t.Fatal(err)
		}
		p, env := begun.(*filter.Policy), &sqmail.Envelope{ReversePath: sqmail.PathOf(test.from)}
		err = p.CheckReversePath(t.Context(), peer, env)
		if err == nil {
			err = p.CheckRecipient(t.Context(), peer, env, &sqmail.Recipient{Path: sqmail.PathOf(test.to)})
		}
		if (err == nil) != test.ok || sqmail.ClassOf(err) == sqmail.Deferral {
			t.Errorf("%s: <%s> to <%s>: %v", test.f.Name(), test.from, test.to, err)
		}
	}
	for _, f := range []filter.BodyFilter{
		&filter.BadMIMEType{Types: open("control/badmimetypes")},
		&filter.BadLoaderType{Types: open("control/badloadertypes"), First: 'M'},
	} {
		scanner, err := f.Body(t.Context(), &filter.Session{Peer: peer})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(scanner, "Content-Transfer-Encoding: base64\n\nUEsDBBQAAMi5kbAAA\n")
		if v, err := scanner.End(); v.Action != sqmail.ActionReject || err != nil {
			t.Errorf("%s: %+v, %v", f.Name(), v, err)
		}
		scanner.Close()
	}
	rules := &tcprules.Rules{Database: open("control/rules.x")}
	for addr, want := range map[string]string{"10.1.2.3": "false []", "192.0.2.7": "true [{RELAYCLIENT } {A x y}]", "198.51.100.1": "true []"} {
		rule, err := rules.Match(control.Client{Addr: netip.MustParseAddr(addr)})
		if err != nil || rule == nil {
			t.Errorf("%s: %v, %v", addr, rule, err)
			continue
		}
		if got := fmt.Sprintf("%v %v", rule.Allow, rule.Variables); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// Whatever octets the records hold, and however many they are.
func TestAnyRecordsPassBothWays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	octets := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	records := map[string]string{"": "of the empty key"}
	for range 20_000 {
		records[octets(1+random.IntN(40))] = octets(random.IntN(60))
	}
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.cdb"), filepath.Join(dir, "theirs.cdb")
	var dump bytes.Buffer
	err := cdb.Create(ours, func(w *cdb.Writer) error {
		for _, key := range slices.Sorted(maps.Keys(records)) {
			fmt.Fprintf(&dump, "+%d,%d:%s->%s\n", len(key), len(records[key]), key, records[key])
			if err := w.Put([]byte(key), []byte(records[key])); err != nil {
				return err
			}
		}
		dump.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if tool(t, nil, "cdb", "-d", ours) != dump.String() {
		t.Error("cdb dumps other records than were put")
	}
	if out := tool(t, nil, "cdb", "-s", ours); !strings.Contains(out, fmt.Sprintf("number of records: %d", len(records))) {
		t.Errorf("cdb -s says\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(dir, "dump"), dump.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, nil, "cdb", "-c", theirs, filepath.Join(dir, "dump"))
	db, err := cdb.Open(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for key, want := range records {
		if value, found, err := db.Get([]byte(key)); string(value) != want || !found || err != nil {
			t.Fatalf("%q: %q, %v, %v", key, value, found, err)
		}
		if value, found, err := db.Get([]byte(key + "!")); found && records[key+"!"] != string(value) || err != nil {
			t.Fatalf("%q: %q, %v, %v", key+"!", value, found, err)
		}
	}
}
