package pop3_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/pop3"
)

// A server for one user, whose mail is in a maildir.
func Example() {
	dir, err := os.MkdirTemp("", "pop3")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for _, sub := range []string{"tmp", "new", "cur"} {
		os.Mkdir(filepath.Join(dir, sub), 0o700)
	}
	os.WriteFile(filepath.Join(dir, "new", "1700000000.1.mx"), []byte("Subject: hi\n\nhello\n"), 0o600)

	s := &pop3.Server{
		Verifier: auth.VerifierFunc(func(_ context.Context, c *auth.Credentials) (auth.Identity, error) {
			if c.User != "joe" || !c.Match("secret") {
				return auth.Identity{}, auth.ErrRejected
			}
			return auth.Identity{Maildir: dir}, nil
		}),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go s.Serve(ln)
	defer s.Close()

	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(conn, "USER joe\r\nPASS secret\r\nSTAT\r\nRETR 1\r\nQUIT\r\n")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		fmt.Printf("%q\n", lines.Text())
	}
	// Output:
	// "+OK POP3 ready"
	// "+OK "
	// "+OK "
	// "+OK 1 22"
	// "+OK message follows"
	// "Subject: hi"
	// ""
	// "hello"
	// "."
	// "+OK bye"
}
