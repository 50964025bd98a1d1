package smtpd_test

import (
	"context"
	"fmt"
	"io"

	"github.com/sqmail/sqmail"
)

// told is a Policy and a Receiver that refuse with the reply that the
// local-part, or the first line of a message, asks for: "say-450-4.2.1".
type told struct{}

func (told) CheckReversePath(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope) error {
	return asked(env.ReversePath.Local)
}

func (told) CheckRecipient(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
	return asked(to.Path.Local)
}

func (told) Receive(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	text, err := io.ReadAll(body)
	if err == nil {
		err = asked(string(text))
	}
	return sqmail.Receipt{ID: "1"}, err
}

func asked(text string) error {
	r := sqmail.Reply{Text: "as told"}
	if n, _ := fmt.Sscanf(text, "say-%d-%d.%d.%d", &r.Code, &r.Enhanced[0], &r.Enhanced[1], &r.Enhanced[2]); n != 4 {
		return nil
	}
	return &sqmail.Error{Op: "told", Class: r.Class(), Reply: r}
}
