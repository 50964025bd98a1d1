package program_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/program"
)

// A Queue whose program, a few words of shell, counts what it is given and
// finds spam in it.
func Example() {
	q := &program.Queue{
		Program: "/bin/sh",
		Args:    []string{"-c", "cat >/dev/null; cat <&1 >/dev/null; exit 33"},
		Dir:     "/",
	}
	env := &sqmail.Envelope{
		ReversePath: sqmail.PathOf("joe@example.com"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("sue@example.org")}},
	}
	_, err := q.Receive(context.Background(), env, strings.NewReader("Subject: win\n\nmoney\n"))
	fmt.Println(sqmail.ReplyFor(err))
	// Output: 554 5.3.2 mail server does not accept message
}
