package remote_test

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/remote"
)

// A message goes to a relay, and each recipient has an outcome.
func Example() {
	relay, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer relay.Close()
	go func() {
		if c, err := relay.Accept(); err == nil {
			sink(c) // takes everything
		}
	}()

	agent := &remote.Agent{HelloName: "mx.example.org"}
	defer agent.Close()

	text := "Subject: hello\n\nworld\n"
	port := relay.Addr().(*net.TCPAddr).Port
	outcomes, err := agent.Deliver(context.Background(), &sqmail.Message{
		Envelope: sqmail.Envelope{
			ReversePath: sqmail.PathOf("me@example.org"),
			Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("you@example.net")}},
		},
		Route:   sqmail.Route{Relay: sqmail.Relay{Host: "127.0.0.1", Port: uint16(port)}},
		Content: strings.NewReader(text),
		Size:    int64(len(text)),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(outcomes[0].Class, ": ", outcomes[0].Text)
	// Output:
	// accepted: 127.0.0.1 accepted message.
	// Remote host said: 250 ok
}
