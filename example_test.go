package sqmail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sqmail/sqmail"
)

// A Receiver of one's own: it counts lines, and takes mail for one domain.
// Servers hand messages to it; a queue would be put in the same place.
func Example() {
	counter := sqmail.ReceiverFunc(func(_ context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		for _, to := range env.Recipients {
			if to.Path.Domain != "example.org" {
				return sqmail.Receipt{}, &sqmail.Error{
					Op:    "count",
					Class: sqmail.Rejection,
					Reply: sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 1, 2}, Text: "not our domain"},
				}
			}
		}
		text, err := io.ReadAll(io.LimitReader(body, 1<<20))
		if err != nil {
			return sqmail.Receipt{}, err
		}
		return sqmail.Receipt{ID: fmt.Sprintf("%d lines", strings.Count(string(text), "\n"))}, nil
	})

	for _, address := range []string{"joe@example.org", "joe@example.com"} {
		to, err := sqmail.ParsePath(address)
		if err != nil {
			fmt.Println(err)
			return
		}
		env := &sqmail.Envelope{Recipients: []sqmail.Recipient{{Path: to}}}
		receipt, err := counter.Receive(context.Background(), env, strings.NewReader("Subject: hi\n\nhello\n"))
		fmt.Println(sqmail.ReplyFor(err), receipt.ID)
	}
	// Output:
	// 250 2.0.0 ok 3 lines
	// 550 5.1.2 not our domain
}

// A quoted local part keeps its quotes, and means the same without them.
func ExampleParsePath() {
	p, err := sqmail.ParsePath(`"joe smith"@example.org`)
	fmt.Println(p, p.Unquoted(), err)

	_, err = sqmail.ParsePath("joe")
	fmt.Println(errors.Is(err, sqmail.ErrPathNoDomain))
	// Output:
	// "joe smith"@example.org joe smith@example.org <nil>
	// true
}

// What nobody classified is a deferral, and its cause stays inside.
func ExampleReplyFor() {
	fmt.Println(sqmail.ReplyFor(errors.New("open /etc/secret: permission denied")))
	// Output: 451 4.3.0 temporary failure, try again later
}
