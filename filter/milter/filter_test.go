package milter_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gomilter "github.com/emersion/go-milter"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/milter"
)

func TestMilterHearsTheWholeSession(t *testing.T) {
	m := &fake{}
	f := serve(t, m, gomilter.OptAddHeader, 0)
	s := newSession()
	for range 2 {
		stage, v, err := dialogue(t.Context(), f, s, message)
		if err != nil || stage != "body" || v.Action != sqmail.ActionPass {
			t.Fatalf("%s: %+v, %v", stage, v, err)
		}
	}
	const transaction = "mail a@x.test; rcpt b@y.test; rcpt c@y.test; header Subject=hi; header X-Folded=a\n\tb; header Subject= again; " +
		"eoh; body hello\r\nworld; end"
	want := "connect host.test tcp4 2525 192.0.2.1; helo client.test; " + transaction + "; " + transaction
	if got := m.events(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for name, want := range map[string]string{
		"j": "mx.test", "i": "s1", "{auth_authen}": "joe", "{auth_type}": "plain", "{mail_addr}": "a@x.test", "{rcpt_addr}": "c@y.test",
		"{client_addr}": "192.0.2.1",
	} {
		if got := m.macros[name]; got != want {
			t.Errorf("macro %s is %q", name, got)
		}
	}
}

func TestVerdicts(t *testing.T) {
	reply := func(text string) gomilter.Response { return gomilter.NewResponseStr('y', text) }
	for _, test := range []struct {
		event  string
		answer gomilter.Response
		stage  string
		action sqmail.Action
		reply  string
	}{
		{"connect", gomilter.RespReject, "connect", sqmail.ActionReject, "554 5.7.1 rejected by policy"},
		{"connect", gomilter.RespTempFail, "connect", sqmail.ActionDefer, "451 4.7.1 try again later"},
		{"helo", gomilter.RespReject, "hello", sqmail.ActionReject, "550 5.7.1 rejected by policy"},
		{"mail", gomilter.RespReject, "mail", sqmail.ActionReject, "550 5.7.1 rejected by policy"},
		{"mail", reply("450 4.2.0 greylisted\r\n"), "mail", sqmail.ActionDefer, "450 4.2.0 greylisted"},
		{"rcpt c@y.test", gomilter.RespTempFail, "rcpt", sqmail.ActionDefer, "451 4.7.1 try again later"},
		{"rcpt", reply("550-5.1.1 no\r\n550 5.1.1 100%% no\x07"), "rcpt", sqmail.ActionReject, "550-5.1.1 no\n550 5.1.1 100% no?"},
		{"header", gomilter.RespReject, "body", sqmail.ActionReject, "550 5.7.1 rejected by policy"},
		{"eoh", gomilter.RespTempFail, "body", sqmail.ActionDefer, "451 4.7.1 try again later"},
		{"body", gomilter.RespDiscard, "body", sqmail.ActionReject, "554 5.7.1 message refused by policy"},
		{"end", gomilter.RespReject, "body", sqmail.ActionReject, "550 5.7.1 rejected by policy"},
		{"end", gomilter.RespDiscard, "body", sqmail.ActionReject, "554 5.7.1 message refused by policy"},
		{"end", gomilter.RespAccept, "body", sqmail.ActionPass, ""},
		{"end", reply("421 4.3.2 closing"), "body", sqmail.ActionDrop, "421 4.3.2 closing"},
		{"end", reply("554 without a status"), "body", sqmail.ActionReject, "554 5.7.1 without a status"},
		{"end", reply("554 4.7.1 not its own"), "body", sqmail.ActionReject, "554 5.7.1 4.7.1 not its own"},
	} {
		m := &fake{answers: map[string]gomilter.Response{test.event: test.answer}}
		stage, v, err := dialogue(t.Context(), serve(t, m, 0, 0), newSession(), message)
		got := ""
		if v.Reply.Code != 0 {
			got = v.Reply.String()
		}
		if err != nil || stage != test.stage || v.Action != test.action || got != test.reply {
			t.Errorf("%s: at %s %+v (%s), %v", test.event, stage, v, got, err)
		}
	}
}

func TestAcceptedIsNotAskedAgain(t *testing.T) {
	for event, want := range map[string]string{
		"connect": "connect host.test tcp4 2525 192.0.2.1",
		"helo":    "connect host.test tcp4 2525 192.0.2.1; helo client.test",
		"mail":    "connect host.test tcp4 2525 192.0.2.1; helo client.test; mail a@x.test",
		"header":  "connect host.test tcp4 2525 192.0.2.1; helo client.test; mail a@x.test; rcpt b@y.test; rcpt c@y.test; header Subject=hi",
	} {
		m := &fake{answers: map[string]gomilter.Response{event: gomilter.RespAccept}}
		f, s := serve(t, m, 0, 0), newSession()
		if stage, v, err := dialogue(t.Context(), f, s, message); err != nil || v.Action != sqmail.ActionPass {
			t.Errorf("%s: %s %+v, %v", event, stage, v, err)
		}
		if got := m.events(); got != want {
			t.Errorf("%s: heard %s", event, got)
		}
		// The next message is another matter, unless the session was accepted.
		dialogue(t.Context(), f, s, message)
		if got := m.events(); (event == "mail" || event == "header") != strings.HasPrefix(got, "abort; mail a@x.test") {
			t.Errorf("%s: heard then %s", event, got)
		}
	}
}

func TestRefusedSessionsStayRefused(t *testing.T) {
	m := &fake{answers: map[string]gomilter.Response{"helo client.test": gomilter.RespReject}}
	f, s := serve(t, m, 0, 0), newSession()
	dialogue(t.Context(), f, s, message)
	s.Envelope = newEnvelope()
	if v, err := f.ReversePath(t.Context(), s); err != nil || v.Action != sqmail.ActionReject {
		t.Errorf("%+v, %v", v, err)
	}
	s.Peer.Hello = "other.test"
	s.Envelope = nil
	if stage, v, err := dialogue(t.Context(), f, s, message); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%s: %+v, %v", stage, v, err)
	}
}

