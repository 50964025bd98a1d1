package smtpd_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// bodyVerdicts is a Policy that refuses messages by their first line, as a
// chain of filters does.
type bodyVerdicts map[string]sqmail.Verdict

func (p bodyVerdicts) CheckRecipient(context.Context, *sqmail.Peer, *sqmail.Envelope, *sqmail.Recipient) error {
	return nil
}

func (p bodyVerdicts) FilterBody(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope, body io.Reader) io.Reader {
	return judged{p, env, body, new(bytes.Buffer)}
}

type judged struct {
	by   bodyVerdicts
	env  *sqmail.Envelope
	body io.Reader
	seen *bytes.Buffer
}

func (j judged) Read(p []byte) (int, error) {
	n, err := j.body.Read(p)
	j.seen.Write(p[:n])
	if err != io.EOF {
		return n, err
	}
	line, _, _ := strings.Cut(j.seen.String(), "\n")
	v := j.by[line]
	j.env.Verdicts = append(j.env.Verdicts, v)
	if err := v.Err(); err != nil {
		return n, err
	}
	return n, io.EOF
}

// TestTroubleOfOursIsAWarning: a full disk must not look like a client's fault.
func TestTroubleOfOursIsAWarning(t *testing.T) {
	for code, level := range map[sqmail.EnhancedCode]string{{4, 3, 1}: "WARN", {4, 7, 1}: "INFO"} {
		var out bytes.Buffer
		full := &sqmail.Error{Op: "commit", Class: sqmail.Deferral, Reply: sqmail.Reply{Code: 452, Enhanced: code, Text: "no"}}
		refuse := sqmail.ReceiverFunc(func(context.Context, *sqmail.Envelope, io.Reader) (sqmail.Receipt, error) {
			return sqmail.Receipt{}, full
		})
		server := smtpdtest.NewServer(t, refuse, func(s *smtpd.Server) { s.Log = slog.New(slog.NewTextHandler(&out, nil)) })
		c := server.Dial(t)
		c.Do("EHLO c", 250)
		c.Mail("a@example.org", "b@example.test", "\n")
		server.Close()
		if !strings.Contains(out.String(), "level="+level+" msg=refused") {
			t.Errorf("%v: %s", code, out.String())
		}
	}
}

// TestConditionsOfMessages: the rows of spec/smtpd.md 5.4, reply and line, each
// behind the one before in one session.
func TestConditionsOfMessages(t *testing.T) {
	refused := func(filter, rule string) sqmail.Verdict {
		return sqmail.Verdict{Stage: "body", Filter: filter, Rule: rule, Action: sqmail.ActionReject,
			Reply: sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, 3, 2}, Text: "no"}}
	}
	deferred := func(filter string) sqmail.Verdict {
		return sqmail.Verdict{Stage: "body", Filter: filter, Action: sqmail.ActionDefer,
			Reply: sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 3, 0}, Text: "no"}}
	}
	policy := bodyVerdicts{}
	var script strings.Builder
	script.WriteString("S: 220*\nC: EHLO c\nS: 250...\n")
	want := ""
	for _, tc := range []struct {
		first string // line of the message
		v     sqmail.Verdict
		reply string
		line  string // "": none
	}{
		{first: "fine", reply: "250 2.0.0 ok "},
		{first: "Received: x", reply: "554 5.4.6", line: "Reject::DATA::Toomany_Hops"},
		{first: strings.Repeat("x", 60), reply: "552 5.3.4", line: "Reject::DATA::Invalid_Size"},
		{first: "exe", v: refused("badmimetypes", "TVqQAAMAA"), reply: "554 5.3.2", line: "Reject::DATA::Bad_MIME 'TVqQAAMAA'"},
		{first: "loader", v: refused("badloadertypes", "Mi5kb"), reply: "554 5.3.2", line: "Reject::DATA::Bad_Loader 'Mi5kb'"},
		{first: "spam", v: refused("spamd", "15.0/5.0"), reply: "554 5.3.2", line: "Reject::DATA::Spam_Message 'spam'"},
		{first: "spam too", v: refused("rspamd", "reject"), reply: "554 5.3.2", line: "Reject::DATA::Spam_Message 'spam'"},
		{first: "part", v: refused("mime", "*.exe"), reply: "554 5.3.2", line: "Reject::DATA::MIME_Attach 'MIME'"},
		{first: "virus", v: refused("qhpsi", "clamdscan"), reply: "554 5.3.2", line: "Reject::DATA::Virus_Infected 'clamdscan'"},
		{first: "virus too", v: refused("clamd", ""), reply: "554 5.3.2", line: "Reject::DATA::Virus_Infected 'AV scanner'"},
		{first: "program 32", v: refused("queue virus", ""), reply: "554 5.3.2", line: "Reject::DATA::Virus_Infected 'AV scanner'"},
		{first: "program 33", v: refused("queue spam", ""), reply: "554 5.3.2", line: "Reject::DATA::Spam_Message 'spam'"},
		{first: "program 34", v: refused("queue attachment", ""), reply: "554 5.3.2", line: "Reject::DATA::MIME_Attach 'MIME'"},
		{first: "no scanner", v: deferred("clamd"), reply: "451 4.3.0", line: "Reject::DATA::Policy"},
		{first: "other", v: refused("mine", "x"), reply: "554 5.3.2", line: "Reject::DATA::Policy"},
		{first: "fine", reply: "250 2.0.0 ok "},
	} {
		policy[tc.first] = tc.v
		script.WriteString("C: MAIL FROM:<a@example.org>\nS: 250*\nC: RCPT TO:<b@example.test>\nS: 250*\nC: DATA\nS: 354*\nC: " +
			tc.first + "\nC:\nC: .\nS: " + tc.reply + "*\n")
		const about = " P:ESMTP S:127.0.0.1:unknown H:c F:a@example.org T:b@example.test"
		want += "qmail-smtpd: pid 1 Accept::RCPT::Rcpthosts_Rcptto" + about + "\n"
		if tc.line != "" {
			name, info, informed := strings.Cut(tc.line, " ") // the info may have blanks
			want += "qmail-smtpd: pid 1 " + name + about
			if informed {
				want += " " + info
			}
			want += "\n"
		}
	}
	var out bytes.Buffer
	server := smtpdtest.NewServer(t, new(smtpdtest.Recorder), func(s *smtpd.Server) {
		s.Policy, s.MaxHops, s.MaxMessageBytes, s.Log = policy, 1, 50, slog.New(smtpd.ClassicLog(&out, nil))
	})
	server.Talk(t, script.String())
	server.Close()
	if out.String() != want {
		t.Errorf("the log is\n%swant\n%s", out.String(), want)
	}
}

