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
func (a Agents) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	if agent := a[m.Route.Channel]; agent != nil {
		return agent.Deliver(ctx, m)
	}
	return nil, &sqmail.Error{
		Op:    "deliver",
		Reply: sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 3, 5}, Text: "no way to deliver this at present"},
		Err:   errors.New("no agent for channel " + strconv.Quote(m.Route.Channel)),
	}
}
