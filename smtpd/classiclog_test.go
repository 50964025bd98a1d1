package smtpd_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// The lines of spec/smtpd.md 9.3, and one of each other shape.
func TestClassicLines(t *testing.T) {
	for _, tc := range []struct {
		event, attrs, want string
	}{
		{"recipient accepted", "condition=RCPT::Recipients_Cdb protocol=ESMTPS remote=192.0.2.7 host=mail.example.org hello=mail.example.org from=a@example.org to=b@example.com",
			"Accept::RCPT::Recipients_Cdb P:ESMTPS S:192.0.2.7:mail.example.org H:mail.example.org F:a@example.org T:b@example.com"},
		{"refused", "condition=ORIG::Bad_Mailfrom protocol=ESMTP remote=192.0.2.9 host= hello=foo from=x@yahoo.com to=b@example.com info=-",
			"Reject::ORIG::Bad_Mailfrom P:ESMTP S:192.0.2.9:unknown H:foo F:x@yahoo.com T:b@example.com '-'"},
		{"authentication refused", "condition=AUTH::plain protocol=ESMTPSA remote=192.0.2.9 host= hello=foo user=joe",
			"Reject::AUTH::plain P:ESMTPSA S:192.0.2.9:unknown H:foo ?~ 'joe'"},
		{"authentication refused", "condition=AUTH::Auth_Meth protocol=ESMTP remote=192.0.2.9 hello=foo",
			"Reject::AUTH::Auth_Meth P:ESMTP S:192.0.2.9:unknown H:foo ?~ 'none'"},
		{"recipient accepted", "condition=AUTH::cram-md5 protocol=ESMTPA remote=192.0.2.9 hello=foo user=joe from=a@example.org to=b@example.com",
			"Accept::AUTH::cram-md5 P:ESMTPA S:192.0.2.9:unknown H:foo F:a@example.org T:b@example.com ?~ 'joe'"},
		{"refused", "condition=TLS::missing protocol=ESMTP remote=2001:db8::1 hello=foo from=x to=y",
			"Reject::TLS::missing P:ESMTP S:2001:db8::1:unknown H:foo"},
		{"refused", "condition=SNDR::Grey_Listed protocol=SMTP remote=192.0.2.9 hello= from= to=b@example.com",
			"Deferred::SNDR::Grey_Listed P:SMTP S:192.0.2.9:unknown H: F: T:b@example.com"},
		{"refused", "condition=SNDR::Early_Talker protocol=SMTP remote=invalid_IP hello=",
			"Reject::SNDR::Early_Talker P:SMTP S:invalid_IP:unknown H: F: T:"},
		{"refused", "stage=connect", ""},
		{"message accepted", "condition=x", ""},
	} {
		var out bytes.Buffer
		log := slog.New(smtpd.ClassicLog(&out, nil))
		var args []any
		for pair := range strings.FieldsSeq("session=mwp67a2a.3mv " + tc.attrs) {
			key, value, _ := strings.Cut(pair, "=")
			args = append(args, key, value)
		}
		log.Info(tc.event, args...)
		want := ""
		if tc.want != "" {
			want = "qmail-smtpd: pid 4711 " + tc.want + "\n"
		}
		if out.String() != want {
			t.Errorf("got  %swant %s", out.String(), want)
		}
	}
}

func TestClassicLineCannotBeInjected(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(smtpd.ClassicLog(&out, nil))
	evil := "x' F:evil\r\nqmail-smtpd: \x00\x7f\"y"
	log.Info("refused", "session", evil, "condition", evil, "protocol", evil, "remote", "192.0.2.1", "host", evil, "hello", evil, "from", evil, "to", evil, "info", evil)
	line := out.String()
	if strings.Count(line, "\n") != 1 || strings.ContainsAny(line, "\r\x00\x7f\"") ||
		strings.Count(line, " F:") != 1 || strings.Count(line, "'") != 2 || strings.Count(line, " qmail-smtpd") != 0 {
		t.Errorf("%q", line)
	}
}

// verdicts is a Policy that leaves verdicts, as a chain of filters does.
type verdicts map[string]sqmail.Verdict

func (p verdicts) CheckRecipient(_ context.Context, _ *sqmail.Peer, env *sqmail.Envelope, to *sqmail.Recipient) error {
	v := p[to.Path.Local]
	env.Verdicts = append(env.Verdicts, v)
	env.SenderVerified = to.Path.Local == "own"
	return v.Err()
}

