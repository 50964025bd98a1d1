package remote_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/remote"
)

// authority is a CA of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func issue(t testing.TB, template *x509.Certificate, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // bubbles begin in 2000
	template.NotAfter = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

var newAuthority = sync.OnceValue(func() *authority {
	t := &testing.T{}
	cert, key := issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil)
	a := &authority{cert, key, x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
})

// serverFor returns the configuration of a server with a certificate for names.
func (a *authority) serverFor(t testing.TB, names ...string) *tls.Config {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "cn.test"}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	cert, key := issue(t, template, a)
	return &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}},
		SessionTicketsDisabled: true, // net.Pipe has no buffer for them
	}
}

func policy(r *remote.TLSRule) remote.TLSPolicy {
	return remote.TLSPolicyFunc(func(context.Context, remote.TLSTarget) (*remote.TLSRule, error) { return r, nil })
}

const (
	offersTLS  = "S: 220 x\nC: EHLO me.test\nS: 250-x\nS: 250-PIPELINING\nS: 250 STARTTLS\n"
	startsTLS  = offersTLS + "C: STARTTLS\nS: 220 go\nTLS:\n"
	helloAgain = "C: EHLO me.test\nS: 250 x\n"
	sends      = mails + rcpts + datas + takes
	overTLS    = startsTLS + helloAgain + sends
	inClear    = "S: 220 x\nC: EHLO me.test\nS: 250-x\nS: 250 STARTTLS\n" + sends

	acceptedTLS = "K192.0.2.1 TLS transmitted message accepted.\nRemote host said: 250 2.0.0 queued\n"
	tlsError    = "ZTLS connection/protocol error for host: x.test. (#4.7.5)\n"
)

// TestTLSModes is spec/remote.md 6.1: what is done and said for each mode.
func TestTLSModes(t *testing.T) {
	never, required := &remote.TLSRule{Mode: remote.TLSNever}, &remote.TLSRule{Mode: remote.TLSRequired}
	for _, tt := range []struct {
		name    string
		rule    *remote.TLSRule
		scripts []string
		want    string
	}{
		{"offered", nil, []string{overTLS}, acceptedTLS},
		{"not offered", nil, []string{takesAll}, accepted},
		{"refused", nil, []string{offersTLS + "C: STARTTLS\nS: 454 no\n" + group + "S: 250 ok\nS: 250 ok\nS: 354 go\n" + takes}, accepted},
		{"left after it", nil, []string{offersTLS + "C: STARTTLS\nS: 421 no\nclose", inClear}, accepted},
		{"EOF after it", nil, []string{offersTLS + "C: STARTTLS\nclose", inClear}, accepted},
		{"handshake fails", nil, []string{offersTLS + "C: STARTTLS\nS: 220 go\nclose", inClear}, accepted},
		{"handshake nonsense", nil, []string{offersTLS + "C: STARTTLS\nS: 220 go\nhang", inClear}, accepted},
		{"octets before the handshake", nil, []string{offersTLS + "C: STARTTLS\nraw: \"220 go\\r\\n250 x\\r\\n\"\nhang"}, tlsError},
		{"EOF after the handshake", nil, []string{startsTLS + "close"}, died},

		{"never", never, []string{inClear}, accepted},

		{"required", required, []string{overTLS}, acceptedTLS},
		{"required, not offered", required, []string{greets}, "ZI wasn't able to negotiate a TLS connection with: x.test. (#4.7.4)\n"},
		{"required, X-STARTTLS", required, []string{offers("X-STARTTLS")}, "ZI wasn't able to negotiate a TLS connection with: x.test. (#4.7.4)\n"},
		{"required, refused", required, []string{offersTLS + "C: STARTTLS\nS: 554 no"}, "ZConnected to 192.0.2.1 but STARTTLS was rejected.\nRemote host said: 554 no\n"},
		{"required, handshake fails", required, []string{offersTLS + "C: STARTTLS\nS: 220 go\nclose"}, tlsError},
		{"required, HELO only", required, []string{"S: 220 x\nC: EHLO me.test\nS: 500 x\nC: HELO me.test\nS: 250 x"}, "ZI wasn't able to negotiate a TLS connection with: x.test. (#4.7.4)\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.tls = newAuthority().serverFor(t, "mx.x.test")
				w.hosts["192.0.2.1:25"] = tt.scripts
				a := w.agent()
				a.TLS = policy(tt.rule)
				if got := one(t, a); got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				if n := len(w.calls()); n != len(tt.scripts) {
					t.Errorf("%d connections", n)
				}
				w.done(a)
			})
		})
	}
}

func TestWhatWasLearntBeforeTLSIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.tls = newAuthority().serverFor(t)
		w.hosts["192.0.2.1:25"] = []string{"S: 220 x\nC: EHLO me.test\nS: 250-x\nS: 250-SIZE 1\nS: 250-PIPELINING\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS:\n" +
			helloAgain + sends}
		a := w.agent()
		if got := one(t, a); got != acceptedTLS {
			t.Errorf("%q", got)
		}
		w.done(a)
	})
}

func TestFailedTLSIsRememberedForAnHour(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.tls = newAuthority().serverFor(t)
		w.hosts["192.0.2.1:25"] = []string{offersTLS + "C: STARTTLS\nS: 220 go\nclose", inClear, inClear, overTLS}
		a := w.agent()
		for _, want := range []string{accepted, accepted, acceptedTLS} {
			if got := one(t, a); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			time.Sleep(31 * time.Minute)
		}
		w.done(a)
	})
}

func TestImplicitTLS(t *testing.T) {
	for _, relay := range []sqmail.Relay{
		{Host: "192.0.2.1", Protocol: "smtps"},
		{Host: "192.0.2.1", Port: 465},
		{Host: "192.0.2.1", Protocol: "smtps", Port: 10465},
	} {
		for script, want := range map[string]string{
			"TLS:\n" + takesAll: acceptedTLS,
			"close":             strings.Replace(tlsError, "x.test", "192.0.2.1", 1),
		} {
			bubble(t, func(t *testing.T, w *world) {
				w.tls = newAuthority().serverFor(t)
				for _, port := range []string{"465", "10465"} {
					w.hosts["192.0.2.1:"+port] = []string{script}
				}
				a, m := w.agent(), message(mail, "u@x.test")
				m.Route.Relay = relay
				if got := short(deliver(t, a, m)[0]); got != want {
					t.Errorf("%+v: %q", relay, got)
				}
				w.done(a)
			})
		}
	}
}