func TestModifications(t *testing.T) {
	for _, test := range []struct {
		name   string
		modify func(m *gomilter.Modifier)
		header string
		undone string // what the verdict tells if changes are ignored
	}{
		{"add", func(m *gomilter.Modifier) { m.AddHeader("X-A", "1"); m.InsertHeader(0, "X-B", " 2\r\n\t3") }, "X-A: 1\nX-B: 2\n\t3\n", ""},
		{"add what would be two", func(m *gomilter.Modifier) { m.AddHeader("X-A", "1\nX-Evil: 2"); m.AddHeader("X A", "") }, "X-A: 1 X-Evil: 2\n", ""},
		{"change what is not there", func(m *gomilter.Modifier) { m.ChangeHeader(1, "X-New", "1"); m.ChangeHeader(3, "subject", "2") }, "X-New: 1\nsubject: 2\n", ""},
		{"remove what is not there", func(m *gomilter.Modifier) { m.ChangeHeader(1, "X-New", "") }, "", ""},
		{"change", func(m *gomilter.Modifier) { m.ChangeHeader(1, "SUBJECT", "spam"); m.AddHeader("X-A", "1") }, "X-A: 1\n", "left undone: change SUBJECT"},
		{"remove", func(m *gomilter.Modifier) { m.ChangeHeader(2, "Subject", "") }, "", "left undone: change Subject"},
		{"body", func(m *gomilter.Modifier) { m.ReplaceBody([]byte("x")) }, "", "left undone: replace the body"},
		{"recipients", func(m *gomilter.Modifier) { m.AddRecipient("d@y.test"); m.DeleteRecipient("b@y.test") }, "",
			"left undone: change the recipients, change the recipients"},
		{"from", func(m *gomilter.Modifier) { m.ChangeFrom("z@x.test") }, "", "left undone: change the reverse-path"},
	} {
		f := serve(t, &fake{modify: test.modify}, gomilter.OptAddHeader, 0)
		_, v, err := dialogue(t.Context(), f, newSession(), message)
		if test.undone != "" {
			if sqmail.ClassOf(err) != sqmail.Deferral {
				t.Errorf("%s: %+v, %v", test.name, v, err)
			}
			f.IgnoreChanges = true
			_, v, err = dialogue(t.Context(), f, newSession(), message)
		}
		if err != nil || v.Header != test.header || (v.Action == sqmail.ActionTag) != (test.header != "") || v.Rule != test.undone {
			t.Errorf("%s: %+v, %v", test.name, v, err)
		}
	}
}

func TestQuarantineNeverPasses(t *testing.T) {
	f := serve(t, &fake{modify: func(m *gomilter.Modifier) { m.Quarantine("virus") }}, 0, 0)
	f.IgnoreChanges, f.Pass = true, true
	if _, v, err := dialogue(t.Context(), f, newSession(), message); sqmail.ClassOf(err) != sqmail.Deferral {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestMilterThatNeedsMoreIsNotAsked(t *testing.T) {
	m := &fake{}
	f := serve(t, m, gomilter.OptChangeBody|gomilter.OptAddHeader, 0)
	if stage, v, err := dialogue(t.Context(), f, newSession(), message); stage != "mail" || sqmail.ClassOf(err) != sqmail.Deferral || m.events() != "" {
		t.Errorf("%s: %+v, %v", stage, v, err)
	}
	f.IgnoreChanges = true
	if stage, v, err := dialogue(t.Context(), f, newSession(), message); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%s: %+v, %v", stage, v, err)
	}
}

func TestWhatTheMilterDoesNotWantIsLeftOut(t *testing.T) {
	m := &fake{}
	f := serve(t, m, 0, gomilter.OptNoConnect|gomilter.OptNoHelo|gomilter.OptNoRcptTo|gomilter.OptNoHeaders|gomilter.OptNoBody|gomilter.OptNoEOH)
	if stage, v, err := dialogue(t.Context(), f, newSession(), message); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%s: %+v, %v", stage, v, err)
	}
	if got := m.events(); got != "mail a@x.test; end" {
		t.Errorf("heard %s", got)
	}
}

