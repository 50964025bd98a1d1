package smtpd

import (
	"errors"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

func TestReplyStyles(t *testing.T) {
	refused := say(550, 5, 7, 1, "no")
	for _, test := range []struct {
		name  string
		style replyStyle
		reply sqmail.Reply
		want  string
	}{
		{"RFC 2034", replyStyle{}, refused, "550 5.7.1 no\r\n"},
		{"classic", replyStyle{classic: true}, refused, "550 no (#5.7.1)\r\n"},
		{"several lines", replyStyle{}, say(550, 5, 7, 1, "no\nnever"), "550-5.7.1 no\r\n550 5.7.1 never\r\n"},
		{"several lines, classic", replyStyle{classic: true}, say(550, 5, 7, 1, "no\nnever"), "550-no\r\n550 never (#5.7.1)\r\n"},
		{"no enhanced status code is set", replyStyle{}, sqmail.Reply{Code: 451, Text: "later"}, "451 4.0.0 later\r\n"},
		{"the enhanced status code is of another class", replyStyle{}, say(451, 5, 7, 1, "later"), "451 4.0.0 later\r\n"},
		{"the enhanced status code is none", replyStyle{}, say(550, 5, 1000, 1, "no"), "550 5.0.0 no\r\n"},
		{"nor is this", replyStyle{classic: true}, say(550, 5, 7, -1, "no"), "550 no (#5.0.0)\r\n"},
		{"3yz has none", replyStyle{}, sqmail.Reply{Code: 354, Text: "go"}, "354 go\r\n"},
		{"no text", replyStyle{}, sqmail.Reply{Code: 250}, "250 2.0.0 \r\n"},
		{"CRLF in the text", replyStyle{}, say(550, 5, 7, 1, "a\r\n250 ok"), "550-5.7.1 a\r\n550 5.7.1 250 ok\r\n"},
		{"control characters", replyStyle{}, say(550, 5, 7, 1, "a\rb\x00\x1b"), "550 5.7.1 a?b??\r\n"},
		{"UTF-8 without SMTPUTF8", replyStyle{}, say(550, 5, 7, 1, "é"), "550 5.7.1 ??\r\n"},
		{"UTF-8 with SMTPUTF8", replyStyle{utf8: true}, say(550, 5, 7, 1, "é"), "550 5.7.1 é\r\n"},
	} {
		if got := string(test.style.appendReply(nil, test.reply)); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestReplyLinesAreBounded(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("x", 5000), strings.Repeat("word ", 1000), strings.Repeat("é", 2000), strings.Repeat("\n", 5000),
	} {
		checkReply(t, 550, replyStyle{}.appendReply(nil, say(550, 5, 7, 1, text)))
		checkReply(t, 550, replyStyle{classic: true, utf8: true}.appendReply(nil, say(550, 5, 7, 1, text)))
	}
	checkReply(t, 250, appendPlain(nil, 250, strings.Repeat("x", 5000), "y"))
}

// checkReply checks the form of a reply (RFC 5321, 4.2.1 and 4.5.3.1.5).
func checkReply(t *testing.T, code int, wire []byte) {
	t.Helper()
	lines := strings.SplitAfter(string(wire), "\r\n")
	lines, end := lines[:len(lines)-1], lines[len(lines)-1]
	if end != "" || len(lines) == 0 || len(lines) > maxReplyLines {
		t.Fatalf("%q: not 1 to %d lines", wire, maxReplyLines)
	}
	for i, line := range lines {
		text := strings.TrimSuffix(line, "\r\n")
		sep := byte('-')
		if i == len(lines)-1 {
			sep = ' '
		}
		if len(line) > maxReplyLine || !isPrintable(text, true) || line[:3] != itoa(code) || line[3] != sep {
			t.Fatalf("line %d of %d: %q", i, len(lines), line)
		}
	}
}

func itoa(code int) string { return sqmail.Reply{Code: code}.String() }

func TestOnlyRefusalsRefuse(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		code int
	}{
		{"a plain error", errors.New("disk on fire"), 451},
		{"a rejection", &sqmail.Error{Class: sqmail.Rejection, Reply: say(550, 5, 1, 1, "no such user")}, 550},
		{"a rejection without a reply", &sqmail.Error{Class: sqmail.Rejection}, 554},
		{"a deferral with a reply of 550", &sqmail.Error{Reply: say(550, 5, 1, 1, "x")}, 451},
		{"an error with a reply of 250", &sqmail.Error{Class: sqmail.Accepted, Reply: say(250, 2, 0, 0, "ok")}, 451},
		{"an error with a reply of 354", &sqmail.Error{Class: sqmail.Accepted, Reply: sqmail.Reply{Code: 354}}, 451},
		{"a code that is none", &sqmail.Error{Reply: sqmail.Reply{Code: 999}}, 451},
		{"a negative code", &sqmail.Error{Reply: sqmail.Reply{Code: -450}}, 451},
	} {
		if got := wireReply(test.err); got.Code != test.code {
			t.Errorf("%s: %v, want %d", test.name, got, test.code)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add("no\nnever", 5, 7, 1, true, false)
	f.Add(strings.Repeat("é ", 600), -5, 7000, 1, false, true)
	f.Fuzz(func(t *testing.T, text string, class, subject, detail int, classic, utf8 bool) {
		style := replyStyle{classic: classic, utf8: utf8}
		checkReply(t, 550, style.appendReply(nil, say(550, class, subject, detail, text)))
	})
}
