package smtpd

import (
	"testing"

	"github.com/sqmail/sqmail"
)

// What XCLIENT lets through is printable, bounded, and whole.
func FuzzXClient(f *testing.F) {
	f.Add("NAME=client.example.org ADDR=IPV6:2001:db8::7 PORT=25 PROTO=ESMTP HELO=c LOGIN=joe+40x")
	f.Add("ADDR=[UNAVAILABLE] NAME=[TEMPUNAVAIL]")
	f.Fuzz(func(t *testing.T, arg string) {
		peer := &sqmail.Peer{}
		if parseXClient(peer, arg) != nil {
			return
		}
		for _, text := range []string{peer.Name, peer.Hello, peer.User} {
			if len(text) > maxHello || !isPrintable(text, true) {
				t.Errorf("%q gives %q", arg, text)
			}
		}
		if (peer.User == "") != (peer.Mechanism == "") || peer.Remote.Addr().Zone() != "" {
			t.Errorf("%q gives %+v", arg, peer)
		}
	})
}
