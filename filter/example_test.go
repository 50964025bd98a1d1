package filter_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// client is a session with a client at an address, for the examples: a filter
// can be asked without a Chain, and without a server.
func client(addr, from string) *filter.Session {
	return &filter.Session{
		Peer:     &sqmail.Peer{Remote: netip.MustParseAddrPort(addr + ":25"), Name: "mail.example.net"},
		Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf(from)},
	}
}

// blocklist is a resolver that knows one client; *net.Resolver and package
// resolver's Client fit as well.
type blocklist struct{}

func (blocklist) LookupTXT(_ context.Context, name string) ([]string, error) {
	if name == "7.2.0.192.bl.example" {
		return []string{"seen spamming, see https://bl.example"}, nil
	}
	return nil, &net.DNSError{Name: name, IsNotFound: true}
}

func (blocklist) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Name: name, IsNotFound: true}
}

func ExampleDNSLists() {
	f := &filter.DNSLists{Lists: []filter.DNSList{{Base: "bl.example"}}, Resolver: blocklist{}, Reject: true}
	for _, addr := range []string{"192.0.2.7", "192.0.2.8"} {
		v, err := f.Recipient(context.Background(), client(addr, "a@example.net"), &sqmail.Recipient{Path: sqmail.PathOf("joe@example.org")})
		fmt.Printf("%s %v %q %v\n", addr, v.Action, v.Reply.Text, err)
	}
	// Output:
	// 192.0.2.7 reject "seen spamming, see https://bl.example" <nil>
	// 192.0.2.8 pass "" <nil>
}

// Package greylist has a store that survives restarts.
func ExampleGreylist() {
	f := &filter.Greylist{Store: new(memory)}
	v, err := f.Recipient(context.Background(), client("192.0.2.7", "a@example.net"), &sqmail.Recipient{Path: sqmail.PathOf("joe@example.org")})
	fmt.Println(v.Action, v.Reply.Code, err)
	// Output: defer 450 <nil>
}

// Where mailboxes are known is up to the program: a database, a table, another
// server.
func ExampleRecipients() {
	users := map[string]bool{"joe@example.org": true, "list-@example.org": true}
	f := &filter.Recipients{Rules: []filter.RecipientRule{
		{Domain: "example.org", Source: filter.MailboxesFunc(func(_ context.Context, _ *filter.Session, to sqmail.Path) (bool, error) {
			return users[strings.ToLower(to.Unquoted())], nil
		})},
		{Domain: "example.com", Accept: true},
	}}
	for _, to := range []string{"Joe@example.org", "sue@example.org", "list-return-1@example.org", "any@example.com"} {
		v, err := f.Recipient(context.Background(), client("192.0.2.7", "a@example.net"), &sqmail.Recipient{Path: sqmail.PathOf(to)})
		fmt.Println(to, v.Action, err)
	}
	// Output:
	// Joe@example.org pass <nil>
	// sue@example.org reject <nil>
	// list-return-1@example.org pass <nil>
	// any@example.com pass <nil>
}

// ParseRecipients reads the lines of control/recipients.
func ExampleParseRecipients() {
	rules, err := filter.ParseRecipients([]filter.Rule{{Text: "!example.com", Line: 1}, {Text: "@example.org:users/recipients.cdb", Line: 2}})
	if err != nil {
		panic(err)
	}
	for _, r := range rules {
		fmt.Printf("%s %v %q\n", r.Domain, r.Accept, r.Database)
	}
	// Output:
	// example.com true ""
	// example.org false "users/recipients.cdb"
}

// What is seen of a message is written to the Scanner, in pieces of any size.
func ExampleBadMIMEType() {
	f := &filter.BadMIMEType{Types: filter.KeysOf("TVqQAAMAA")} // programs of Windows
	scanner, err := f.Body(context.Background(), client("192.0.2.7", "a@example.net"))
	if err != nil {
		panic(err)
	}
	defer scanner.Close()
	io.WriteString(scanner, "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nTVqQAAMAAAAEAAAA\n")
	v, err := scanner.End()
	fmt.Println(v.Action, v.Reply.Code, v.Rule, err)
	// Output: reject 554 TVqQAAMAA <nil>
}

