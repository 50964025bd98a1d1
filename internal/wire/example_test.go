package wire_test

import (
	"fmt"
	"io"
	"strings"

	"github.com/sqmail/sqmail/internal/wire"
)

// A command, a message, a command.
func Example() {
	peer := strings.NewReader("DATA\r\nSubject: hi\r\n\r\n..\r\n.\r\nQUIT\r\n")
	r := wire.NewReader(peer)

	line, err := r.ReadLine(512)
	fmt.Printf("%s %v\n", line, err)

	body, err := io.ReadAll(wire.NewDotReader(r, wire.Refuse))
	fmt.Printf("%q %v\n", body, err)

	line, err = r.ReadLine(512)
	fmt.Printf("%s %v\n", line, err)
	// Output:
	// DATA <nil>
	// "Subject: hi\n\n.\n" <nil>
	// QUIT <nil>
}
