package control

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// served is a home whose first service is served on loopback, to clients that
// are strangers.
type served struct {
	*smtpdtest.Server
	t    *testing.T
	home string
	got  smtpdtest.Recorder
	log  *lockedText
}

// lockedText is text that several goroutines write.
type lockedText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveHome serves a home of these files, whose service has the variables.
func serveHome(t *testing.T, variables string, files map[string]string, parts Parts) *served {
	t.Helper()
	s := &served{t: t, home: t.TempDir(), log: new(lockedText)}
	for name, f := range homeOf(files) {
		s.write(name, string(f.Data), 0o644)
	}
	s.write("control/services", "smtpd smtp 127.0.0.1:0 "+variables+"\n", 0o644)
	c, err := Load(s.home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	parts.TempDir = t.TempDir()
	parts.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	filters := c.Filters(parts)
	t.Cleanup(func() {
		filters.Close()
		if left, err := os.ReadDir(parts.TempDir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	p := profileOf(c, "127.0.0.1")
	s.Server = smtpdtest.NewServer(t, filters.Receiver(p, &s.got), func(server *smtpd.Server) {
		server.Policy = &filter.Chain{Filters: filters.For(p), Log: parts.Log, NewSession: func(_ context.Context, session *filter.Session) error {
			session.Relayed, session.Vars = p.RelayClient, p.Vars
			return nil
		}}
	})
	return s
}

func (s *served) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	path := filepath.Join(s.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		s.t.Fatal(err)
	}
}

// mail sends a message, and returns the reply that decided: the first that
// refused, or that to the message.
func (s *served) mail(message string) string {
	s.t.Helper()
	c := s.Dial(s.t)
	c.Do("EHLO client.test", 250)
	for _, command := range []string{"MAIL FROM:<a@x.test>", "RCPT TO:<b@mx.test>"} {
		c.Send(command + "\r\n")
		if r := c.Reply(); !strings.HasPrefix(r, "250") {
			return r
		}
	}
	c.Do("DATA", 354)
	c.Send(strings.ReplaceAll(message, "\n", "\r\n") + ".\r\n")
	r := c.Reply()
	c.Do("QUIT", 221)
	return r
}

const hi = "Subject: hi\n\nhello\n"

func TestDNSListsOverSMTP(t *testing.T) {
	zone := mailtest.NewZone(t, `
		1.0.0.127.bl.test    TXT "you are listed"
		1.0.0.127.bl.test    A   127.0.0.2
		1.0.0.127.a.test     A   127.0.0.2
		1.0.0.127.wl.test    A   127.0.0.3
		1.0.0.127.ill.test   A   127.255.255.254
	`)
	zone.On("TXT", mailtest.For("1.0.0.127.down.test")).ServFail()
	zone.On("A", mailtest.For("1.0.0.127.down.test")).ServFail()
	for _, test := range []struct{ variables, lists, want, header string }{
		{`RBL=""`, "# none\nother.test\n", "250", ""},
		{`RBL=""`, "other.test\nbl.test\n", "451 4.7.1 you are listed", ""},
		{`RBL=""`, "-bl.test\n", "553 5.7.1 you are listed", ""},
		{`RBL=reject`, "bl.test\n", "553 5.7.1 you are listed", ""},
		{`RBL=""`, "-a.test: see https://a.test/%IP%\n", "553 5.7.1 see https://a.test/127.0.0.1", ""},
		{`RBL=""`, "a.test\n", "250", ""}, // it has no text
		{`RBL=""`, "!wl.test\nbl.test\n", "250", ""},
		{`RBL=""`, "bl.test\n!wl.test\n", "451", ""},
		{`RBL=""`, "down.test\nbl.test\n", "451 4.7.1 you are listed", ""},
		{`RBL=strict`, "down.test\n-bl.test\n", "451 4.7.1 temporary failure of a list", ""},
		{`RBL=""`, "ill.test:text\n", "250", ""},
		{`RBL=tag`, "bl.test\n", "250", "X-RBL-Info: you are listed\n"},
		{`RBL="" RBLSMTPD=""`, "bl.test\n", "250", ""},
		{`RBLSMTPD="come again"`, "", "451 4.7.1 come again", ""},
		{`RBLSMTPD="-go away"`, "", "553 5.7.1 go away", ""},
		{`RBL=reject RELAYCLIENT=""`, "bl.test\n", "250", ""},
		{`RBL="reject lists=rbl"`, "bl.test\n", "553", ""},
	} {
		s := serveHome(t, test.variables, map[string]string{"control/rbl": test.lists}, Parts{Resolver: zone})
		if got := s.mail(hi); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s, %q: %q, want %q", test.variables, test.lists, got, test.want)
		}
		if all := s.got.Messages(); test.header != "" && !strings.Contains(string(all[0].Envelope.Header), test.header) {
			t.Errorf("%s: %q", test.variables, all[0].Envelope.Header)
		}
	}
	s := serveHome(t, `RBL=""`, map[string]string{"control/rbl": "# one\nbl.test\n"}, Parts{Resolver: zone})
	if s.mail(hi); !strings.Contains(s.log.String(), "rule=bl.test input=127.0.0.1 file=control/rbl line=2") {
		t.Errorf("the log does not name the line:\n%s", s.log)
	}
	s = serveHome(t, `RBL=connect`, map[string]string{"control/rbl": "-bl.test\n"}, Parts{Resolver: zone})
	c := s.Connect(t)
	c.Expect(554)
	c.ExpectEnd()
}

func TestScannerProgramOverSMTP(t *testing.T) {
	const base64 = "Content-Transfer-Encoding: base64\n\nSGVsbG8gd29ybGQ=\n"
	for _, test := range []struct{ variables, script, message, want string }{
		{``, `exit 0`, hi, "250"},
		{``, `exit 1`, hi, "554 5.3.2"},
		{`REPLY_CONTENT="ask us"`, `exit 1`, hi, "554 5.3.2 sorry, invalid message content (virus); ask us"},
		{``, `exit 2`, hi, "451 4.3.0"},
		{``, `kill -9 $$`, hi, "451 4.3.0"},
		{`QHPSIRC=7`, `exit 7`, hi, "554 5.3.2"},
		{`QHPSIRC=7`, `exit 1`, hi, "451 4.3.0"},
		{`QHPSIMAXSIZE=10`, `exit 1`, hi, "250"},
		{`QHPSIMINSIZE=100000`, `exit 1`, hi, "250"},
		{`BASE64=""`, `exit 1`, hi, "250"},
		{`BASE64=""`, `exit 1`, base64, "554 5.3.2"},
		{`QHPSIARG1="--x" QHPSIARG2="b c" SITE="s 1"`, `test "$#|$2|$3|$SITE|$MAILFROM|$RCPTTO" = "3|--x|b c|s 1|a@x.test|b@mx.test "`, hi, "250"},
		{``, `grep -q ^Received: "$1" && grep -q ^hello "$1"`, hi, "250"},
	} {
		s := serveHome(t, `QHPSI="scan" `+test.variables, map[string]string{"bin/.keep": ""}, Parts{})
		s.write("bin/scan", "#!/bin/sh\n"+test.script+"\n", 0o755)
		if got := s.mail(test.message); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s, %s: %q, want %q", test.variables, test.script, got, test.want)
		}
		if accepted := len(s.got.Messages()); (accepted > 0) != (test.want == "250") {
			t.Errorf("%s, %s: %d messages got through", test.variables, test.script, accepted)
		}
	}
	s := serveHome(t, `QHPSI="nowhere"`, nil, Parts{})
	if got := s.mail(hi); !strings.HasPrefix(got, "451") {
		t.Errorf("a program that is not there: %q", got)
	}
}

func TestQueueProgramOverSMTP(t *testing.T) {
	for code, want := range map[int]string{
		0: "250", 11: "554 5.1.3", 31: "554 5.3.0", 32: "554 5.3.2", 33: "554 5.3.2", 34: "554 5.3.2", 40: "554 5.3.0",
		51: "451 4.3.0", 53: "451 4.3.0", 71: "451 4.3.0", 72: "451 4.4.1", 74: "451 4.4.2", 91: "451 4.3.0", 1: "451 4.3.0",
	} {
		s := serveHome(t, `QMAILQUEUE="bin/qq" QMAILQUEUE_EXTRA="bin/more" SITE=1`, map[string]string{"bin/.keep": ""}, Parts{})
		s.write("bin/qq", fmt.Sprintf("#!/bin/sh\ncat >message\ncat <&1 >raw\ntr '\\000' '|' <raw >envelope\necho \"$QMAILQUEUE_EXTRA $SITE\" >env\nexit %d\n", code), 0o755)
		if got := s.mail(hi); !strings.HasPrefix(got, want) {
			t.Errorf("exit %d: %q, want %q", code, got, want)
		}
		if len(s.got.Messages()) > 0 {
			t.Errorf("exit %d: our queue got it too", code)
		}
		for name, want := range map[string]string{"message": "\n" + hi, "envelope": "Fa@x.test|Tb@mx.test||", "env": "bin/more 1\n"} {
			if got, err := os.ReadFile(filepath.Join(s.home, name)); err != nil || !strings.HasSuffix(string(got), want) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
}

func TestCopiesOverSMTP(t *testing.T) {
	s := serveHome(t, `DELIVERTO="log@mx.test"`, nil, Parts{})
	if got := s.mail(hi); !strings.HasPrefix(got, "250") {
		t.Fatal(got)
	}
	env := s.got.Messages()[0].Envelope
	if len(env.Recipients) != 2 || env.Recipients[1].Path.String() != "log@mx.test" || env.Recipients[1].Notify != sqmail.NotifyNever {
		t.Errorf("%+v", env.Recipients)
	}
}

func TestAttachmentsOverSMTP(t *testing.T) {
	s := serveHome(t, `MIMEFILTER="parts=3" REPLY_CONTENT="zip it"`, map[string]string{
		"control/mimefilter": "# what runs\nname:*.exe\nname:!fine.exe\ntype:Application/X-MSdownload\n",
	}, Parts{})
	part := func(fields string) string { return "MIME-Version: 1.0\n" + fields + "\n\nx\n" }
	for message, want := range map[string]string{
		hi: "250",
		part("Content-Type: application/octet-stream; name=\"A.EXE\""):                                    "554 5.3.2 sorry, invalid message content (attachment); zip it",
		part("Content-Type: application/octet-stream; name=fine.exe"):                                     "250",
		part("Content-Type: application/x-msdownload"):                                                    "554 5.3.2",
		part("Content-Type: multipart/mixed; boundary=b\n") + strings.Repeat("--b\n\nx\n", 4) + "--b--\n": "554 5.6.0",
	} {
		if got := s.mail(message); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
	if !strings.Contains(s.log.String(), "file=control/mimefilter line=2") {
		t.Errorf("the log does not name the line:\n%s", s.log)
	}
}

func TestWrongLinesOfFilterFilesAreFatal(t *testing.T) {
	for _, test := range []struct{ file, variable, text string }{
		{"mimefilter", "MIMEFILTER", "name:*.exe\nname:*[a\n"}, {"mimefilter", "MIMEFILTER", "type:x/y\n*.exe\n"}, {"mimefilter", "", "type:x\nname:\n"},
		{"rbl", "RBL", "bl.test\nbl test\n"}, {"rbl", "RBL", "bl.test\n!wl.test:text\n"}, {"rbl", "RBL", "bl.test\n-\n"},
		{"rbl", "RBL", "bl.test\nx.test:\x01\n"}, {"rbl", "RBL", "bl.test\nx.test:" + strings.Repeat("x", 301) + "\n"},
	} {
		files := map[string]string{"control/" + test.file: test.text}
		if test.variable != "" {
			files["control/services"] = "smtpd smtp 127.0.0.1:0 " + test.variable + "=\"\"\n"
		}
		_, err := LoadFS(homeOf(files), "/nowhere")
		if err == nil || !strings.HasPrefix(err.Error(), "control/"+test.file+":2: ") {
			t.Errorf("%s %q: %v", test.file, test.text, err)
		}
	}
}

func TestDaemonsOverSMTP(t *testing.T) {
	const bad = "Subject: EICAR\n\nspam!\n"
	for _, test := range []struct {
		variable, options string
		daemon            func(*bufio.Reader, io.Writer)
		refusal           string
	}{
		{"CLAMD", "", clamd, "554 5.3.2"},
		{"SPAMD", " rejectat=8", spamd, "554 5.3.2"},
		{"RSPAMD", "", rspamd, "554 5.7.1"},
		{"MILTER", "", fakeMilter, "550 5.7.1"},
	} {
		address := daemon(t, test.daemon)
		s := serveHome(t, fmt.Sprintf(`%s="%s%s" REPLY_CONTENT="ask us"`, test.variable, address, test.options), nil, Parts{})
		if got := s.mail(hi); !strings.HasPrefix(got, "250") {
			t.Errorf("%s: %q", test.variable, got)
		}
		if got := s.mail(bad); !strings.HasPrefix(got, test.refusal) || strings.HasSuffix(got, "; ask us") == (test.variable == "MILTER") {
			t.Errorf("%s: %q, want %q", test.variable, got, test.refusal)
		}
		s = serveHome(t, fmt.Sprintf(`%s="%s%s strangers" RELAYCLIENT=""`, test.variable, address, test.options), nil, Parts{})
		if got := s.mail(bad); !strings.HasPrefix(got, "250") {
			t.Errorf("%s, relay client: %q", test.variable, got)
		}
	}
}

// TestDaemonsThatAreDown: mail is deferred, or with "pass" let in, and the log
// tells.
func TestDaemonsThatAreDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	silent := func(r *bufio.Reader, _ io.Writer) { io.Copy(io.Discard, r) }
	hangup := func(*bufio.Reader, io.Writer) {}
	for _, variable := range []string{"CLAMD", "SPAMD", "RSPAMD", "MILTER"} {
		for how, address := range map[string]string{
			"closed": l.Addr().String(), "no such socket": "unix:/nonexistent/socket",
			"silent": daemon(t, silent) + " timeout=1", "hangs up": daemon(t, hangup),
		} {
			t.Run(variable+" "+how, func(t *testing.T) {
				t.Parallel()
				if got := serveHome(t, fmt.Sprintf(`%s="%s"`, variable, address), nil, Parts{}).mail(hi); !strings.HasPrefix(got, "451") {
					t.Errorf("%q", got)
				}
			})
			if how == "silent" {
				continue // once is enough: it takes its time
			}
			t.Run(variable+" "+how+", pass", func(t *testing.T) {
				t.Parallel()
				s := serveHome(t, fmt.Sprintf(`%s="%s pass"`, variable, address), nil, Parts{})
				if got := s.mail(hi); !strings.HasPrefix(got, "250") || !strings.Contains(s.log.String(), "passes unseen") {
					t.Errorf("%q\n%s", got, s.log)
				}
			})
		}
	}
}

// clock is a GreyStore with one record, which was first seen some time ago.
type clock struct {
	ago time.Duration
	err error
}

func (c *clock) Update(_ context.Context, _ string, f func(filter.GreyRecord) filter.GreyRecord) error {
	if c.err != nil {
		return c.err
	}
	r := filter.GreyRecord{}
	if c.ago > 0 {
		r.First, r.Expires = time.Now().Add(-c.ago), time.Now().Add(time.Hour)
	}
	f(r)
	return nil
}

func TestGreylistOverSMTP(t *testing.T) {
	for _, test := range []struct {
		variables string
		store     *clock
		want      string
	}{
		{`GREYLIST=""`, &clock{}, "450 4.7.1 greylisted"},
		{`GREYLIST="" REPLY_GREYLISTED="patience"`, &clock{}, "450 4.7.1 greylisted, please try again later; patience"},
		{`GREYLIST=""`, &clock{ago: time.Minute}, "450"},
		{`GREYLIST=""`, &clock{ago: 10 * time.Minute}, "250"},
		{`GREYLIST="delay=1200"`, &clock{ago: 10 * time.Minute}, "450"},
		{`GREYLIST="" RELAYCLIENT=""`, &clock{}, "250"},
		{`GREYLIST=""`, &clock{err: io.ErrClosedPipe}, "250"},
	} {
		s := serveHome(t, test.variables, nil, Parts{Greylist: test.store})
		if got := s.mail(hi); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s, %+v: %q, want %q", test.variables, test.store, got, test.want)
		}
		if test.store.err != nil && !strings.Contains(s.log.String(), "greylisting is out of order") {
			t.Errorf("the log does not tell:\n%s", s.log)
		}
	}
}
