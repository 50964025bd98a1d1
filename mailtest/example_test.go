package mailtest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail/mailtest"
)

// In a test of yours t is the test's own, and the client is the code under
// test.
var t = new(testing.T)

// A foreign mail server defers the second recipient. The client is told so,
// and the message comes for the first one only.
func Example() {
	network := new(mailtest.Network)
	zone := mailtest.NewZone(t, `
		example.org     MX  10 mx.example.org
		mx.example.org  A   192.0.2.1
	`)
	peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
	peer.On(mailtest.Rcpt, mailtest.Nth(2)).Reply(451, "4.7.1", "slow down")

	ctx := context.Background()
	mx, _ := zone.LookupMX(ctx, "example.org")
	addrs, _ := zone.LookupNetIP(ctx, "ip4", mx[0].Host)
	conn, err := network.DialContext(ctx, "tcp", addrs[0].String()+":25")
	if err != nil {
		fmt.Println(err)
		return
	}
	client := smtp.NewClient(conn)
	client.Mail("joe@a.test", nil)
	fmt.Println(client.Rcpt("bob@example.org", nil))
	fmt.Println(client.Rcpt("eve@example.org", nil))
	w, _ := client.Data()
	fmt.Fprint(w, "Subject: hi\r\n\r\nhello\r\n")
	fmt.Println(w.Close())

	messages, _ := peer.Wait(ctx, 1)
	fmt.Println(messages[0])
	fmt.Println(strings.TrimSpace(messages[0].Text()))
	// Output:
	// <nil>
	// SMTP error 451: slow down
	// <nil>
	// from <joe@a.test> to <bob@example.org>, "hi", 19 octets
	// hello
}
