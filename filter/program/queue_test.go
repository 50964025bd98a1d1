package program_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/program"
)

func envelope(from string, to ...string) *sqmail.Envelope {
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf(from), Header: []byte("Received: x\n")}
	for _, a := range to {
		env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(a)})
	}
	return env
}

// queue returns a Queue whose program is a script that runs in dir.
func queue(t *testing.T, format string, args ...any) (q *program.Queue, dir string) {
	t.Helper()
	dir = t.TempDir()
	return &program.Queue{Program: script(t, format, args...), Dir: dir, TempDir: t.TempDir()}, dir
}

const readAll = "cat >message; cat <&1 >envelope; "

func TestQueueProgramGetsMessageAndEnvelope(t *testing.T) {
	q, dir := queue(t, readAll+`echo "$MAILFROM|$RCPTTO|$TCPREMOTEIP|$HELOHOST|$AUTHUSER|$HOME|$OWN" >env; exit 0`)
	q.Env = []string{"PATH=/usr/bin:/bin", "OWN=1"}
	env := envelope(`a b@x.test`, "c@y.test", "d@y.test")
	env.Peer = &sqmail.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:9"), Hello: "h.test", User: "joe"}
	body := strings.Repeat("line\n", 100_000)
	receipt, err := q.Receive(t.Context(), env, strings.NewReader(body))
	if err != nil || receipt.ID == "" || receipt.Time.IsZero() {
		t.Errorf("%+v, %v", receipt, err)
	}
	for name, want := range map[string]string{
		"message":  "Received: x\n" + body,
		"envelope": "Fa b@x.test\x00Tc@y.test\x00Td@y.test\x00\x00",
		"env":      "a b@x.test|c@y.test d@y.test |192.0.2.1|h.test|joe||1\n",
	} {
		if got := read(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %.200q", name, got)
		}
	}
	empty(t, q.TempDir)
}

