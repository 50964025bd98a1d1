package local

import (
	"context"
	"io"
	"strings"

	"github.com/sqmail/sqmail"
)

// forward sends the message on to all addresses at once.
func (j *job) forward(ctx context.Context, forwards []Instruction) error {
	if len(forwards) == 0 {
		return nil
	}
	env := j.forwardEnvelope(forwards)
	receipt, err := j.agent.Receiver.Receive(ctx, env, io.MultiReader(strings.NewReader(j.deliveredTo()), j.body()))
	if err != nil {
		status := "(#4.3.0)"
		if sqmail.ClassOf(err) == sqmail.Rejection {
			status = "(#5.3.0)"
		}
		return fail(err, "Unable to forward message: %s. %s", sqmail.ReplyFor(err).Text, status)
	}
	j.done.forwards += len(forwards)
	j.receipt = receipt.ID
	return nil
}

// forwardEnvelope keeps the message's parameters. A mailing list is a new
// sender: what the old one wanted to hear is not its business (RFC 3461,
// 5.2.7.3).
func (j *job) forwardEnvelope(forwards []Instruction) *sqmail.Envelope {
	old := &j.message.Envelope
	env := &sqmail.Envelope{
		ReversePath: j.plan.ReversePath,
		Size:        j.message.Size + int64(len(j.deliveredTo())),
		Body:        old.Body,
		SMTPUTF8:    old.SMTPUTF8,
		RequireTLS:  old.RequireTLS,
	}
	var notify sqmail.Notify
	if env.ReversePath == old.ReversePath {
		env.Return, env.EnvelopeID = old.Return, old.EnvelopeID
		notify = forwardNotify(j.to.Notify)
	}
	for _, in := range forwards {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: in.To, Notify: notify})
	}
	return env
}

// forwardNotify returns what is asked of the hosts behind us. Success is told
// from here, once (RFC 3461, 5.2.7.1); who asked for nothing else gets nothing
// else.
func forwardNotify(asked sqmail.Notify) sqmail.Notify {
	if rest := asked &^ sqmail.NotifySuccess; rest != 0 || asked == 0 {
		return rest
	}
	return sqmail.NotifyNever
}