// TestConditionsOfSessions: the rows of spec/smtpd.md 9.2 that are no filter's.
func TestConditionsOfSessions(t *testing.T) {
	for _, tc := range []struct {
		configure func(*smtpd.Server)
		talk      string
		want      string // lines without their beginning
	}{
		{func(s *smtpd.Server) { s.StartTLS = smtpd.Required }, "C: MAIL FROM:<a@example.org>\nS: 530*\n",
			"Reject::TLS::missing P:ESMTP S:127.0.0.1:unknown H:c\n"},
		{func(s *smtpd.Server) { s.Verifier, s.Authentication = users, smtpd.Required }, "C: MAIL FROM:<a@example.org>\nS: 530*\n",
			"Reject::AUTH::missing P:ESMTP S:127.0.0.1:unknown H:c\n"},
		{func(s *smtpd.Server) { s.Verifier, s.AuthFailureDelay = users, -1 }, "C: AUTH PLAIN AGpvZQB3cm9uZw==\nS: 535*\n",
			"Reject::AUTH::plain P:ESMTP S:127.0.0.1:unknown H:c ?~ 'joe'\n"},
		{func(s *smtpd.Server) { s.Verifier, s.AuthFailureDelay = users, -1 }, "C: AUTH LOGIN am9l\nS: 334*\nC: d3Jvbmc=\nS: 535*\n",
			"Reject::AUTH::login P:ESMTP S:127.0.0.1:unknown H:c ?~ 'joe'\n"},
		{func(s *smtpd.Server) { s.Verifier = users }, "C: AUTH CRAM-MD5\nS: 504*\n",
			"Reject::AUTH::Auth_Meth P:ESMTP S:127.0.0.1:unknown H:c ?~ 'none'\n"},
		{nil, "C: AUTH PLAIN AGpvZQBzZWNyZXQ=\nS: 503*\n",
			"Reject::AUTH::setup P:ESMTP S:127.0.0.1:unknown H:c ?~ 'none'\n"},
		{func(s *smtpd.Server) { s.Verifier = users }, "C: AUTH PLAIN AGpvZQBzZWNyZXQ=\nS: 235*\nC: MAIL FROM:<a@example.org>\nS: 250*\nC: RCPT TO:<b@example.test>\nS: 250*\nC: RCPT TO:<c@example.test>\nS: 250*\n",
			"Accept::AUTH::plain P:ESMTPA S:127.0.0.1:unknown H:c F:a@example.org T:b@example.test ?~ 'joe'\n" +
				"Accept::AUTH::plain P:ESMTPA S:127.0.0.1:unknown H:c F:a@example.org T:c@example.test ?~ 'joe'\n"},
		{func(s *smtpd.Server) { s.MaxRecipients = 1 }, "C: MAIL FROM:<>\nS: 250*\nC: RCPT TO:<b@example.test>\nS: 250*\nC: RCPT TO:<c@example.test>\nS: 452*\n",
			"Accept::SNDR::Relay_Client P:ESMTP S:127.0.0.1:unknown H:c F: T:b@example.test\n" +
				"Reject::RCPT::Toomany_Rcptto P:ESMTP S:127.0.0.1:unknown H:c F: T:c@example.test\n"},
		{func(s *smtpd.Server) { s.MaxMessageBytes = 10 }, "C: MAIL FROM:<a@example.org> SIZE=11\nS: 552*\n",
			"Reject::DATA::Invalid_Size P:ESMTP S:127.0.0.1:unknown H:c F:a@example.org T:\n"},
	} {
		var out bytes.Buffer
		server := smtpdtest.NewServer(t, new(smtpdtest.Recorder), func(s *smtpd.Server) {
			s.Log = slog.New(smtpd.ClassicLog(&out, nil))
			if tc.configure != nil {
				tc.configure(s)
			}
		})
		server.Talk(t, "S: 220*\nC: EHLO c\nS: 250...\n"+tc.talk)
		server.Close()
		if got := strings.ReplaceAll(out.String(), "qmail-smtpd: pid 1 ", ""); got != tc.want {
			t.Errorf("%s\n%swant\n%s", tc.talk, got, tc.want)
		}
	}
}
