package sqmail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/sqmail/sqmail"
)

func TestOnlyARejectionOnPurposeIsOne(t *testing.T) {
	reject := sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 1, 1}, Text: "no such mailbox"}
	busy := sqmail.Reply{Code: 452, Enhanced: sqmail.EnhancedCode{4, 3, 1}, Text: "disk full"}
	var nilError *sqmail.Error

	for _, tc := range []struct {
		rule  string
		err   error
		class sqmail.Class
		reply string
	}{
		{"nil is accepted", nil, sqmail.Accepted, "250 2.0.0 ok"},
		{"an unknown error defers, and is not shown", io.ErrUnexpectedEOF, sqmail.Deferral,
			"451 4.3.0 temporary failure, try again later"},
		{"an error without class defers", &sqmail.Error{Op: "x", Err: io.EOF}, sqmail.Deferral,
			"451 4.3.0 temporary failure, try again later"},
		{"a deferral keeps its reply", &sqmail.Error{Reply: busy}, sqmail.Deferral, "452 4.3.1 disk full"},
		{"a rejection keeps its reply", &sqmail.Error{Class: sqmail.Rejection, Reply: reject}, sqmail.Rejection,
			"550 5.1.1 no such mailbox"},
		{"a rejection without reply", &sqmail.Error{Class: sqmail.Rejection}, sqmail.Rejection, "554 5.3.0 refused"},
		{"a deferral never speaks of a rejection", &sqmail.Error{Reply: reject}, sqmail.Deferral,
			"451 4.3.0 temporary failure, try again later"},
		{"a rejection never speaks of a deferral", &sqmail.Error{Class: sqmail.Rejection, Reply: busy}, sqmail.Rejection,
			"554 5.3.0 refused"},
		{"no error accepts", &sqmail.Error{Class: sqmail.Accepted, Reply: sqmail.Reply{Code: 250}}, sqmail.Deferral,
			"451 4.3.0 temporary failure, try again later"},
		{"a class beyond the known ones defers", &sqmail.Error{Class: 9, Reply: reject}, sqmail.Deferral,
			"451 4.3.0 temporary failure, try again later"},
		{"the class is found down the chain", fmt.Errorf("a: %w", &sqmail.Error{Class: sqmail.Rejection, Reply: reject}),
			sqmail.Rejection, "550 5.1.1 no such mailbox"},
		{"the first one in the chain counts",
			&sqmail.Error{Reply: busy, Err: &sqmail.Error{Class: sqmail.Rejection, Reply: reject}},
			sqmail.Deferral, "452 4.3.1 disk full"},
		{"a nil *Error in an error defers", nilError, sqmail.Deferral,
			"451 4.3.0 temporary failure, try again later"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			if got := sqmail.ClassOf(tc.err); got != tc.class {
				t.Errorf("class %v, want %v", got, tc.class)
			}
			reply := sqmail.ReplyFor(tc.err)
			if reply.String() != tc.reply || reply.Class() != tc.class {
				t.Errorf("reply %q (%v), want %q", reply, reply.Class(), tc.reply)
			}
		})
	}
}

func TestReplyCodeHasAClass(t *testing.T) {
	for code, want := range map[int]sqmail.Class{
		0: sqmail.Deferral, 199: sqmail.Deferral, 220: sqmail.Accepted, 354: sqmail.Accepted,
		421: sqmail.Deferral, 451: sqmail.Deferral, 550: sqmail.Rejection, 599: sqmail.Rejection,
		600: sqmail.Deferral, -550: sqmail.Deferral,
	} {
		if got := (sqmail.Reply{Code: code}).Class(); got != want {
			t.Errorf("%d: %v, want %v", code, got, want)
		}
	}
}

