package smtpd

import (
	"context"
	"io"
	"slices"

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

// outcomes are those of the recipients to whom LMTP has a reply. If the Policy
// has changed these since they were accepted, nobody knows whose an outcome is:
// one failure is everybody's then, for the client would drop what it takes for
// delivered.
func (tx *transaction) outcomes(each []error) []error {
	failed := slices.IndexFunc(each, func(err error) bool { return err != nil })
	if failed < 0 || tx.inPlace() {
		return each
	}
	return slices.Repeat([]error{each[failed]}, len(tx.accepted))
}

// inPlace reports whether the recipients are those that were accepted, maybe
// with others behind them.
func (tx *transaction) inPlace() bool {
	for i, path := range tx.accepted {
		if i >= len(tx.env.Recipients) || tx.env.Recipients[i].Path != path {
			return false
		}
	}
	return true
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
