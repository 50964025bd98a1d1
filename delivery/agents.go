package delivery

import (
	"context"
	"errors"
	"strconv"

	"github.com/sqmail/sqmail"
)

// A Deliverer makes one attempt for all recipients of a message; see
// queue.Deliverer, which it is by shape.
type Deliverer interface {
	Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error)
}

// Agents holds the agent of each channel ([sqmail.Route.Channel]), and is a
// [Deliverer] itself. The map must not change while it is in use.
type Agents map[string]Deliverer

// Deliver gives m to the agent of its route's channel. A channel without an
// agent is a deferral.
//
// If the reverse-path asks for it ([IsVERP]), each recipient gets the message
// on its own, one after the other, with a reverse-path that names it.
func (a Agents) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	agent := a[m.Route.Channel]
	if agent == nil {
		return nil, &sqmail.Error{
			Op:    "deliver",
			Reply: sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 3, 5}, Text: "no way to deliver this at present"},
			Err:   errors.New("no agent for channel " + strconv.Quote(m.Route.Channel)),
		}
	}
	if !IsVERP(m.Envelope.ReversePath) {
		return agent.Deliver(ctx, m)
	}
	return deliverVERP(ctx, agent, m)
}

// deliverVERP attempts m once for each recipient. An error befalls only its
// own recipient.
func deliverVERP(ctx context.Context, agent Deliverer, m *sqmail.Message) ([]sqmail.Outcome, error) {
	var outcomes []sqmail.Outcome
	for i, to := range m.Envelope.Recipients {
		if err := ctx.Err(); err != nil {
			return outcomes, err
		}
		one := *m
		one.Envelope.ReversePath = ExpandVERP(m.Envelope.ReversePath, to.Path)
		one.Envelope.Recipients = []sqmail.Recipient{to}
		out, err := agent.Deliver(ctx, &one)
		outcome := sqmail.Outcome{Class: sqmail.ClassOf(err)}
		if len(out) > 0 {
			outcome = out[0]
		} else if err == nil {
			outcome.Class = sqmail.Deferral // to say nothing is to defer
		} else {
			outcome.Reply = sqmail.ReplyFor(err)
		}
		outcome.Recipient = i
		outcomes = append(outcomes, outcome)
	}
	return outcomes, nil
}
