package delivery_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
)

// Agents nest.
var _ delivery.Deliverer = delivery.Agents(nil)

type agentFunc func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error)

func (f agentFunc) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	return f(ctx, m)
}

func TestUnknownChannelIsADeferral(t *testing.T) {
	agents := delivery.Agents{"local": nil}
	for _, channel := range []string{"", "local", "fax"} {
		outcomes, err := agents.Deliver(t.Context(), &sqmail.Message{Route: sqmail.Route{Channel: channel}})
		if len(outcomes) > 0 || err == nil || sqmail.ClassOf(err) != sqmail.Deferral {
			t.Errorf("%q: %v, %v", channel, outcomes, err)
		}
	}
}

func TestAgentOfTheChannelGetsTheMessage(t *testing.T) {
	want := []sqmail.Outcome{{Recipient: 1, Class: sqmail.Accepted}}
	m := &sqmail.Message{Route: sqmail.Route{Channel: "fax"}}
	agents := delivery.Agents{"fax": agentFunc(func(_ context.Context, got *sqmail.Message) ([]sqmail.Outcome, error) {
		if got != m {
			t.Errorf("got %v", got)
		}
		return want, nil
	})}
	if got, err := agents.Deliver(t.Context(), m); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}