// A chain may ask about the message alone.
func TestBodyAloneTellsTheRest(t *testing.T) {
	m := &fake{}
	f, s := serve(t, m, 0, 0), newSession()
	s.Envelope = newEnvelope()
	s.Envelope.Recipients = []sqmail.Recipient{{Path: sqmail.PathOf("b@y.test")}}
	if v, err := body(t.Context(), f, s, "no header at all\n"); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%+v, %v", v, err)
	}
	want := "connect host.test tcp4 2525 192.0.2.1; helo client.test; mail a@x.test; rcpt b@y.test; eoh; body no header at all; end"
	if got := m.events(); got != want {
		t.Errorf("heard %s", got)
	}
}

func TestMessagesThatBreakOffAreAborted(t *testing.T) {
	m := &fake{}
	f, s := serve(t, m, 0, 0), newSession()
	s.Envelope = newEnvelope()
	scanner, err := f.Body(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	scanner.Write([]byte("Subject: x\n\nhalf a"))
	scanner.Close()
	m.events()
	if _, v, err := dialogue(t.Context(), f, s, message); err != nil {
		t.Errorf("%+v, %v", v, err)
	}
	if got := m.events(); !strings.HasPrefix(got, "abort; mail a@x.test; rcpt b@y.test") {
		t.Errorf("heard %s", got)
	}
}

func TestLargeMessages(t *testing.T) {
	m := &fake{}
	f := serve(t, m, 0, 0)
	text := "\n" + strings.Repeat(strings.Repeat("x", 50_000)+"\n", 20)
	if _, v, err := dialogue(t.Context(), f, newSession(), text); err != nil || v.Action != sqmail.ActionPass {
		t.Errorf("%+v, %v", v, err)
	}
	got := strings.ReplaceAll(m.events(), "; body ", "")
	if !strings.Contains(strings.ReplaceAll(got, "\r\n", ""), strings.Repeat("x", 50_000*20)) {
		t.Errorf("%d octets came through", len(got))
	}
	for name, text := range map[string]string{
		"field":  "X: " + strings.Repeat("x", 61<<10) + "\n\n",
		"header": strings.Repeat("X: "+strings.Repeat("x", 100)+"\n", 3000),
		"folded": "X: y\n" + strings.Repeat(" x\n", 100_000),
	} {
		if _, v, err := dialogue(t.Context(), f, newSession(), text); err != nil || v.Reply.Code != 554 {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func TestMilterThatCannotBeAsked(t *testing.T) {
	ok := negotiated(0, 0)
	refused := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"unreachable":           refused,
		"hangs up":              scripted(t, "", true),
		"hangs up later":        scripted(t, ok+packet('c', ""), true),
		"not a milter":          scripted(t, "220 mail.test ESMTP\r\n", true),
		"no negotiation":        scripted(t, packet('c', ""), true),
		"a short negotiation":   scripted(t, packet('O', "\x00"), true),
		"an empty packet":       scripted(t, ok+"\x00\x00\x00\x00", true),
		"a giant packet":        scripted(t, ok+"\xff\xff\xff\xffc", true),
		"an unknown answer":     scripted(t, ok+packet('Z', ""), true),
		"a modification before": scripted(t, ok+packet('h', "X\x00y\x00"), true),
		"skip":                  scripted(t, ok+strings.Repeat(packet('s', ""), 20), true),
		"a positive reply":      scripted(t, ok+strings.Repeat(packet('y', "250 ok\x00"), 20), true),
		"no reply code":         scripted(t, ok+strings.Repeat(packet('y', "xyz no\x00"), 20), true),
		"endless progress":      scripted(t, ok+strings.Repeat(packet('p', ""), 100_000), true),
	} {
		f := &milter.Filter{Dial: dial}
		stage, v, err := dialogue(t.Context(), f, newSession(), message)
		if sqmail.ClassOf(err) != sqmail.Deferral || stage != "mail" {
			t.Errorf("%s: at %s %+v, %v", name, stage, v, err)
		}
		var log bytes.Buffer
		f = &milter.Filter{Dial: dial, Pass: true, Log: slog.New(slog.NewTextHandler(&log, nil))}
		if stage, v, err := dialogue(t.Context(), f, newSession(), message); err != nil || v.Action != sqmail.ActionPass {
			t.Errorf("%s: at %s %+v, %v", name, stage, v, err)
		}
		if n := strings.Count(log.String(), "message passes unseen"); n != 1 {
			t.Errorf("%s: %d warnings:\n%s", name, n, &log)
		}
	}
}

// Endless modifications would fill the memory.
func TestAnswersAreBounded(t *testing.T) {
	script := negotiated(uint32(gomilter.OptAddHeader), uint32(gomilter.OptNoConnect|gomilter.OptNoHelo|gomilter.OptNoMailFrom|
		gomilter.OptNoRcptTo|gomilter.OptNoHeaders|gomilter.OptNoBody|gomilter.OptNoEOH)) +
		strings.Repeat(packet('h', "X\x00y\x00"), 100_000) + packet('c', "")
	f := &milter.Filter{Dial: scripted(t, script, true)}
	stage, v, err := dialogue(t.Context(), f, newSession(), message)
	if sqmail.ClassOf(err) != sqmail.Deferral || stage != "body" || !strings.Contains(err.Error(), "too long") {
		t.Errorf("at %s %+v, %v", stage, v, err)
	}
}

// A milter that is back is asked about the next message.
func TestLostConnectionsAreMadeAgain(t *testing.T) {
	m := &fake{}
	f := serve(t, m, 0, 0)
	working := f.Address
	f.Address = working + "-not"
	s := newSession()
	if stage, _, err := dialogue(t.Context(), f, s, message); stage != "mail" || err == nil {
		t.Errorf("at %s: %v", stage, err)
	}
	f.Address = working
	if stage, v, err := dialogue(t.Context(), f, s, message); err != nil {
		t.Errorf("at %s: %+v, %v", stage, v, err)
	}
	if got := m.events(); !strings.HasPrefix(got, "connect host.test tcp4 2525 192.0.2.1; helo client.test; mail a@x.test") {
		t.Errorf("heard %s", got)
	}
}

func TestMilterHasTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		spent := func() time.Duration { d := time.Since(start); start = time.Now(); return d }
		f := &milter.Filter{Dial: scripted(t, "", false)}
		s := newSession()
		s.Envelope = newEnvelope()
		if _, err := f.ReversePath(t.Context(), s); err == nil || spent() != 30*time.Second {
			t.Errorf("%v", err)
		}
		// The same message is not asked about again.
		if _, err := f.Recipient(t.Context(), s, new(sqmail.Recipient)); err == nil || spent() != 0 {
			t.Errorf("%v", err)
		}
		silent := uint32(gomilter.OptNoConnect | gomilter.OptNoHelo | gomilter.OptNoMailFrom | gomilter.OptNoRcptTo |
			gomilter.OptNoHeaders | gomilter.OptNoBody | gomilter.OptNoEOH)
		f = &milter.Filter{Dial: scripted(t, negotiated(0, silent), false)}
		if stage, _, err := dialogue(t.Context(), f, newSession(), message); err == nil || stage != "body" || spent() != 5*time.Minute {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f = &milter.Filter{Dial: scripted(t, negotiated(0, silent), false), Pass: true}
		if _, _, err := dialogue(ctx, f, newSession(), message); !errors.Is(err, context.DeadlineExceeded) || spent() != time.Second {
			t.Errorf("%v", err)
		}
	})
}

// The end of the session says good-bye, and leaves nothing behind.
func TestEndOfSessionQuits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		got := make(chan string, 1)
		go func() {
			var heard bytes.Buffer
			heard.ReadFrom(server)
			got <- heard.String()
		}()
		go server.Write([]byte(negotiated(0, uint32(gomilter.OptNoConnect))))
		ctx, cancel := context.WithCancel(t.Context())
		f := &milter.Filter{Dial: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
		if v, err := f.Connect(ctx, newSession()); err != nil || v.Rule != "" {
			t.Errorf("%+v, %v", v, err)
		}
		cancel()
		if heard := <-got; !strings.HasSuffix(heard, packet('Q', "")) {
			t.Errorf("heard %q", heard)
		}
	})
}

func TestRelayClientsAreNotAskedAbout(t *testing.T) {
	f := &milter.Filter{Strangers: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("the milter was asked")
		return nil, errors.New("no")
	}}
	s := newSession()
	s.Relayed = true
	if _, v, err := dialogue(t.Context(), f, s, message); err != nil || v.Rule != "not looked at" {
		t.Errorf("%+v, %v", v, err)
	}
}
