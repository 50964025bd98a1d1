package control_test

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/control/tcprules"
	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
	"github.com/sqmail/sqmail/internal/cdb"
)

// memory is a file to write to.
type memory struct {
	b  []byte
	at int64
}

func (m *memory) Write(p []byte) (int, error) {
	if need := m.at + int64(len(p)); need > int64(len(m.b)) {
		m.b = append(m.b, make([]byte, need-int64(len(m.b)))...)
	}
	n := copy(m.b[m.at:], p)
	m.at += int64(n)
	return n, nil
}

func (m *memory) Seek(offset int64, _ int) (int64, error) { m.at = offset; return offset, nil }

// cdbOf returns a database of a text, as a program of qmail's makes it.
func cdbOf(t testing.TB, text string, c func(io.Reader, func(key, value []byte) error) error) string {
	t.Helper()
	var m memory
	w := cdb.NewWriter(&m)
	if err := errors.Join(c(strings.NewReader(text), w.Put), w.Finish()); err != nil {
		t.Fatal(err)
	}
	return string(m.b)
}

// records is a database of keys and values.
func records(t testing.TB, pairs ...string) string {
	return cdbOf(t, "", func(_ io.Reader, put func(key, value []byte) error) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
}

// Where the text is absent its cdb is read.
func TestMoreRcptHostsFromTheDatabaseAlone(t *testing.T) {
	c := load(t, map[string]string{"rcpthosts": "", "morercpthosts.cdb": cdbOf(t, "More.example\n.sub.example\n", compile.MoreRcptHosts)})
	defer c.Close()
	f := c.RcptFilter()
	for domain, want := range map[string]bool{"MORE.example": true, "x.more.example": false, "a.b.sub.example": true, "sub.example": false, "other.test": false} {
		if e, got := c.Accepts(domain); got != want || got && e.File != "control/morercpthosts.cdb" {
			t.Errorf("%s: %v %v", domain, e, got)
		}
		v, err := f.Recipient(t.Context(), &filter.Session{Peer: &sqmail.Peer{}}, &sqmail.Recipient{Path: sqmail.PathOf("joe@" + domain)})
		if err != nil || (v.Action == sqmail.ActionPass) != want {
			t.Errorf("%s: %+v %v", domain, v, err)
		}
	}
	for _, p := range c.Problems {
		t.Errorf("%v", p)
	}
}

func TestAClosedDatabaseDefers(t *testing.T) {
	dir := newHome(t)
	write(t, dir, "control/morercpthosts.cdb", cdbOf(t, "more.example\n", compile.MoreRcptHosts))
	c, err := control.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := c.RcptFilter()
	ask := func() (sqmail.Verdict, error) {
		return f.Recipient(t.Context(), &filter.Session{Peer: &sqmail.Peer{}}, &sqmail.Recipient{Path: sqmail.PathOf("joe@more.example")})
	}
	if v, err := ask(); err != nil || v.Action != sqmail.ActionPass {
		t.Fatal(v, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(); err == nil || !strings.Contains(err.Error(), "control/morercpthosts.cdb") || sqmail.ClassOf(err) != sqmail.Deferral {
		t.Errorf("%v", err)
	}
	if _, ok := c.Accepts("more.example"); ok {
		t.Error("accepted what cannot be looked up")
	}
}

func TestSignaturesFromTheDatabaseAlone(t *testing.T) {
	c := load(t, map[string]string{
		"badmimetypes.cdb":   cdbOf(t, "TVqQAAMAA\n", compile.BadMIMETypes),
		"badloadertypes.cdb": cdbOf(t, "M0hyd\n", compile.BadLoaderTypes),
	})
	for key, db := range map[string]filter.Database{"TVqQAAMAA": c.BadMIMETypes, "M0hyd": c.BadLoaderTypes} {
		if _, found, err := db.Get([]byte(key)); !found || err != nil {
			t.Errorf("%s: %v %v", key, found, err)
		}
		if _, found, _ := db.Get([]byte("nothing")); found {
			t.Error("found what is not there")
		}
	}
	if c = load(t, nil); c.BadMIMETypes != nil || c.BadLoaderTypes != nil {
		t.Error("signatures without a file")
	}
}

func TestRecipientsNameDatabasesThatMustBeThere(t *testing.T) {
	with := func(db string) map[string]string {
		return map[string]string{"recipients": "# x\nexample.org:users/recipients.cdb\n", "users/recipients.cdb": db}
	}
	good := cdbOf(t, "joe@example.org\n", compile.Recipients)
	load(t, with(good))
	refuse(t, home(with(absent)), "control/recipients:2: users/recipients.cdb does not exist")
	refuse(t, home(with(good[:len(good)-1])), "users/recipients.cdb: cannot be read: it is no cdb, or a part of one")
}

// newu is the record of users/assign's "=local:" and "+prefix:".
const joeRecord = "joe\x00507\x00100\x00/home/joe\x00"

func TestUsersFromTheDatabaseAlone(t *testing.T) {
	db := records(t,
		"!joe\x00", joeRecord+"\x00\x00",
		"!joe-", joeRecord+"-\x00\x00",
		"!", "alias\x007790\x002108\x00/q/alias\x00-\x00\x00",
		"", "-")
	for _, name := range []string{"users/cdb", "users/assign.cdb"} {
		c := load(t, map[string]string{name: db})
		for _, tt := range []struct {
			name string
			want local.User
		}{
			{"Joe", local.User{Name: "joe", Home: "/home/joe"}},
			{"joe-Lists", local.User{Name: "joe", Home: "/home/joe", Dash: "-", Ext: "Lists"}},
			{"joey", local.User{Name: "alias", Home: "/q/alias", Dash: "-", Ext: "joey"}},
		} {
			if got, err := c.Users.Lookup(t.Context(), tt.name); err != nil || got != tt.want {
				t.Errorf("%s: %s: %+v %v", name, tt.name, got, err)
			}
		}
	}
	// A record that is not one of users/assign is nobody's mail.
	c := load(t, map[string]string{"users/assign.cdb": records(t, "!joe\x00", "joe", "", "-")})
	if u, err := c.Users.Lookup(t.Context(), "joe"); err == nil || errors.Is(err, local.ErrNoUser) {
		t.Errorf("%+v %v", u, err)
	}
	c = load(t, map[string]string{"users/assign.cdb": records(t, "joe", "x")})
	if u, err := c.Users.Lookup(t.Context(), "joe"); err == nil || errors.Is(err, local.ErrNoUser) {
		t.Errorf("%+v %v", u, err)
	}
}

func TestRulesFromTheDatabase(t *testing.T) {
	text := "127.:allow,RELAYCLIENT=\"\"\n10.1.2.3-5:deny\n192.0.2.0/24:allow,DATABYTES=\"7\"\n=.example.net:allow,DATABYTES=\"8\"\n2001:db8:::deny\n:allow\n"
	db := cdbOf(t, text, tcprules.Compile)
	clients := []control.Client{
		{Addr: netip.MustParseAddr("127.0.0.1")}, {Addr: netip.MustParseAddr("10.1.2.4")}, {Addr: netip.MustParseAddr("10.1.2.6")},
		{Addr: netip.MustParseAddr("192.0.2.9")}, {Addr: netip.MustParseAddr("203.0.113.1"), Host: "a.b.example.net"},
		{Addr: netip.MustParseAddr("2001:db8::1")}, {},
	}
	want := load(t, map[string]string{"services": "x smtp :25 rules=r", "r": text}).Services[0]
	for _, files := range []map[string]string{
		{"services": "x smtp :25 rules=r.cdb", "r.cdb": db},
		{"services": "x smtp :25 rules=r", "r.cdb": db}, // the text is absent
		{"services": "x smtp :25 rules=r.cdb", "r.cdb": db, "r": ":deny"},
	} {
		got := load(t, files).Services[0]
		for _, c := range clients {
			a, b := want.For(c), got.For(c)
			if a.Allow != b.Allow || a.RelayClient != b.RelayClient || a.DataBytes != b.DataBytes || b.Rule.File != "control/r.cdb" {
				t.Errorf("%v: %+v, want %+v", c, b, a)
			}
		}
	}
}

// What tcprules did not write is no rule, least of all one that allows.
func TestRulesDatabaseThatIsNotUnderstood(t *testing.T) {
	for _, tt := range []struct{ key, value, want string }{
		{"10.", "D+X", "control/r.cdb: the value of the rule \"10.\" is damaged"},
		{"10.", "allow", "control/r.cdb: the value"},
		{"10.", "+A=1", "control/r.cdb: the value"},
		{"10.", "+=1\x00", "control/r.cdb: the value"},
		{"ten", "D", "control/r.cdb: "},
		{"_012", "D", "control/r.cdb: "},
	} {
		refuse(t, home(map[string]string{"services": "x smtp :25 rules=r.cdb", "r.cdb": records(t, tt.key, tt.value)}), tt.want)
	}
	refuse(t, home(map[string]string{"services": "x smtp :25 rules=r.cdb"}), "control/services:1: control/r.cdb does not exist")
	// A value that a variable cannot have is refused as it is in a text.
	refuse(t, home(map[string]string{"services": "x smtp :25 rules=r.cdb", "r.cdb": records(t, "10.", "+DATABYTES=x\x00")}), "control/r.cdb: DATABYTES")
}

// Some programs write networks as bits.
func TestRulesDatabaseWithBits(t *testing.T) {
	c := load(t, map[string]string{"services": "x smtp :25 rules=r.cdb", "r.cdb": records(t, "_00001010", "D", "^0010000000000001", "D")})
	for addr, allow := range map[string]bool{"10.9.9.9": false, "11.0.0.1": true, "2001:db8::1": false, "2002::1": true} {
		if p := c.Services[0].For(control.Client{Addr: netip.MustParseAddr(addr)}); p.Allow != allow {
			t.Errorf("%s: %v", addr, p.Allow)
		}
	}
}

func FuzzParseRuleRecord(f *testing.F) {
	f.Add([]byte("10."), []byte("D+A=b\x00"))
	f.Add([]byte("_0101"), []byte(""))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		rule, err := control.ParseRuleRecord(key, value)
		if err == nil && rule.Allow && strings.HasPrefix(string(value), "D") {
			t.Fatal("a rule that denies allows")
		}
	})
}