// TestConditions: what a session does stands in the lines by the names of
// spec/smtpd.md 9.2 and 9.3.
func TestConditions(t *testing.T) {
	refused := func(filter, rule string) sqmail.Verdict {
		return sqmail.Verdict{Filter: filter, Rule: rule, Action: sqmail.ActionReject, Reply: sqmail.Reply{Code: 550, Text: "no"}}
	}
	taken := func(filter, rule string) sqmail.Verdict { return sqmail.Verdict{Filter: filter, Rule: rule} }
	policy := verdicts{}
	var want []string
	var script strings.Builder
	script.WriteString("S: 220*\nC: EHLO c\nS: 250...\nC: MAIL FROM:<a@example.org>\nS: 250*\n")
	for _, tc := range []struct {
		local string
		v     sqmail.Verdict
		line  string
	}{
		{"helo", refused("badhelo", "evil.test"), "Reject::SNDR::Bad_Helo '.'"},
		{"wild", refused("badhelo", "*.test"), "Reject::SNDR::Bad_Helo '*'"},
		{"none", refused("badhelo", "no greeting"), "Reject::SNDR::Bad_Helo '0'"},
		{"empty", refused("badhelo", "empty greeting"), "Reject::SNDR::Bad_Helo '!'"},
		{"dnshelo", refused("badhelo", "A"), "Reject::SNDR::DNS_Helo 'A'"},
		{"dnshelo2", refused("badhelo", "="), "Reject::SNDR::DNS_Helo '='"},
		{"dnshelo3", refused("badhelo", "M"), "Reject::SNDR::DNS_Helo 'M'"},
		{"mf", refused("mfdnscheck", "x"), "Reject::ORIG::DNS_MF"},
		{"bmf", refused("badmailfrom", "@yahoo.com-"), "Reject::ORIG::Bad_Mailfrom '-'"},
		{"bmf2", refused("badmailfrom", "~yahoo.com"), "Reject::ORIG::Bad_Mailfrom '~'"},
		{"bmf4", refused("badmailfrom", "@corp.test+"), "Reject::ORIG::Bad_Mailfrom '+'"},
		{"bmf5", refused("badmailfrom", "@hotmail.test="), "Reject::ORIG::Bad_Mailfrom '='"},
		{"bmf6", refused("badmailfrom", "*@*.evil"), "Reject::ORIG::Bad_Mailfrom '*'"},
		{"bmf7", refused("badmailfrom", "@yahoo.com"), "Reject::ORIG::Bad_Mailfrom '@'"},
		{"bmf3", refused("badmailfrom", "x@yahoo.com"), "Reject::ORIG::Bad_Mailfrom '@'"},
		{"mav", refused("localmfcheck", ""), "Reject::ORIG::Invalid_Mailfrom"},
		{"relay", refused("rcpthosts", ""), "Reject::SNDR::Invalid_Relay"},
		{"brt", refused("badrcptto", "x"), "Reject::RCPT::Bad_Rcptto"},
		{"rcpt", refused("recipients", "x"), "Reject::RCPT::Failed_Rcptto"},
		{"tar", refused("tarpit", ""), "Reject::RCPT::Toomany_Rcptto"},
		{"max", refused("maxrecipients", ""), "Reject::RCPT::Toomany_Rcptto"},
		{"spf", refused("spf", "fail"), "Reject::SPF::Fail"},
		{"grey", refused("greylist", ""), "Deferred::SNDR::Grey_Listed"},
		{"postgrey", refused("postgrey", "x"), "Deferred::SNDR::Grey_Listed"},
		{"mine", refused("my filter", ""), "Reject::RCPT::Policy"},
		{"cdb", taken("recipients", "example.test:x.cdb"), "Accept::RCPT::Recipients_Cdb"},
		{"pam", taken("recipients", "example.test|pam"), "Accept::RCPT::Recipients_Pam"},
		{"users", taken("recipients", "example.test:users/assign.cdb"), "Accept::RCPT::Recipients_Users"},
		{"notusers", taken("recipients", "assigned.test:x.cdb"), "Accept::RCPT::Recipients_Cdb"},
		{"any", taken("recipients", "!example.test"), "Accept::RCPT::Recipients_Wild"},
		{"pass", taken("recipients", "!*"), "Accept::RCPT::Rcpthosts_Rcptto"},
		{"hosts", taken("rcpthosts", "example.test"), "Accept::RCPT::Rcpthosts_Rcptto"},
		{"client", taken("relayclient", "x"), "Accept::SNDR::Relay_Client"},
		{"own", taken("", ""), "Accept::ORIG::Local_Sender"},
		{"pspf", taken("spf", "pass"), "Accept::SPF::Rcpthosts_Rcptto"},
	} {
		policy[tc.local] = tc.v
		script.WriteString("C: RCPT TO:<" + tc.local + "@example.test>\nS: ")
		if tc.v.Action == sqmail.ActionReject {
			script.WriteString("550*\n")
		} else {
			script.WriteString("250*\n")
		}
		name, tail, informed := strings.Cut(tc.line, " ")
		line := "qmail-smtpd: pid 1 " + name + " P:ESMTP S:127.0.0.1:unknown H:c F:a@example.org T:" + tc.local + "@example.test"
		if informed {
			line += " " + tail
		}
		want = append(want, line)
	}
	var out bytes.Buffer
	server := smtpdtest.NewServer(t, new(smtpdtest.Recorder), func(s *smtpd.Server) {
		s.Policy, s.Log = policy, slog.New(smtpd.ClassicLog(&out, nil))
	})
	server.Talk(t, script.String())
	server.Close()
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d of\n%swant\n%s", i, out.String(), strings.Join(want, "\n"))
		}
	}
}

// The other handler gets what it would get without ours.
func TestClassicLogPassesOn(t *testing.T) {
	var lines, text bytes.Buffer
	log := slog.New(smtpd.ClassicLog(&lines, slog.NewTextHandler(&text, nil))).With("host", "mx")
	log.Debug("recipient accepted", "condition", "RCPT::x")
	log.Info("message accepted", "id", 7)
	if strings.Count(lines.String(), "\n") != 1 || strings.Count(text.String(), "\n") != 1 || !strings.Contains(text.String(), "host=mx") {
		t.Errorf("%s\n%s", lines.String(), text.String())
	}
}
