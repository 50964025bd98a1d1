package smtpd_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/smtp"
	"os"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
)

// printer is a Receiver that prints messages.
func printer(_ context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	fmt.Printf("from <%s> to <%s>\n%s", env.ReversePath, env.Recipients[0].Path, text)
	return sqmail.Receipt{ID: "1"}, nil
}

// A server that takes mail for one domain. A real one says ListenAndServe.
func Example() {
	server := &smtpd.Server{
		HelloName: "mx.example.org",
		Policy: smtpd.PolicyFunc(func(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
			if strings.EqualFold(to.Path.Domain, "example.org") {
				return nil
			}
			return &sqmail.Error{
				Class: sqmail.Rejection,
				Reply: sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "relaying denied"},
			}
		}),
		Receiver: sqmail.ReceiverFunc(printer),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go server.Serve(l)

	send := func(to string) error {
		return smtp.SendMail(l.Addr().String(), nil, "ann@example.test", []string{to}, []byte("Subject: hello\r\n\r\nHi!\r\n"))
	}
	fmt.Println(send("joe@example.org"))
	fmt.Println(send("joe@elsewhere.test"))

	drain, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(server.Shutdown(drain))
	// Output:
	// from <ann@example.test> to <joe@example.org>
	// Subject: hello
	//
	// Hi!
	// <nil>
	// 550 "5.7.1 relaying denied"
	// <nil>
}

// counter is a Policy with a state per session: it wants a hello that is a name,
// and takes three recipients.
type counter struct{ recipients int }

func (c *counter) BeginSession(context.Context, *sqmail.Peer) (smtpd.Policy, error) {
	return &counter{}, nil
}

func (c *counter) CheckHello(_ context.Context, peer *sqmail.Peer) error {
	if strings.Contains(peer.Hello, ".") {
		return nil
	}
	return &sqmail.Error{Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 550, Text: "who?"}}
}

func (c *counter) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	if c.recipients++; c.recipients > 3 {
		return fmt.Errorf("%d recipients", c.recipients) // the client hears 451, the log this
	}
	return nil
}

// A Policy has as many methods as it has opinions.
func ExamplePolicy() {
	server := &smtpd.Server{HelloName: "mx.example.org", Policy: &counter{}}
	client, theirs := net.Pipe()
	go server.ServeConn(theirs)
	defer server.Close()

	c, err := smtp.NewClient(client, "mx.example.org")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Hello("localhost"))
	// Output: 550 "5.0.0 who?"
}

// Settings by client: the office is not asked to authenticate, everybody else
// is.
func ExampleServer_forPeer() {
	office := &smtpd.Server{HelloName: "mx.example.org", Policy: smtpd.AcceptAll, MaxMessageBytes: -1}
	public := &smtpd.Server{HelloName: "mx.example.org", Authentication: smtpd.Required}
	listener := &smtpd.Server{
		ForPeer: func(_ context.Context, peer *sqmail.Peer) (*smtpd.Server, error) {
			if peer.Remote.Addr().IsPrivate() {
				return office, nil
			}
			return public, nil
		},
	}
	client, theirs := net.Pipe()
	go listener.ServeConn(theirs)
	defer listener.Close()

	c, err := smtp.NewClient(client, "mx.example.org")
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Hello("client.example.org")
	fmt.Println(c.Mail("ann@example.org"))
	// Output: 530 "5.7.0 authentication required"
}

// The lines that log analysers of qmail-smtpd read, beside the structured
// events.
func ExampleClassicLog() {
	server := &smtpd.Server{
		HelloName: "mx.example.org",
		Policy:    smtpd.PolicyFunc(domainOnly),
		Log:       slog.New(smtpd.ClassicLog(os.Stdout, nil)),
		Receiver:  sqmail.ReceiverFunc(swallow),
	}
	client, conn := net.Pipe()
	defer client.Close()
	go server.ServeConn(conn)
	go fmt.Fprint(client, "HELO laptop\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<joe@example.net>\r\nQUIT\r\n")
	io.Copy(io.Discard, client)
	server.Close()
	// Output:
	// qmail-smtpd: pid 1 Reject::RCPT::Policy P:SMTP S:unknown:unknown H:laptop F:ann@example.org T:joe@example.net
}

// domainOnly takes mail for one domain.
func domainOnly(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
	if to.Path.Domain == "example.com" {
		return nil
	}
	return &sqmail.Error{Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 550, Text: "not here"}}
}

func swallow(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	_, err := io.Copy(io.Discard, body)
	return sqmail.Receipt{}, err
}