// Header may grow while the body is read; all of it stands before the body.
func TestTagsStandBeforeTheMessage(t *testing.T) {
	q, dir := queue(t, readAll)
	env := envelope("", "b@y.test")
	body := io.MultiReader(strings.NewReader(message), readerFunc(func([]byte) (int, error) {
		env.Header = append(env.Header, "X-Tag: yes\n"...)
		return 0, io.EOF
	}))
	if _, err := q.Receive(t.Context(), env, body); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "message")); got != "Received: x\nX-Tag: yes\n"+message {
		t.Errorf("%q", got)
	}
	if got := read(t, filepath.Join(dir, "envelope")); got != "F\x00Tb@y.test\x00\x00" {
		t.Errorf("%q", got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The table of spec/filter.md, 13, and spec/queue.md, 1.1.
func TestExitCodesOfQueuePrograms(t *testing.T) {
	want := map[int]string{
		0: "250 2.0.0", 1: "451 4.3.0", 10: "451 4.3.0", 11: "554 5.1.3", 12: "554 5.3.0", 31: "554 5.3.0", 32: "554 5.3.2",
		33: "554 5.3.2", 34: "554 5.3.2", 35: "554 5.3.0", 40: "554 5.3.0", 41: "451 4.3.0", 50: "451 4.3.0", 51: "451 4.3.0",
		52: "451 4.3.0", 53: "451 4.3.0", 54: "451 4.3.0", 55: "451 4.3.0", 56: "451 4.3.0", 61: "451 4.3.0", 62: "451 4.3.0",
		66: "451 4.3.0", 71: "451 4.3.0", 72: "451 4.4.1", 73: "451 4.4.1", 74: "451 4.4.2", 81: "451 4.3.0", 91: "451 4.3.0",
		100: "451 4.3.0", 111: "451 4.3.0", 115: "554 5.1.3", 120: "451 4.3.0", 255: "451 4.3.0",
	}
	for code, reply := range want {
		q, _ := queue(t, readAll+"exit %d", code)
		_, err := q.Receive(t.Context(), envelope("a@x.test", "b@y.test"), strings.NewReader(message))
		if got := sqmail.ReplyFor(err); !strings.HasPrefix(got.String(), reply+" ") {
			t.Errorf("%d: %v", code, got)
		}
	}
}

func TestQueueProgramsThatFail(t *testing.T) {
	for name, test := range map[string]struct{ command, text string }{
		"crash":                {readAll + "kill -9 $$", "qq crashed"},
		"the message unread":   {"exit 0", "qq read error"},
		"the envelope unread":  {"cat >/dev/null; exit 0", ""},
		"a large one, refused": {"exit 31", "permanently rejected"},
	} {
		q, _ := queue(t, "%s", test.command)
		var to []string
		if name == "the envelope unread" { // more than a pipe holds
			for range 10_000 {
				to = append(to, strings.Repeat("x", 100)+"@y.test")
			}
		}
		_, err := q.Receive(t.Context(), envelope("a@x.test", to...), strings.NewReader(strings.Repeat("line\n", 1<<18)))
		if err == nil || !strings.Contains(sqmail.ReplyFor(err).Text, test.text) {
			t.Errorf("%s: %v", name, err)
		}
		empty(t, q.TempDir)
	}
	for _, path := range []string{"", "bin/none", "/nonexistent"} {
		q := &program.Queue{Program: path, Dir: t.TempDir()}
		_, err := q.Receive(t.Context(), envelope("a@x.test"), strings.NewReader(message))
		if got := sqmail.ReplyFor(err); got.Code != 451 || got.Text != "unable to exec qq" {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestQueueProgramBelowDir(t *testing.T) {
	q, dir := queue(t, readAll)
	if err := os.Rename(q.Program, filepath.Join(dir, "hook")); err != nil {
		t.Fatal(err)
	}
	q.Program = "hook"
	if _, err := q.Receive(t.Context(), envelope("a@x.test"), strings.NewReader(message)); err != nil {
		t.Error(err)
	}
}

// What is broken off, or refused at its end, never reaches the program.
func TestAbortedMessagesAreNeverQueued(t *testing.T) {
	q, dir := queue(t, readAll+"exit 0")
	refusal := &sqmail.Error{Class: sqmail.Rejection, Reply: sqmail.Reply{Code: 554, Text: "virus"}}
	body := io.MultiReader(strings.NewReader(message), iotest.ErrReader(refusal))
	_, err := q.Receive(t.Context(), envelope("a@x.test", "b@y.test"), body)
	if sqmail.ReplyFor(err).Text != "virus" {
		t.Errorf("%v", err)
	}
	empty(t, dir)
	empty(t, q.TempDir)
}

func TestQueueProgramsAreStopped(t *testing.T) {
	long := strings.Repeat("line\n", 1<<18)
	q, _ := queue(t, "exec 0<&-; sleep 60")
	q.Timeout, q.Grace = 100*time.Millisecond, 50*time.Millisecond
	_, err := q.Receive(t.Context(), envelope("a@x.test"), strings.NewReader(long))
	if got := sqmail.ReplyFor(err); got.Text != "qq timeout" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q, _ = queue(t, "sleep 60")
	if _, err := q.Receive(ctx, envelope("a@x.test"), strings.NewReader(long)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAddressesThatDoNotFit(t *testing.T) {
	q, dir := queue(t, readAll)
	longest := strings.Repeat("x", 1002-len("@y.test")) + "@y.test"
	if _, err := q.Receive(t.Context(), envelope(longest, longest), strings.NewReader(message)); err != nil {
		t.Errorf("%v", err)
	}
	for _, env := range []*sqmail.Envelope{envelope("x" + longest), envelope("a@x.test", "x"+longest), envelope("a\x00Tevil@x.test")} {
		_, err := q.Receive(t.Context(), env, strings.NewReader(message))
		if got := sqmail.ReplyFor(err); got.Code != 554 || got.Enhanced != (sqmail.EnhancedCode{5, 1, 3}) {
			t.Errorf("%v", err)
		}
	}
	if got := read(t, filepath.Join(dir, "envelope")); got != "F"+longest+"\x00T"+longest+"\x00\x00" {
		t.Errorf("%q", got)
	}
}

// No variable may be so long that the program cannot be started at all.
// TestLogHearsWhatWasFound: smtpd's log has names for it.
func TestLogHearsWhatWasFound(t *testing.T) {
	for code, want := range map[int]string{32: "queue virus", 33: "queue spam", 34: "queue attachment", 31: "queue", 71: "queue"} {
		q, _ := queue(t, readAll+"exit %d", code)
		_, err := q.Receive(t.Context(), envelope("a@x.test", "b@y.test"), strings.NewReader(message))
		if e, ok := errors.AsType[*sqmail.Error](err); !ok || e.Op != want {
			t.Errorf("%d: %v", code, err)
		}
	}
}

// TestQueueProgramsAreBounded: those that share Running take turns, and who
// waits for too long is deferred.
func TestQueueProgramsAreBounded(t *testing.T) {
	running := make(chan struct{}, 1)
	first, dir := queue(t, readAll+"mkdir one || exit 31; rmdir one; exit 0")
	second := &program.Queue{Program: first.Program, Dir: dir, TempDir: first.TempDir, Running: running, Timeout: time.Minute}
	first.Running = running
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			q := first
			if i%2 == 0 {
				q = second
			}
			if _, err := q.Receive(t.Context(), envelope("a@x.test", "b@y.test"), strings.NewReader(message)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()

	running <- struct{}{}
	first.Timeout = time.Millisecond
	_, err := first.Receive(t.Context(), envelope("a@x.test", "b@y.test"), strings.NewReader(message))
	if got := sqmail.ReplyFor(err).String(); !strings.HasPrefix(got, "451 4.3.0 qq timeout") {
		t.Errorf("%s, %v", got, err)
	}
	empty(t, first.TempDir)
}

// TestVariablesOfMessages: those of spec/smtpd.md 3.3 that wrappers look at.
func TestVariablesOfMessages(t *testing.T) {
	env := envelope("a@x.test", "b@y.test", "c@y.test")
	env.Peer = &sqmail.Peer{
		Remote: netip.MustParseAddrPort("192.0.2.7:1025"), User: "joe", Mechanism: "plain", Hello: "h\x00",
		TLS: &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256},
	}
	env.Verdicts = []sqmail.Verdict{{Filter: "spf", Rule: "permerror"}, {Filter: "other", Rule: "pass"}}
	got := program.Variables(env)
	slices.Sort(got)
	want := []string{
		"AUTHPROTOCOL=plain", "AUTHUSER=joe", "MAILFROM=a@x.test", "RCPTTO=b@y.test c@y.test ", "RELAYCLIENT=",
		"SPFRESULT=unknown", "SSL_CIPHER=TLS_AES_128_GCM_SHA256", "SSL_CIPHER_ALGKEYSIZE=128", "SSL_CIPHER_USEKEYSIZE=128", "SSL_PROTOCOL=TLSv1.3",
		"TCPREMOTEINFO=joe", "TCPREMOTEIP=192.0.2.7", "TCPREMOTEPORT=1025",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestManyRecipientsFitTheEnvironment(t *testing.T) {
	q, dir := queue(t, readAll+`echo ${#RCPTTO} >length`)
	var to []string
	for range 20_000 {
		to = append(to, strings.Repeat("x", 50)+"@y.test")
	}
	if _, err := q.Receive(t.Context(), envelope("a@x.test", to...), strings.NewReader(message)); err != nil {
		t.Error(err)
	}
	if got := read(t, filepath.Join(dir, "length")); !strings.HasPrefix(got, "102") {
		t.Errorf("RCPTTO has %s octets", got)
	}
	if got := read(t, filepath.Join(dir, "envelope")); strings.Count(got, "T") != 20_000 {
		t.Error("recipients are missing")
	}
}