func TestReplyIsWrittenLineByLine(t *testing.T) {
	for _, tc := range []struct {
		reply sqmail.Reply
		want  string
	}{
		{sqmail.Reply{Code: 250, Text: "ok"}, "250 ok"},
		{sqmail.Reply{Code: 250}, "250"},
		{sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1}}, "550 5.7.1"},
		{sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "no\nnever"}, "550-5.7.1 no\n550 5.7.1 never"},
		{sqmail.Reply{Code: 250, Text: "mx\nSIZE"}, "250-mx\n250 SIZE"},
	} {
		if got := tc.reply.String(); got != tc.want {
			t.Errorf("%+v = %q, want %q", tc.reply, got, tc.want)
		}
	}
}

func TestErrorTellsTheLogAll(t *testing.T) {
	cause := errors.New("no route to host")
	err := &sqmail.Error{Op: "connect", Reply: sqmail.Reply{Code: 451, Text: "later"}, Err: cause}
	if got := err.Error(); got != "connect: 451 later: no route to host" {
		t.Errorf("Error() = %q", got)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is not in the chain")
	}
	if got := (&sqmail.Error{Class: sqmail.Rejection}).Error(); got != "rejection" {
		t.Errorf("Error() of the bare class = %q", got)
	}
}

func TestVerdictAsError(t *testing.T) {
	later := sqmail.Reply{Code: 451, Text: "later"}
	never := sqmail.Reply{Code: 554, Text: "never"}
	for _, tc := range []struct {
		verdict sqmail.Verdict
		class   sqmail.Class
		drops   bool
	}{
		{sqmail.Verdict{}, sqmail.Accepted, false},
		{sqmail.Verdict{Action: sqmail.ActionTag}, sqmail.Accepted, false},
		{sqmail.Verdict{Action: sqmail.ActionDelay}, sqmail.Accepted, false},
		{sqmail.Verdict{Action: sqmail.ActionAccept, Reply: never}, sqmail.Accepted, false},
		{sqmail.Verdict{Action: sqmail.ActionDefer, Reply: later}, sqmail.Deferral, false},
		{sqmail.Verdict{Action: sqmail.ActionReject, Reply: never}, sqmail.Rejection, false},
		{sqmail.Verdict{Action: sqmail.ActionReject}, sqmail.Rejection, false},
		{sqmail.Verdict{Action: sqmail.ActionDrop, Reply: never}, sqmail.Rejection, true},
		{sqmail.Verdict{Action: sqmail.ActionDrop, Reply: later}, sqmail.Deferral, true},
		{sqmail.Verdict{Action: sqmail.ActionDrop}, sqmail.Deferral, true},
	} {
		err := tc.verdict.Err()
		if got := sqmail.ClassOf(err); got != tc.class {
			t.Errorf("%v with %v: %v, want %v", tc.verdict.Action, tc.verdict.Reply, got, tc.class)
		}
		e, ok := errors.AsType[*sqmail.Error](err)
		if (ok && e.Close) != tc.drops {
			t.Errorf("%v: closes the session: %v", tc.verdict.Action, !tc.drops)
		}
	}
}

func TestNamesOfUnknownValues(t *testing.T) {
	if got := sqmail.Action(200).String(); got != "unknown" {
		t.Errorf("Action(200) = %q", got)
	}
	if got := sqmail.ActionDrop.String(); got != "drop" {
		t.Errorf("ActionDrop = %q", got)
	}
	for class, want := range map[sqmail.Class]string{
		sqmail.Accepted: "accepted", sqmail.Rejection: "rejection", sqmail.Deferral: "deferral", 99: "deferral",
	} {
		if class.String() != want {
			t.Errorf("Class(%d) = %q", class, class)
		}
	}
}

func TestReceiverFuncReceives(t *testing.T) {
	var r sqmail.Receiver = sqmail.ReceiverFunc(
		func(_ context.Context, env *sqmail.Envelope, _ io.Reader) (sqmail.Receipt, error) {
			return sqmail.Receipt{ID: env.ReversePath.Local}, io.EOF
		})
	receipt, err := r.Receive(t.Context(), &sqmail.Envelope{ReversePath: sqmail.PathOf("joe@a.test")}, nil)
	if receipt.ID != "joe" || err != io.EOF {
		t.Errorf("got %v, %v", receipt, err)
	}
}
