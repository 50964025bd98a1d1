package main

import (
	"encoding/json"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/greylist"
)

// TestStoryIsLoggedKeptAndReplayed follows a message and a refusal through the
// real daemon: its log, queue show before and after a restart, and a replay of
// the log under the same rules and under others.
func TestStoryIsLoggedKeptAndReplayed(t *testing.T) {
	h := newHome(t, "joe")
	h.write("control/badmailfrom", "# list\nevil@*\n")
	h.write("control/concurrencylocal", "0\n") // it stays in the queue
	h.write("control/rules.smtpd", "192.0.2.66:deny\n127.:allow\n:allow\n")
	h.write("control/services", "smtpd smtp 127.0.0.1:0 rules=rules.smtpd\n")
	d := h.start()
	for from, ok := range map[string]bool{"a@x.test": true, "evil@x.test": false} {
		err := smtp.SendMail(d.addrs["smtpd"], nil, from, []string{"joe@mx.example.org"}, []byte("Subject: x\r\n\r\nhello\r\n"))
		if (err == nil) != ok {
			t.Fatalf("%s: %v", from, err)
		}
	}
	id := h.queued()[0]
	shown := h.run("", "queue", "show", "-home", h.dir, id)
	d.stop()
	again := h.run("", "queue", "show", "-home", h.dir, id)
	for _, want := range []string{
		`verdict: connect rules: pass, rule "127." on "127.0.0.1" (control/rules.smtpd:2)`,
		`verdict: recipient rcpthosts: pass, rule "mx.example.org" on "mx.example.org" (control/rcpthosts:1), took `,
	} {
		if !strings.Contains(shown, want) || !strings.Contains(again, want) {
			t.Errorf("queue show lacks %q:\n%s\nafter the end of the daemon:\n%s", want, shown, again)
		}
	}

	log := h.dir + "/../log"
	if err := os.WriteFile(log, []byte("foreign\n"+d.log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := h.try("", "explain", "-replay", log, "-home", h.dir)
	if code != 0 || !strings.Contains(out, "2 transactions: 0 differ") {
		t.Errorf("the same rules: exit %d\n%s\n%s", code, out, d.log)
	}
	h.write("control/badmailfrom", "# list\n# more\nevil@*\na@x.test\n")
	out, code = h.try("", "explain", "-replay", log, "-home", h.dir)
	for _, want := range []string{
		"2 transactions: 1 differ (1 would be refused, 0 accepted)", "message " + id, "recipient joe@mx.example.org", "        was 250",
		`        now 553 5.7.1 sorry, your envelope sender is in my badmailfrom list; badmailfrom: reject, rule "a@x.test" on "a@x.test" (control/badmailfrom:4)`,
	} {
		if code != exitDifferences || !strings.Contains(out, want) {
			t.Errorf("other rules: exit %d, lacks %q\n%s", code, want, out)
		}
	}
	out, code = h.try(d.log.String(), "explain", "-replay", "-", "-home", h.dir, "-json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var last struct{ Summary replaySummary }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || code != exitDifferences || len(lines) != 2 || last.Summary.Refused != 1 {
		t.Errorf("exit %d, %v:\n%s", code, err, out)
	}
	var change struct {
		Changes []struct {
			New struct{ Reply struct{ Code int } }
		}
	}
	if err := json.Unmarshal([]byte(lines[0]), &change); err != nil || len(change.Changes) != 1 || change.Changes[0].New.Reply.Code != 553 {
		t.Errorf("%v: %s", err, lines[0])
	}
}

func TestReplayRefusesNonsense(t *testing.T) {
	dir := explainedHome(t)
	for _, args := range [][]string{
		{"explain", "-home", dir, "-replay", dir + "/none"},
		{"explain", "-home", dir, "-replay", "-", "-from", "a@x.test"},
		{"explain", "-home", dir, "-replay", "-", "message"},
		{"explain", "-home", dir + "/none", "-replay", "-"},
	} {
		if _, errs, code := runCommand(t, "", args...); code != exitPermanent || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
	out, _, code := runCommand(t, `{"msg":"transaction","trace":{"listener":"gone","steps":[{"stage":"connect","reply":{"code":250}}]}}`+"\nx\n", "explain", "-home", dir, "-replay", "-")
	if code != exitDone || !strings.Contains(out, "1 of services that are not here; 1 other lines") {
		t.Errorf("exit %d: %s", code, out)
	}
	_, errs, code := runCommand(t, "no log\n", "explain", "-home", dir, "-replay", "-")
	if code != exitPermanent || !strings.Contains(errs, "no transaction in it") {
		t.Errorf("a file that is no log: exit %d: %s", code, errs)
	}
}

// TestExplainTriggersNothing: who would remember the session is not asked, and
// nothing is delivered.
func TestExplainTriggersNothing(t *testing.T) {
	dir := explainedHome(t)
	h := &home{t: t, dir: dir}
	asked := make(chan struct{}, 100)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			asked <- struct{}{}
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	h.write("control/services", `smtpd smtp 127.0.0.1:0 GREYLIST="" POSTGREY="127.0.0.1;`+port+`" MILTER="127.0.0.1:`+port+`" QMAILQUEUE="bin/none" DELIVERTO="joe@mx.example.org"`+"\n")
	out, errs, code := runCommand(t, "Subject: x\n\nhello\n",
		"explain", "-home", dir, "-ip", "192.0.2.7", "-from", "a@x.test", "-to", "joe@mx.example.org", "-")
	if code != exitDone || len(asked) > 0 {
		t.Fatalf("exit %d: %s, asked %d times", code, errs, len(asked))
	}
	if strings.Contains(out, "450") == strings.Contains(out, "would ask the policy server 127.0.0.1:"+port) {
		t.Errorf("the greylist decides, or the policy server would be asked:\n%s", out)
	}
	for _, want := range []string{"would ask the milter 127.0.0.1:" + port} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	if _, err := os.Stat(greylistFile(dir)); err == nil {
		t.Error("a greylist was made")
	}
}

func TestExplainKnowsTheLimitsOfTheServer(t *testing.T) {
	dir := explainedHome(t)
	h := &home{t: t, dir: dir}
	h.write("control/services", `smtpd smtp 127.0.0.1:0 UCSPITLS="!" SMTPAUTH="!" MAXRECIPIENTS=1 DATABYTES=20`+"\n")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-cleartext"}, "reverse-path a@x.test: 530 5.7.0 STARTTLS first"},
		{nil, "reverse-path a@x.test: 530 5.7.0 authentication required"},
		{[]string{"-user", "joe"}, "body: 552 5.3.4 message too big"},
		{[]string{"-user", "joe", "-to", "b@x.test"}, "recipient b@x.test: 452 4.5.3 too many recipients"},
	} {
		args := append([]string{"explain", "-home", dir, "-from", "a@x.test", "-to", "joe@mx.example.org", "-"}, test.args...)
		out, errs, code := runCommand(t, "Subject: a message\n\nwith more than that\n", args...)
		if code != exitDone || !strings.Contains(out, test.want) {
			t.Errorf("%q: exit %d %s, lacks %q:\n%s", test.args, code, errs, test.want, out)
		}
	}
}

// TestExplainLooksAtTheGreylist: it knows who is known, writes nothing, and says
// so when a daemon has the file to itself.
func TestExplainLooksAtTheGreylist(t *testing.T) {
	dir := explainedHome(t)
	h := &home{t: t, dir: dir}
	h.write("control/services", `smtpd smtp 127.0.0.1:0 GREYLIST=""`+"\n")
	if err := os.MkdirAll(filepath.Dir(greylistFile(dir)), 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := greylist.Open(greylistFile(dir), 0)
	if err != nil {
		t.Fatal(err)
	}
	explain := func() string {
		out, errs, code := runCommand(t, "", "explain", "-home", dir, "-ip", "192.0.2.7", "-from", "a@x.test", "-to", "joe@mx.example.org")
		if code != exitDone {
			t.Fatalf("exit %d: %s", code, errs)
		}
		return out
	}
	if out := explain(); !strings.Contains(out, "would ask the greylist") {
		t.Errorf("while another process has it:\n%s", out)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if out := explain(); !strings.Contains(out, `greylist: defer, rule "too soon"`) {
			t.Errorf("unknown:\n%s", out)
		}
	}
	if store, err = greylist.Open(greylistFile(dir), 1); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	// There is room for one record: none was made.
	err = store.Update(t.Context(), "key", func(filter.GreyRecord) filter.GreyRecord {
		return filter.GreyRecord{First: time.Now(), Expires: time.Now().Add(time.Hour)}
	})
	if err != nil {
		t.Errorf("something was written: %v", err)
	}
}