func ExampleBadLoaderType() {
	f := &filter.BadLoaderType{Types: filter.KeysOf("Mi5kb"), First: 'M'}
	scanner, err := f.Body(context.Background(), client("192.0.2.7", "a@example.net"))
	if err != nil {
		panic(err)
	}
	defer scanner.Close()
	io.WriteString(scanner, "Content-Transfer-Encoding: base64\n\nAAAAMi5kbGwA\n")
	v, err := scanner.End()
	fmt.Println(v.Action, v.Rule, err)
	// Output: reject Mi5kb <nil>
}

func ExampleBadMailFrom() {
	f := filter.NewBadMailFrom([]filter.Rule{
		{Text: "@bank.example=", File: "badmailfrom", Line: 1}, // from hosts of the bank alone
		{Text: "*@*.invalid", File: "badmailfrom", Line: 2},
		{Text: "!ok@x.invalid", File: "badmailfrom", Line: 3},
	}, "")
	for _, from := range []string{"boss@bank.example", "a@x.invalid", "ok@x.invalid"} {
		v, err := f.Recipient(context.Background(), client("192.0.2.7", from), nil)
		fmt.Println(from, v.Action, v.Line, err)
	}
	// Output:
	// boss@bank.example reject 1 <nil>
	// a@x.invalid reject 2 <nil>
	// ok@x.invalid pass 0 <nil>
}

func ExampleBadRcptTo() {
	f := filter.NewBadRcptTo([]filter.Rule{{Text: "*"}, {Text: "!*@example.org"}}, "try sales@example.org")
	v, err := f.Recipient(context.Background(), client("192.0.2.7", "a@example.net"), &sqmail.Recipient{Path: sqmail.PathOf("old@example.com")})
	fmt.Println(v.Reply, err)
	// Output: 553 5.7.1 sorry, your envelope recipient is in my badrcptto list; try sales@example.org <nil>
}

func ExampleLocalSender() {
	f := &filter.LocalSender{Check: filter.SenderIsUser}
	s := client("192.0.2.7", "boss@example.org")
	s.Peer.User = "joe@example.org"
	v, err := f.Recipient(context.Background(), s, nil)
	fmt.Println(v.Action, v.Reply.Code, err)
	// Output: reject 553 <nil>
}

// A Chain keeps what a session has said so far.
func ExampleBadHello() {
	f := filter.NewBadHello([]filter.Rule{{Text: "localhost"}, {Text: "*.invalid"}})
	f.Mode = filter.ParseHelloMode(".") // HELO must be said, and not be empty
	ctx, peer := context.Background(), &sqmail.Peer{Hello: "x.invalid"}
	session, err := (&filter.Chain{Filters: []filter.Filter{f}}).BeginSession(ctx, peer)
	if err != nil {
		panic(err)
	}
	session.(*filter.Policy).CheckHello(ctx, peer)
	err = session.CheckRecipient(ctx, peer, new(sqmail.Envelope), &sqmail.Recipient{Path: sqmail.PathOf("joe@example.org")})
	fmt.Println(sqmail.ReplyFor(err))
	// Output: 550 5.7.1 sorry, invalid HELO/EHLO greeting
}

// Whoever evaluates SPF is a Checker.
func ExampleSPF() {
	f := &filter.SPF{Checker: &checker{result: "softfail"}, Mode: 4, Receiver: "mx.example.org"}
	for _, mode := range []int{3, 4} {
		f.Mode = mode
		v, err := f.Recipient(context.Background(), client("192.0.2.7", "a@example.net"), nil)
		fmt.Println(mode, v.Action, v.Reply.Code, err)
	}
	// Output:
	// 3 pass 0 <nil>
	// 4 reject 550 <nil>
}