// TestCertificates: what a rule asks of the peer's certificate.
func TestCertificates(t *testing.T) {
	ca, other := newAuthority(), x509.NewCertPool()
	const chain, subject = "ZUnable to verify X.500 certificate from: x.test. (#4.7.5)\n", "ZUnable to validate X.500 certificate Subject for: x.test. (#4.7.5)\n"
	for _, tt := range []struct {
		name  string
		rule  remote.TLSRule
		names string
		want  string
	}{
		{"chain", remote.TLSRule{VerifyChain: true, Roots: ca.pool}, "any.test", acceptedTLS},
		{"another CA", remote.TLSRule{VerifyChain: true, Roots: other}, "x.test", chain},
		{"name", remote.TLSRule{VerifyName: true}, "a.test X.Test", acceptedTLS},
		{"other name", remote.TLSRule{VerifyName: true}, "mx.x.test", subject},
		{"the host's counts", remote.TLSRule{VerifyName: true, HostCounts: true}, "mx.x.test", acceptedTLS},
		{"given names", remote.TLSRule{VerifyName: true, Names: []string{"a.test", "b.test"}}, "b.test", acceptedTLS},
		{"given names, none fits", remote.TLSRule{VerifyName: true, Names: []string{"a.test", "b.test"}}, "x.test", subject},
		{"wildcard", remote.TLSRule{VerifyName: true, Names: []string{"a.wild.test"}}, "*.wild.test", acceptedTLS},
		{"wildcard, exact", remote.TLSRule{VerifyName: true, ExactName: true, Names: []string{"a.wild.test"}}, "*.wild.test", subject},
		{"wildcard is one label", remote.TLSRule{VerifyName: true, Names: []string{"a.b.wild.test"}}, "*.wild.test", subject},
		{"wildcard is a label", remote.TLSRule{VerifyName: true, Names: []string{"wild.test"}}, "*.wild.test", subject},
		{"wildcard for a top domain", remote.TLSRule{VerifyName: true}, "*.test", subject},
		{"common name", remote.TLSRule{VerifyName: true, Names: []string{"cn.test"}}, "", acceptedTLS},
		{"common name beside names", remote.TLSRule{VerifyName: true, Names: []string{"cn.test"}}, "x.test", subject},
		{"address", remote.TLSRule{VerifyName: true, Names: []string{"[192.0.2.1]"}}, "192.0.2.1", acceptedTLS},
		{"other address", remote.TLSRule{VerifyName: true, Names: []string{"192.0.2.2"}}, "192.0.2.1", subject},
		{"A-label", remote.TLSRule{VerifyName: true, Names: []string{"münchen.test"}}, "xn--mnchen-3ya.test", acceptedTLS},
		{"own check", remote.TLSRule{Verify: func(tls.ConnectionState) error { return errors.New("no TLSA record fits") }}, "x.test", tlsError},
		{"own config", remote.TLSRule{Config: &tls.Config{VerifyConnection: func(tls.ConnectionState) error { return errors.New("no") }}}, "x.test", tlsError},
		{"version", remote.TLSRule{Config: &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}, "x.test", tlsError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.tls = ca.serverFor(t, strings.Fields(tt.names)...)
				script := overTLS
				if tt.want != acceptedTLS {
					script = startsTLS + "close"
				}
				w.hosts["192.0.2.1:25"] = []string{script}
				a, rule := w.agent(), tt.rule
				rule.Mode = remote.TLSRequired
				a.TLS = policy(&rule)
				if got := one(t, a); got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				w.done(a)
			})
		})
	}
}

func TestPins(t *testing.T) {
	ca := newAuthority()
	config := ca.serverFor(t, "x.test")
	der := config.Certificates[0].Certificate[0]
	s1, s224, s256, s384, s512 := sha1.Sum(der), sha256.Sum224(der), sha256.Sum256(der), sha512.Sum384(der), sha512.Sum512(der)
	wrong := sha256.Sum256(nil)
	for name, tt := range map[string]struct {
		pins [][]byte
		ok   bool
	}{
		"SHA-1": {[][]byte{s1[:]}, true}, "SHA-224": {[][]byte{s224[:]}, true}, "SHA-256": {[][]byte{s256[:]}, true},
		"SHA-384": {[][]byte{s384[:]}, true}, "SHA-512": {[][]byte{s512[:]}, true},
		"one of two": {[][]byte{wrong[:], s256[:]}, true},
		"wrong":      {[][]byte{wrong[:]}, false}, "none": {[][]byte{}, false},
		"empty": {[][]byte{{}}, false}, "half": {[][]byte{s256[:16]}, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.tls = config
				w.hosts["192.0.2.1:25"] = []string{overTLS}
				if !tt.ok {
					w.hosts["192.0.2.1:25"] = []string{startsTLS + "close"}
				}
				a := w.agent()
				a.TLS = policy(&remote.TLSRule{Mode: remote.TLSRequired, Pins: tt.pins})
				want := "ZNo pinned fingerprint matches the X.509 certificate from: x.test. (#4.7.5)\n"
				if tt.ok {
					want = acceptedTLS
				}
				if got := one(t, a); got != want {
					t.Errorf("%q", got)
				}
				w.done(a)
			})
		})
	}
}

