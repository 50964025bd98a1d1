package gosmtp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/gosmtp"
)

// printer is a backend as go-smtp knows it.
type printer struct{}

func (printer) NewSession(c *smtp.Conn) (smtp.Session, error) {
	fmt.Println("hello from", c.Hostname())
	return printer{}, nil
}

func (printer) Mail(from string, _ *smtp.MailOptions) error { fmt.Println("from", from); return nil }
func (printer) Rcpt(to string, _ *smtp.RcptOptions) error   { fmt.Println("to", to); return nil }
func (printer) Reset()                                      {}
func (printer) Logout() error                               { return nil }

func (printer) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	fmt.Printf("%q\n", text)
	return err
}

// A server of go-smtp, of which only the last line has changed.
func ExampleFrom() {
	s := smtp.NewServer(printer{})
	s.Domain = "localhost"
	s.MaxMessageBytes = 1024 * 1024

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := gosmtp.From(s) // server := s
	ended := make(chan error)
	go func() { ended <- server.Serve(listener) }()

	client, err := smtp.Dial(listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	err = client.SendMail("ann@example.org", []string{"joe@example.net"}, strings.NewReader("hi\r\n"))
	fmt.Println(err, client.Quit())
	server.Close()
	fmt.Println(errors.Is(<-ended, smtpd.ErrServerClosed))
	// Output:
	// hello from localhost
	// from ann@example.org
	// to joe@example.net
	// "hi\r\n"
	// <nil> <nil>
	// true
}
