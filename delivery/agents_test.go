package delivery_test

import (
	"context"
	"errors"
	"fmt"
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

// The worked lines of spec/queue.md §7.
func TestExpandVERP(t *testing.T) {
	for _, c := range [][3]string{
		{"list-owner-@l.org-@[]", "r@r.net", "list-owner-r=r.net@l.org"},
		{"list-owner-@l.org-@[]", "a@b@r.net", "list-owner-a@b=r.net@l.org"},
		{"pre@l.org-@[]", "r@r.net", "prer=r.net@l.org"},
		{"a@b@l.org-@[]", "r@r.net", "a@br=r.net@l.org"},
		{"list-owner-@l.org-@[]", "r", "list-owner-@l.org-@[]"},
		{"x-@[]", "r@r.net", "x-@[]"},
		{"list-owner-@l.org", "r@r.net", "list-owner-@l.org"},
		{"#@[]", "r@r.net", "#@[]"},
		{"", "r@r.net", ""},
	} {
		got := delivery.ExpandVERP(sqmail.PathOf(c[0]), sqmail.PathOf(c[1]))
		if got.Unquoted() != c[2] {
			t.Errorf("%s for %s: %s", c[0], c[1], got)
		}
	}
}

func TestVERPGivesEachRecipientItsReversePath(t *testing.T) {
	gone := &sqmail.Error{Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 550, Text: "gone"}}
	var seen []string
	agents := delivery.Agents{"remote": agentFunc(func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		env := m.Envelope
		seen = append(seen, fmt.Sprintf("%s %d %s", env.ReversePath, len(env.Recipients), env.Recipients[0].Path))
		switch env.Recipients[0].Path.Local {
		case "bad":
			return nil, gone
		case "odd":
			return nil, errors.New("odd")
		case "mute":
			return nil, nil
		}
		return []sqmail.Outcome{{Class: sqmail.Accepted, Text: "ok"}}, nil
	})}
	m := &sqmail.Message{Route: sqmail.Route{Channel: "remote"}}
	m.Envelope.ReversePath = sqmail.PathOf("l-@x.test-@[]")
	for _, local := range []string{"a", "bad", "odd", "mute", "b"} {
		m.Envelope.Recipients = append(m.Envelope.Recipients, sqmail.Recipient{Path: sqmail.Path{Local: local, Domain: "y.test"}})
	}

	outcomes, err := agents.Deliver(t.Context(), m)
	var got []string
	for _, o := range outcomes {
		got = append(got, fmt.Sprintln(o.Recipient, o.Class, o.Reply.Code, o.Text))
	}
	want := []string{"0 accepted 0 ok\n", "1 rejection 550 \n", "2 deferral 451 \n", "3 deferral 0 \n", "4 accepted 0 ok\n"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if len(seen) != 5 || seen[0] != "l-a=y.test@x.test 1 a@y.test" || m.Envelope.ReversePath.Domain != "[]" {
		t.Errorf("%q", seen)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if outcomes, err := agents.Deliver(ended, m); len(outcomes) > 0 || err == nil {
		t.Errorf("after the end: %v, %v", outcomes, err)
	}
}
