package filter_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
)

// certified is the connection of a client whose certificate is verified.
func certified(emails ...string) *tls.ConnectionState {
	cert := &x509.Certificate{EmailAddresses: emails}
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}
}

func TestLocalSender(t *testing.T) {
	bySubject := certified()
	bySubject.VerifiedChains[0][0].Subject = pkix.Name{Names: []pkix.AttributeTypeAndValue{
		{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, Value: "Joe@example.org"},
	}}
	unverified := &tls.ConnectionState{PeerCertificates: certified("joe@example.org").VerifiedChains[0]}
	for _, test := range []struct {
		value, user, from string
		tls               *tls.ConnectionState
		ok                bool
	}{
		{value: "", from: "joe@ours.test", ok: true},
		{value: "", from: "joe@sub.OURS.test", ok: true},
		{value: "", from: "joe@example.org"},
		{value: "x", from: "joe@ours.test", ok: true},
		{value: "x", from: "joe@x"},
		{value: "example.com", from: "joe@Example.com", ok: true},
		{value: "example.com", from: "joe@ours.test", ok: true},
		{value: "example.com", from: "joe@example"}, // the original took any beginning
		{value: "example.com", from: "joe@example.comx"},
		{value: "=", user: "Joe@example.org", from: "joe@EXAMPLE.org", ok: true},
		{value: "=", user: "joe", from: "joe@example.org"},
		{value: "=", from: "joe@ours.test"}, // nobody has authenticated
		{value: "?", tls: certified("joe@example.org"), from: "JOE@example.org", ok: true},
		{value: "?", tls: bySubject, from: "joe@example.org", ok: true},
		{value: "?", tls: certified("sue@example.org"), from: "joe@example.org"},
		{value: "?", tls: unverified, from: "joe@example.org"},
		{value: "?", from: "joe@ours.test"},
		{value: "!", from: "joe@ours.test", ok: true}, // no rules: the domains
		{value: "!", from: "joe@example.org"},
	} {
		f := &filter.LocalSender{Hosts: &filter.RcptHosts{Domains: filter.ListOf("ours.test", ".ours.test")}}
		f.Check, f.Domain = filter.ParseSenderCheck(test.value)
		s := &filter.Session{Peer: &sqmail.Peer{User: test.user, TLS: test.tls}, Relayed: true}
		if ok, verified := allowed(t, f, s, test.from); ok != test.ok || verified != test.ok {
			t.Errorf("LOCALMFCHECK %q, user %q, from %q: allowed %v, verified %v", test.value, test.user, test.from, ok, verified)
		}
	}
}

// allowed runs a transaction as far as a recipient.
func allowed(t *testing.T, f *filter.LocalSender, s *filter.Session, from string) (ok, verified bool) {
	t.Helper()
	chain := &filter.Chain{
		Filters:    []filter.Filter{f},
		NewSession: func(_ context.Context, new *filter.Session) error { new.Relayed = s.Relayed; return nil },
	}
	begun, _ := chain.BeginSession(t.Context(), s.Peer)
	p := begun.(*filter.Policy)
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf(from)}
	if err := p.CheckReversePath(t.Context(), s.Peer, env); err != nil {
		t.Errorf("%s: %v", from, err)
	}
	err := p.CheckRecipient(t.Context(), s.Peer, env, new(sqmail.Recipient))
	if err != nil && sqmail.ReplyFor(err).Code != 553 {
		t.Errorf("%s: %v", from, err)
	}
	return err == nil, env.SenderVerified
}

func TestLocalSenderPassesWhatIsNobodys(t *testing.T) {
	f := &filter.LocalSender{Check: filter.SenderIsUser}
	relay := &filter.Session{Peer: &sqmail.Peer{User: "joe"}}
	if ok, verified := allowed(t, f, relay, ""); !ok || verified {
		t.Errorf("the null path: allowed %v, verified %v", ok, verified)
	}
	if ok, verified := allowed(t, f, stranger(), "joe"); !ok || verified {
		t.Errorf("a stranger: allowed %v, verified %v", ok, verified)
	}
}

func TestMailFromRules(t *testing.T) {
	for _, test := range []struct {
		rules, user, addr, host, from string
		ok                            bool
	}{
		// filter.md, 6.2
		{rules: "joe@example.com&joe.stein@example.com", user: "joe@example.com", from: "Joe.Stein@Example.com", ok: true},
		{rules: "joe@example.com&joe.stein@example.com", user: "joe@example.com", from: "boss@example.com"},
		{rules: "192.0.2.&@example.com", addr: "192.0.2.9", from: "any@example.com", ok: true},
		{rules: "192.0.2.&@example.com", addr: "192.0.2.9", from: "any@sub.example.com"},
		{rules: "192.0.2.&@example.com", addr: "192.0.2.9", from: "any@example.com.test"},
		{rules: "=.heaven.mil&god@heaven.mil,st.peter@heaven.mil", host: "gate.heaven.mil", from: "st.peter@heaven.mil", ok: true},
		{rules: "10.&", addr: "10.1.2.3", from: "any@thing.test", ok: true},
		{rules: "fe80:&user@my.local", addr: "fe80::1", from: "user@my.local", ok: true},
		{rules: "xx&", addr: "192.0.2.9", from: "a@b.c"},

		{rules: "joe@192.0.2.9&@a.test\njoe&@b.test", user: "joe", addr: "192.0.2.9", from: "x@a.test"}, // joe comes first
		{rules: "joe@192.0.2.9&@a.test\n192.0.2.9&@b.test", user: "joe", addr: "192.0.2.9", from: "x@a.test", ok: true},
		{rules: "joe@=h.test&@a.test", user: "JOE", host: "H.test", from: "x@a.test", ok: true},
		{rules: "=h.test&@a.test\n192.0.&@b.test", addr: "192.0.2.9", host: "h.test", from: "x@a.test", ok: true},
		{rules: "=&@a.test", host: "h.test", from: "x@a.test", ok: true},
		{rules: "=&@a.test", from: "x@a.test"},
		{rules: "2001:db8:&@a.test", addr: "2001:db8::5", from: "x@a.test", ok: true},
		{rules: "10.&@a.test", addr: "::ffff:10.1.2.3", from: "x@a.test", ok: true},
	} {
		db := filter.Keys{}
		if err := compile.MailFromRules(strings.NewReader(test.rules), db.Put); err != nil {
			t.Fatal(err)
		}
		peer := &sqmail.Peer{User: test.user, Name: test.host}
		if test.addr != "" {
			peer.Remote = netip.AddrPortFrom(netip.MustParseAddr(test.addr), 1)
		}
		f := &filter.LocalSender{Check: filter.SenderByRules, Rules: db}
		if ok, _ := allowed(t, f, &filter.Session{Peer: peer, Relayed: true}, test.from); ok != test.ok {
			t.Errorf("%q, %+v from %s: %v", test.rules, peer, test.from, ok)
		}
	}
}

