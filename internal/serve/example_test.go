package serve_test

import (
	"bufio"
	"context"
	"fmt"
	"net"

	"github.com/sqmail/sqmail/internal/serve"
)

// A server that gives every line back.
func Example() {
	s := &serve.Server{
		Handler: func(_ context.Context, c *serve.Conn) {
			for {
				line, err := c.ReadLine(512)
				if err != nil {
					return
				}
				fmt.Fprintf(c, "you said %s\r\n", line)
			}
		},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error)
	go func() { ended <- s.Serve(ln) }()

	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(peer, "hello\r\n")
	answer, err := bufio.NewReader(peer).ReadString('\n')
	fmt.Printf("%q %v\n", answer, err)

	s.Shutdown(context.Background())
	fmt.Println(<-ended)
	// Output:
	// "you said hello\r\n" <nil>
	// server closed
}
