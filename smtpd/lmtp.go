package smtpd

import (
	"context"
	"io"

	"github.com/sqmail/sqmail"
)

// LMTPReceiver is a Receiver that knows at once what becomes of each
// recipient, as those know that deliver to mailboxes (RFC 2033, 4.2). A Server
// with LMTP set calls ReceiveEach in place of Receive; others do not look for
// it.
type LMTPReceiver interface {
	sqmail.Receiver

	// ReceiveEach is Receive, but tells the outcome of env.Recipients[i] with
	// outcome(i, err): nil means that the message is safe for that recipient,
	// an error is answered as one of Receive. The error that it returns is the
	// outcome of all recipients of whom it has told nothing.
	//
	// outcome must not be called by several goroutines at a time, nor after
	// ReceiveEach has returned. Told twice, the error counts.
	ReceiveEach(ctx context.Context, env *sqmail.Envelope, body io.Reader, outcome func(i int, err error)) (sqmail.Receipt, error)
}

// receiveEach calls r, and returns the outcome of each recipient.
func receiveEach(ctx context.Context, r LMTPReceiver, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, []error) {
	each := make([]error, len(env.Recipients))
	told := make([]bool, len(each))
	receipt, err := r.ReceiveEach(ctx, env, body, func(i int, err error) {
		if told[i] && err == nil {
			return
		}
		told[i], each[i] = true, err
	})
	for i := range each {
		if !told[i] {
			each[i] = err
		}
	}
	return receipt, each
}