// The keys of filter.md, 6.2, in their order: each decides as soon as those
// before it are gone.
func TestKeysOfMailFromRulesInOrder(t *testing.T) {
	for _, test := range []struct {
		peer sqmail.Peer
		keys []string
	}{
		{sqmail.Peer{User: "Joe", Name: "A.b.Test", Remote: netip.MustParseAddrPort("192.0.2.9:1")},
			[]string{"joe", "joe@192.0.2.9", "joe@=a.b.test", "192.0.2.9", "=a.b.test", "192.0.2.", "192.0.", "192.", "=.b.test", "=.test", "="}},
		{sqmail.Peer{Name: "h.test", Remote: netip.MustParseAddrPort("[2001:db8::9]:1")},
			[]string{"2001:db8::9", "=h.test", "2001:db8::", "2001:db8:", "2001:", "=.test", "="}},
	} {
		db := filter.Keys{}
		for i, key := range test.keys {
			db[key] = fmt.Appendf(nil, "+@d%d.test", i)
		}
		for i, key := range test.keys {
			for j := range test.keys {
				f := &filter.LocalSender{Check: filter.SenderByRules, Rules: db}
				if ok, _ := allowed(t, f, &filter.Session{Peer: &test.peer, Relayed: true}, fmt.Sprintf("x@d%d.test", j)); ok != (i == j) {
					t.Errorf("%q comes first: x@d%d.test is allowed: %v", key, j, ok)
				}
			}
			delete(db, key)
		}
	}
}

func TestFirstMailFromRuleDecidesUnlessPermissive(t *testing.T) {
	rules := filter.Keys{"joe": []byte("+@a.test"), "10.": nil}
	peer := &sqmail.Peer{User: "joe", Remote: netip.MustParseAddrPort("10.0.0.1:1")}
	for _, permissive := range []bool{false, true} {
		f := &filter.LocalSender{Check: filter.SenderByRules, Rules: rules, Permissive: permissive}
		if ok, _ := allowed(t, f, &filter.Session{Peer: peer}, "x@b.test"); ok != permissive {
			t.Errorf("permissive %v: %v", permissive, ok)
		}
	}
}

func TestMailFromRulesThatCannotBeReadAreADeferral(t *testing.T) {
	dir := t.TempDir()
	writeCDB(t, filepath.Join(dir, "keyless.cdb"))
	hosts := &filter.RcptHosts{Domains: filter.ListOf("ours.test")}
	for _, path := range []string{dir, filepath.Join(dir, "keyless.cdb")} {
		f := &filter.LocalSender{Check: filter.SenderByRules, Rules: &filter.CDB{Path: path}, Hosts: hosts}
		s := &filter.Session{Peer: &sqmail.Peer{User: "joe"}, Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("x@ours.test")}}
		if _, err := f.ReversePath(t.Context(), s); err == nil || s.Envelope.SenderVerified {
			t.Errorf("%s: %v, verified %v", path, err, s.Envelope.SenderVerified)
		}
	}
	absent := &filter.LocalSender{Check: filter.SenderByRules, Rules: &filter.CDB{Path: filepath.Join(dir, "absent")}, Hosts: hosts}
	if ok, _ := allowed(t, absent, &filter.Session{Peer: &sqmail.Peer{User: "joe"}}, "x@ours.test"); !ok {
		t.Error("without the file the domains count")
	}
	broken := errors.New("damaged")
	hosts.Listed = func(context.Context, string) (bool, error) { return true, broken }
	s := &filter.Session{Peer: &sqmail.Peer{User: "joe"}, Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("x@b.test")}}
	if _, err := (&filter.LocalSender{Hosts: hosts}).ReversePath(t.Context(), s); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestCertificateMakesARelayClientIfTheRulesSaySo(t *testing.T) {
	for _, test := range []struct {
		says bool
		tls  *tls.ConnectionState
		want bool
	}{
		{true, certified(), true},
		{false, certified(), false},
		{true, &tls.ConnectionState{PeerCertificates: certified().VerifiedChains[0]}, false},
		{true, nil, false},
	} {
		s := &filter.Session{Peer: &sqmail.Peer{TLS: test.tls}, CertRelayed: test.says}
		if got := s.RelayClient(); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
