package smtpd_test

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// TestAuthParameterIsBelievedByNobody: what MAIL says with AUTH= is the name of
// nobody, neither in the trace field nor for those who look at the session
// (smtpd.md, 4.4; the original takes it for the remote user).
func TestAuthParameterIsBelievedByNobody(t *testing.T) {
	for _, test := range []struct{ login, user, from string }{
		{"", "", "Received: from unknown (HELO c) (127.0.0.1)"},
		{"C: AUTH PLAIN AGpvZQBzZWNyZXQ=\nS: 235*\n", "joe", "Received: from unknown (HELO c) (joe@127.0.0.1)"},
	} {
		var taken smtpdtest.Recorder
		server := smtpdtest.NewServer(t, &taken, func(s *smtpd.Server) { s.Verifier = users })
		server.Talk(t, "S: 220*\nC: EHLO c\nS: 250...\n"+test.login+
			"C: MAIL FROM:<a@example.org> AUTH=boss+2Bx@example.org\nS: 250*\nC: RCPT TO:<b@example.test>\nS: 250*\n"+
			"C: DATA\nS: 354*\nC: .\nS: 250*\n")
		server.Close()
		m := taken.Messages()[0]
		if m.Envelope.Peer.User != test.user || !strings.HasPrefix(string(m.Envelope.Header), test.from) {
			t.Errorf("user %q, header %q", m.Envelope.Peer.User, m.Envelope.Header)
		}
	}
}
