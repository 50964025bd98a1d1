package smtpd_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// TestDialogues plays the dialogues of testdata/dialog; those in its folder
// reply have a file for each reply of smtpd.md, 10.1. Each begins with "== "
// and the rule that it shows. Lines "O: " name options of the server, by the
// table below; lines "M: " are the messages that it must have taken, and no
// others. The rest is as in smtpdtest.Talk.
func TestDialogues(t *testing.T) {
	for _, file := range dialogues(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, all, _ := strings.Cut("\n"+string(text), "\n== ")
		for script := range strings.SplitSeq(all, "\n== ") {
			name, script, _ := strings.Cut(script, "\n")
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				t.Parallel()
				playDialogue(t, script)
			})
		}
	}
}

// dialogues returns the files with dialogues.
func dialogues(t testing.TB) (files []string) {
	t.Helper()
	for _, pattern := range []string{"testdata/dialog/*.txt", "testdata/dialog/reply/*.txt"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal("no dialogues", pattern, err)
		}
		files = append(files, found...)
	}
	return files
}

func playDialogue(t *testing.T, script string) {
	var talk, want strings.Builder
	var configure []func(*smtpd.Server)
	for line := range strings.Lines(script) {
		text := strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(text, "O: "); ok {
			f := options[name]
			if f == nil {
				t.Fatalf("no option %q", name)
			}
			configure = append(configure, f)
		} else if strings.HasPrefix(text, "M: ") {
			want.WriteString(text + "\n")
		} else {
			talk.WriteString(line)
		}
	}
	var r smtpdtest.Recorder
	server := smtpdtest.NewServer(t, &r, configure...)
	server.Talk(t, talk.String())
	server.Close() // all that was taken is there now
	got := ""
	for _, m := range r.Messages() {
		got += describe(m)
	}
	if got != want.String() {
		t.Errorf("taken:\n%swant:\n%s", got, want.String())
	}
}

// describe writes a message as an "M: " line.
func describe(m *smtpdtest.Message) string {
	var to []string
	for _, r := range m.Envelope.Recipients {
		to = append(to, r.Path.String())
	}
	return fmt.Sprintf("M: %s > %s %q\n", m.Envelope.ReversePath, strings.Join(to, ","), m.Body)
}

// options are what dialogues can ask for.
var options = map[string]func(*smtpd.Server){
	"no TLS":           func(s *smtpd.Server) { s.TLSConfig = nil },
	"STARTTLS off":     func(s *smtpd.Server) { s.StartTLS = smtpd.Off },
	"STARTTLS first":   func(s *smtpd.Server) { s.StartTLS = smtpd.Required },
	"users":            func(s *smtpd.Server) { s.Verifier = users; s.AuthFailureDelay = -1 },
	"AUTH off":         func(s *smtpd.Server) { s.Authentication = smtpd.Off },
	"AUTH first":       func(s *smtpd.Server) { s.Authentication = smtpd.Required },
	"CRAM-MD5":         func(s *smtpd.Server) { s.Mechanisms = []string{"cram-md5"} },
	"cleartext AUTH":   func(s *smtpd.Server) { s.CleartextAuth = true },
	"behind a proxy":   func(s *smtpd.Server) { s.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
	"loopback only":    func(s *smtpd.Server) { s.Policy = loopbackOnly{} },
	"XCLIENT":          func(s *smtpd.Server) { s.XCLIENTFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
	"from afar":        func(s *smtpd.Server) { s.ForPeer = fromAfar },
	"accept all":       func(s *smtpd.Server) { s.Policy = smtpd.AcceptAll },
	"classic replies":  func(s *smtpd.Server) { s.ClassicReplies = true },
	"loose syntax":     func(s *smtpd.Server) { s.LooseSyntax = true },
	"LMTP":             func(s *smtpd.Server) { s.LMTP = true },
	"no receiver":      func(s *smtpd.Server) { s.Receiver = nil },
	"10 octets":        func(s *smtpd.Server) { s.MaxMessageBytes = 10 },
	"text of 552":      func(s *smtpd.Server) { s.TooBigText = "see example.test" },
	"no size limit":    func(s *smtpd.Server) { s.MaxMessageBytes = -1 },
	"2 recipients":     func(s *smtpd.Server) { s.MaxRecipients = 2 },
	"1 transaction":    func(s *smtpd.Server) { s.MaxTransactions = 1 },
	"hide LIMITS":      func(s *smtpd.Server) { s.Hide = []string{"LIMITS"} },
	"told":             func(s *smtpd.Server) { s.Policy, s.Receiver = told{}, told{} },
	"impatient":        func(s *smtpd.Server) { s.IdleTimeout = 20 * time.Millisecond },
	"2 hops":           func(s *smtpd.Server) { s.MaxHops = 2 },
	"2 bad commands":   func(s *smtpd.Server) { s.MaxBadCommands = 2 },
	"2 failures":       func(s *smtpd.Server) { s.MaxAuthFailures = 2 },
	"repair bare LF":   func(s *smtpd.Server) { s.BareLF = smtpd.RepairBareLF },
	"pass bare LF":     func(s *smtpd.Server) { s.BareLF = smtpd.PassBareLF },
	"hide extensions":  func(s *smtpd.Server) { s.Hide = []string{"smtputf8", "CHUNKING", "DSN"} },
	"no hello name":    func(s *smtpd.Server) { s.HelloName = "" },
	"greeting":         func(s *smtpd.Server) { s.Greeting = "go away" },
	"policy":           func(s *smtpd.Server) { s.Policy = rules{} },
	"early policy":     func(s *smtpd.Server) { s.Policy = closed{} },
	"plain errors":     func(s *smtpd.Server) { s.Policy = vague{} },
	"refusing peers":   func(s *smtpd.Server) { s.ForPeer = refusingPeers },
	"broken verifier":  func(s *smtpd.Server) { s.Verifier = brokenVerifier },
	"broken receiver":  func(s *smtpd.Server) { s.Receiver = brokenReceiver },
	"lazy receiver":    func(s *smtpd.Server) { s.Receiver = lazyReceiver },
	"hasty receiver":   func(s *smtpd.Server) { s.Receiver = hastyReceiver },
	"careless reader":  func(s *smtpd.Server) { s.Receiver = carelessReceiver },
	"panics":           func(s *smtpd.Server) { s.Policy = panics{} },
	"panicking reader": func(s *smtpd.Server) { s.Receiver = panickingReceiver },
}

// users knows joe, whose password is secret, and cannot tell about ann.
var users = auth.VerifierFunc(func(_ context.Context, c *auth.Credentials) (auth.Identity, error) {
	switch {
	case c.User == "ann":
		return auth.Identity{}, errors.New("the store is away")
	case c.User == "joe" && c.Match("secret"):
		return auth.Identity{Name: "joe"}, nil
	}
	return auth.Identity{}, auth.Rejected("wrong")
})

// fromAfar makes the client one that is not on this host.
func fromAfar(_ context.Context, peer *sqmail.Peer) (*smtpd.Server, error) {
	peer.Remote = netip.MustParseAddrPort("192.0.2.7:" + strconv.Itoa(int(peer.Remote.Port())))
	return nil, nil
}

// unquoted is what a "C: " line sends.
func unquoted(text string) string {
	if raw, err := strconv.Unquote(text); err == nil {
		return raw
	}
	return text + "\r\n"
}