func TestPolicyIsToldAndObeyed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.mx["x.test"] = "10 a.test 20 b.test"
		w.addrs = map[string]string{"a.test": "192.0.2.2", "b.test": "192.0.2.1 192.0.2.9"}
		w.hosts["192.0.2.1:2525"] = []string{takesAll}
		a := w.agent()
		var told []remote.TLSTarget
		a.TLS = remote.TLSPolicyFunc(func(_ context.Context, to remote.TLSTarget) (*remote.TLSRule, error) {
			told = append(told, to)
			if to.Host == "a.test" {
				return nil, errors.New("not in the domain's policy")
			}
			return &remote.TLSRule{Port: 2525}, nil
		})
		if got := one(t, a); got != accepted {
			t.Errorf("%q", got)
		}
		from := sqmail.PathOf("s@me.test")
		if len(told) != 2 || told[0] != (remote.TLSTarget{Name: "x.test", Host: "a.test", Port: 25, ReversePath: from}) ||
			told[1] != (remote.TLSTarget{Name: "x.test", Host: "b.test", Port: 25, ReversePath: from}) {
			t.Errorf("%+v", told)
		}
		a.TLS = remote.TLSPolicyFunc(func(context.Context, remote.TLSTarget) (*remote.TLSRule, error) { return nil, errors.New("SERVFAIL") })
		if got := one(t, a); got != noConn {
			t.Errorf("no host may be called: %q", got)
		}
		a.TLS = remote.TLSPolicyFunc(func(context.Context, remote.TLSTarget) (*remote.TLSRule, error) {
			return nil, &sqmail.Error{Reply: sqmail.Reply{Text: "TLSA lookup failed", Enhanced: sqmail.EnhancedCode{4, 7, 5}}}
		})
		if got := one(t, a); got != "ZTLSA lookup failed (#4.7.5)\n" {
			t.Errorf("%q", got)
		}
		w.done(a)
	})
}

func TestServerName(t *testing.T) {
	for _, tt := range []struct {
		rule *remote.TLSRule
		want string
	}{{nil, "mx.x.test"}, {&remote.TLSRule{ServerName: "sni.test"}, "sni.test"}} {
		bubble(t, func(t *testing.T, w *world) {
			w.tls = newAuthority().serverFor(t)
			var asked string
			w.tls.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) { asked = h.ServerName; return nil, nil }
			w.hosts["192.0.2.1:25"] = []string{overTLS}
			a := w.agent()
			a.TLS = policy(tt.rule)
			one(t, a)
			w.done(a)
			if asked != tt.want {
				t.Errorf("asked for %q", asked)
			}
		})
	}
}

func TestRequireTLS(t *testing.T) {
	ca := newAuthority()
	for _, tt := range []struct {
		name, script, certified string
		roots                   *x509.CertPool
		want                    string
	}{
		{"no TLS", greets, "", nil, "ZI wasn't able to negotiate a TLS connection with: x.test. (#4.7.4)\n"},
		{"nobody knows the CA", startsTLS + "close", "mx.x.test", nil, "ZUnable to verify X.500 certificate from: x.test. (#4.7.5)\n"},
		{"REQUIRETLS not offered", startsTLS + helloAgain, "x.test", ca.pool, "DConnected to 192.0.2.1 but it does not offer REQUIRETLS (#5.7.30)\n"},
		{"a rule that is not enough", startsTLS + "close", "other.test", ca.pool, "ZUnable to validate X.500 certificate Subject for: x.test. (#4.7.5)\n"},
		{"the exchanger's name will do", startsTLS + helloAgain, "mx.x.test", ca.pool, "DConnected to 192.0.2.1 but it does not offer REQUIRETLS (#5.7.30)\n"},
		{"all well", startsTLS + "C: EHLO me.test\nS: 250-x\nS: 250 REQUIRETLS\n" + strings.Replace(sends, "me.test>", "me.test> REQUIRETLS", 1), "x.test", ca.pool, acceptedTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.tls = ca.serverFor(t, tt.certified)
				w.hosts["192.0.2.1:25"] = []string{tt.script}
				a, m := w.agent(), message(mail, "u@x.test")
				if tt.roots != nil {
					a.TLS = policy(&remote.TLSRule{Mode: remote.TLSRequired, Roots: tt.roots})
				}
				m.Envelope.RequireTLS = true
				if got := short(deliver(t, a, m)[0]); got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				w.done(a)
			})
		})
	}
}
