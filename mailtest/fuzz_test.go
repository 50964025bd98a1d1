package mailtest_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/mailtest"
)

// Whatever a client says, a peer answers, bounded, and comes to an end.
func FuzzPeer(f *testing.F) {
	for _, seed := range []string{
		"EHLO a\r\nMAIL FROM:<a@b> SIZE=1\r\nRCPT TO:<c@d>\r\nDATA\r\n..x\r\n.\r\nQUIT\r\n",
		"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;+2B\r\nBDAT 3\r\nabcBDAT 0 LAST\r\n",
		"EHLO a\r\nAUTH PLAIN AGEAYg==\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nAUTH CRAM-MD5\r\nx\r\n",
		"\n\r\n\x00\r\nBDAT -1\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		var n mailtest.Network
		p := &mailtest.Peer{Users: map[string]string{"a": "b"}, MaxSize: 1000}
		p.Start(t, &n, mxAddress)
		conn, err := n.DialContext(t.Context(), "tcp", mxAddress)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		go func(conn net.Conn) {
			io.WriteString(conn, said)
			conn.(interface{ CloseWrite() error }).CloseWrite()
		}(conn)
		heard, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(heard), "220 ") {
			t.Fatalf("heard %q, %v", heard, err)
		}
		for _, m := range p.Messages() {
			if len(m.Data) > 1000 || len(m.Envelope.Recipients) == 0 {
				t.Fatalf("took %v", m)
			}
		}
	})
}

// A zone file is a test's own, but a typing error must not end in a panic.
func FuzzZone(f *testing.F) {
	f.Add("a.test A 192.0.2.1\n*.b MX 10 a.test", "x.b")
	f.Add("a CNAME b\nb CNAME a", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		if strings.Contains(text, "$") {
			return // $GENERATE makes as many records as it likes
		}
		var z mailtest.Zone
		if z.Add(text) != nil {
			return
		}
		z.LookupMX(t.Context(), name)
		z.LookupTXT(t.Context(), name)
		z.LookupHost(t.Context(), name)
	})
}
