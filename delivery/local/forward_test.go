package local_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
)

func TestForwardsAreOneMessage(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "&a@b.test\n./mbox\nroot\n\"x y\"@c.test\n"})
	out := &sent{}
	m := message("Subject: x\n\nno end", "s@x.test", "u@h.test")
	m.Envelope.Body, m.Envelope.SMTPUTF8, m.Envelope.RequireTLS = sqmail.Body8Bit, true, true
	o := deliver(t, &local.Agent{Users: only(dir), Receiver: out}, m)
	want(t, o, sqmail.Accepted, "did 1+3+0\nqp 4711\n")

	const body = "Delivered-To: u@h.test\nSubject: x\n\nno end"
	wanted := []sqmail.Envelope{{
		ReversePath: sqmail.PathOf("s@x.test"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("a@b.test")}, {Path: sqmail.PathOf("root")}, {Path: sqmail.PathOf("x y@c.test")}},
		Size:        int64(len(body)), Body: sqmail.Body8Bit, SMTPUTF8: true, RequireTLS: true,
	}}
	if !reflect.DeepEqual(out.envs, wanted) || out.bodies[0] != body {
		t.Errorf("sent %+v %q", out.envs, out.bodies)
	}
}

func TestListIsTheSenderOfItsMail(t *testing.T) {
	dir := home(t, map[string]string{".qmail-l": "+list\n&a@b.test\n", ".qmail-l-owner": "#", ".qmail-l-owner-default": "#"})
	out := &sent{}
	m := message("x\n", "s@x.test", "u-l@h.test")
	m.Envelope.Return, m.Envelope.EnvelopeID = sqmail.ReturnFull, "id"
	m.Envelope.Recipients[0].Notify = sqmail.NotifyDelay
	deliver(t, &local.Agent{Users: only(dir), Receiver: out}, m)
	env := out.envs[0]
	if env.ReversePath.Unquoted() != "u-l-owner-@h.test-@[]" || env.EnvelopeID != "" || env.Return != "" || env.Recipients[0].Notify != 0 {
		t.Errorf("%+v", env)
	}
}

// RFC 3461, 5.2.7.1: an alias passes on what its sender wants to hear, but for
// the success that is told here.
func TestAliasPassesNotifyOn(t *testing.T) {
	for asked, passed := range map[sqmail.Notify]sqmail.Notify{
		0:                    0,
		sqmail.NotifyNever:   sqmail.NotifyNever,
		sqmail.NotifySuccess: sqmail.NotifyNever,
		sqmail.NotifyFailure: sqmail.NotifyFailure,
		sqmail.NotifySuccess | sqmail.NotifyDelay: sqmail.NotifyDelay,
	} {
		dir := home(t, map[string]string{".qmail": "&a@b.test\n"})
		out := &sent{}
		m := message("x\n", "s@x.test", "u@h.test")
		m.Envelope.EnvelopeID, m.Envelope.Recipients[0].Notify = "id", asked
		deliver(t, &local.Agent{Users: only(dir), Receiver: out}, m)
		if env := out.envs[0]; env.EnvelopeID != "id" || env.Recipients[0].Notify != passed {
			t.Errorf("%v: %+v", asked, env)
		}
	}
}

func TestForwardFailsAsTheReceiverSays(t *testing.T) {
	refused := &sqmail.Error{Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 552, Enhanced: sqmail.EnhancedCode{5, 3, 4}, Text: "too big"}, Err: errors.New("secret")}
	for _, c := range []struct {
		err   error
		class sqmail.Class
		text  string
	}{
		{errors.New("secret"), sqmail.Deferral, "Unable to forward message: temporary failure, try again later. (#4.3.0)\n"},
		{refused, sqmail.Rejection, "Unable to forward message: too big. (#5.3.0)\n"},
		{fmt.Errorf("more: %w", refused), sqmail.Rejection, "Unable to forward message: too big. (#5.3.0)\n"},
	} {
		dir := home(t, map[string]string{".qmail": "&a@b.test\n"})
		want(t, deliver(t, &local.Agent{Users: only(dir), Receiver: &sent{err: c.err}}, message("x\n", "", "u@h.test")), c.class, c.text)
	}
}

func TestForwardsOfAFailedFileAreNotSent(t *testing.T) {
	for file, n := range map[string]int{"&a@b.test\n|exit 111\n": 0, "&a@b.test\n|exit 100\n": 0, "&a@b.test\n|exit 99\n&c@d.test\n": 1} {
		dir := home(t, map[string]string{".qmail": file})
		out := &sent{}
		deliver(t, &local.Agent{Users: only(dir), Receiver: out, Programs: &local.Programs{}}, message("x\n", "", "u@h.test"))
		if len(out.envs) != n || n > 0 && len(out.envs[0].Recipients) != 1 {
			t.Errorf("%q: %+v", file, out.envs)
		}
	}
}

func TestForwardWithoutReceiverIsADeferral(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "&a@b.test\n"})
	want(t, deliver(t, &local.Agent{Users: only(dir)}, message("x\n", "", "u@h.test")), sqmail.Deferral, "Unable to forward message: no queue. (#4.3.5)\n")
}
