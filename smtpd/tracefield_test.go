package smtpd

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

// TestTraceFieldsStandInOrder: Received-SPF above our Received, other fields
// of filters below it, and the M of a verified sender in the protocol.
func TestTraceFieldsStandInOrder(t *testing.T) {
	for _, test := range []struct {
		header   string
		verified bool
		want     []string // how the lines begin
	}{
		{"", false, []string{"Received: from", "  by "}},
		{"X-RBL-Info: x\n", false, []string{"Received: from", "  by ", "X-RBL-Info: x"}},
		{"Received-SPF: pass (x:\n\ty)\nX-RBL-Info: x\n", false, []string{"Received-SPF: pass", "\ty)", "Received: from", "  by ", "X-RBL-Info: x"}},
		{"Received-SPF: pass\n", false, []string{"Received-SPF: pass", "Received: from", "  by "}},
		{"", true, []string{"Received: from", "  by localhost with ESMTPAM; "}},
	} {
		s := &session{set: (&Server{}).settings(), peer: &sqmail.Peer{Protocol: "ESMTPA", User: "joe"}}
		env := &sqmail.Envelope{Header: []byte(test.header), SenderVerified: test.verified}
		s.trace(env)
		lines := strings.Split(strings.TrimSuffix(string(env.Header), "\n"), "\n")
		if len(lines) != len(test.want) {
			t.Errorf("%q: %q", test.header, lines)
			continue
		}
		for i, want := range test.want {
			if !strings.HasPrefix(lines[i], want) {
				t.Errorf("%q: line %d is %q, want %q…", test.header, i, lines[i], want)
			}
		}
		if s.peer.Protocol != "ESMTPA" {
			t.Errorf("the session's protocol is %q now", s.peer.Protocol)
		}
	}
}
