package scan_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/scan"
)

// A chain with a virus scanner. In place of clamd there is a few lines of
// ours, which find a virus in every message.
func Example() {
	client, server := net.Pipe()
	go func() {
		readStream(server)
		io.WriteString(server, "stream: Eicar-Signature FOUND\x00")
		server.Close()
	}()
	chain := &filter.Chain{Filters: []filter.Filter{
		&scan.Clamd{
			Address: "/run/clamav/clamd.ctl",
			Dial:    func(context.Context, string, string) (net.Conn, error) { return client, nil },
		},
	}}

	ctx, peer := context.Background(), &sqmail.Peer{}
	begun, err := chain.BeginSession(ctx, peer)
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := begun.(*filter.Policy)
	body := policy.FilterBody(ctx, peer, new(sqmail.Envelope), strings.NewReader("Subject: hi\n\nopen me\n"))
	_, err = io.Copy(io.Discard, body)
	body.(io.Closer).Close()
	fmt.Println(sqmail.ReplyFor(err))
	fmt.Println(policy.Refusal().Rule)
	// Output:
	// 554 5.3.2 sorry, invalid message content (virus)
	// Eicar-Signature
}
