package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
	"github.com/sqmail/sqmail/delivery/local"
)

var _ delivery.Deliverer = (*local.Agent)(nil)

func TestMailGoesToTheMaildirWithoutDotQmail(t *testing.T) {
	dir := home(t, nil)
	o := deliver(t, &local.Agent{Users: only(dir)}, message("Subject: x\n\nno end", "a b@x.test", "u@h.test"))
	want(t, o, sqmail.Accepted, "did 1+0+0\n")
	got := mails(t, filepath.Join(dir, "Maildir"))
	if len(got) != 1 || got[0] != "Return-Path: <\"a b\"@x.test>\nDelivered-To: u@h.test\nSubject: x\n\nno end" {
		t.Errorf("%q", got)
	}
	if !strings.HasPrefix(o.Where, filepath.Join(dir, "Maildir/new/")) {
		t.Errorf("where: %s", o.Where)
	}
}

func TestDefaultInstructionsServeEmptyAndMissingFiles(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		user  string // its own default
		want  string // the file that gets the mail
	}{
		"missing":                       {nil, "", "agent"},
		"empty":                         {map[string]string{".qmail": ""}, "", "agent"},
		"empty and forward-only":        {map[string]string{".qmail 0700": ""}, "", "agent"},
		"missing, the user has his own": {nil, "./user", "user"},
	} {
		dir := home(t, c.files)
		a := &local.Agent{Default: "#\n./agent\n", Users: local.UsersFunc(func(context.Context, string) (local.User, error) {
			return local.User{Name: "u", Home: dir, Default: c.user}, nil
		})}
		want(t, deliver(t, a, message("x\n", "", "u@h.test")), sqmail.Accepted, "did 1+0+0\n")
		if _, err := os.Stat(filepath.Join(dir, c.want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoHasNoMailboxIsRejected(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "", ".qmail-list": ""})
	a := &local.Agent{Users: only(dir)}
	for _, to := range []string{"u-ext@h.test", "u-list-more@h.test", "nobody@h.test", "@h.test", "u-a/../b@h.test", "u-nul\x00@h.test", "u-" + strings.Repeat("x", 300) + "@h.test"} {
		o := deliver(t, a, message("x\n", "s@x.test", to))
		want(t, o, sqmail.Rejection, "Sorry, no mailbox here by that name. (#5.1.1)\n")
		if o.Reply.String() != "550 5.1.1 Sorry, no mailbox here by that name." {
			t.Errorf("%s: %v", to, o.Reply)
		}
	}
	var zero local.Agent
	want(t, deliver(t, &zero, message("x\n", "", "u@h.test")), sqmail.Rejection, "Sorry, no mailbox here by that name. (#5.1.1)\n")
}

func TestAliasUserHasWhatNobodyHas(t *testing.T) {
	dir := home(t, map[string]string{".qmail-postmaster": "", ".qmail-john:doe": "./john\n"})
	a := &local.Agent{Users: only(home(t, nil)), Alias: dir}
	want(t, deliver(t, a, message("x\n", "", "Postmaster@h.test")), sqmail.Accepted, "did 1+0+0\n")
	want(t, deliver(t, a, message("x\n", "", "John.Doe@h.test")), sqmail.Accepted, "did 1+0+0\n")
	want(t, deliver(t, a, message("x\n", "", "eve@h.test")), sqmail.Rejection, "Sorry, no mailbox here by that name. (#5.1.1)\n")
	if len(mails(t, filepath.Join(dir, "Maildir"))) != 1 || read(t, dir, "john") == "" {
		t.Error("alias mail went elsewhere")
	}
}

func TestUnknownErrorIsADeferral(t *testing.T) {
	a := &local.Agent{Users: local.UsersFunc(func(context.Context, string) (local.User, error) {
		return local.User{}, errors.New("secret database down")
	})}
	want(t, deliver(t, a, message("x\n", "", "u@h.test")), sqmail.Deferral, "Trouble looking up the user. (#4.3.0)\n")
}

func TestHomeMustBeInOrder(t *testing.T) {
	good := home(t, nil)
	writable, group, sticky, foreign := home(t, nil), home(t, nil), home(t, nil), home(t, nil)
	os.Chmod(writable, 0o702)
	os.Chmod(group, 0o720)
	os.Chmod(sticky, 0o700|os.ModeSticky)
	file := filepath.Join(good, "file")
	os.WriteFile(file, nil, 0o600)
	for _, c := range []struct {
		home string
		mask os.FileMode
		want string
	}{
		{writable, 0, "Uh-oh: home directory is writable. (#4.7.0)\n"},
		{group, 0o022, "Uh-oh: home directory is writable. (#4.7.0)\n"},
		{sticky, 0, "Home directory is sticky: user is editing his .qmail file. (#4.2.1)\n"},
		{good + "/none", 0, "Unable to switch to home directory: no such file or directory. (#4.3.0)\n"},
		{file, 0, "Unable to switch to home directory: trouble. (#4.3.0)\n"},
		{"relative", 0, "Home directory of the user is not an absolute path. (#4.3.5)\n"},
	} {
		a := &local.Agent{Users: only(c.home), Mask: c.mask}
		want(t, deliver(t, a, message("x\n", "", "u@h.test")), sqmail.Deferral, c.want)
	}
	if os.Geteuid() == 0 {
		os.Chown(foreign, 12345, 12345)
		want(t, deliver(t, &local.Agent{Users: only(foreign)}, message("x\n", "", "u@h.test")), sqmail.Deferral,
			"Not allowed to perform deliveries as root. (#4.7.0)\n")
	}
}

func TestDotQmailMustNotBeWritable(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "./mbox\n"})
	file := filepath.Join(dir, ".qmail")
	for _, c := range []struct {
		mode, mask os.FileMode
		class      sqmail.Class
	}{
		{0o602, 0, sqmail.Deferral}, {0o620, 0, sqmail.Accepted}, {0o620, 0o022, sqmail.Deferral}, {0o602, 0o020, sqmail.Accepted},
	} {
		os.Chmod(file, c.mode)
		o := deliver(t, &local.Agent{Users: only(dir), Mask: c.mask}, message("x\n", "", "u@h.test"))
		text := "did 1+0+0\n"
		if c.class == sqmail.Deferral {
			text = "Uh-oh: .qmail file is writable. (#4.7.0)\n"
		}
		want(t, o, c.class, text)
	}
}

func TestLoopsBounce(t *testing.T) {
	dir := home(t, nil)
	hops := strings.Repeat("Received: by a\n\tfolded\n", 99)
	const looping = "This message is looping: it already has my Delivered-To line. (#5.4.6)\n"
	const travelled = "This message is looping: it has passed too many hosts. (#5.4.6)\n"
	const fine = "did 1+0+0\n"
	for text, report := range map[string]string{
		"Delivered-To: u@h.test\n\nx\n":                               looping,
		"Subject: x\ndelivered-to :U@H.Test \n\nx\n":                  looping,
		"Delivered-To:\n u@h.test\nSubject: x\n\n":                    looping,
		"A: " + strings.Repeat("x", 1e5) + "\nDelivered-To: u@h.test": looping,
		"Delivered-To: u@h.test\r\n\r\n":                              looping,
		"Delivered-To: uu@h.test\n\nDelivered-To: u@h.test\n":         fine,
		"Subject: Delivered-To: u@h.test\n\n":                         fine,
		"X-Delivered-To: u@h.test\n\n":                                fine,
		"\nDelivered-To: u@h.test\n":                                  fine,
		"":                                                            fine,
		hops + "Delivered-To: a@b\n\n":                                fine,
		hops + "Delivered-To: a@b\nReceived: by c\n\n":                travelled,
	} {
		o := deliver(t, &local.Agent{Users: only(dir)}, message(text, "s@x.test", "u@h.test"))
		if o.Text != report || (o.Class == sqmail.Accepted) != (report == fine) {
			t.Errorf("%.60q: %v %s", text, o.Class, o.Text)
		}
	}
}

func TestEveryRecipientHasItsOutcome(t *testing.T) {
	dir := home(t, nil)
	m := message("x\n", "s@x.test", "u@h.test", "nobody@h.test", "u@h2.test")
	outcomes, err := (&local.Agent{Users: only(dir)}).Deliver(t.Context(), m)
	var got []string
	for _, o := range outcomes {
		got = append(got, fmt.Sprint(o.Recipient, " ", o.Class))
	}
	if strings.Join(got, ",") != "0 accepted,1 rejection,2 accepted" || err != nil {
		t.Errorf("%q, %v", got, err)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if outcomes, err := (&local.Agent{Users: only(dir)}).Deliver(ended, m); len(outcomes) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v, %v", outcomes, err)
	}
}

// What is done is not done again, as long as the agent lives.
func TestNextAttemptGoesOnWhereTheLastOneFailed(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "./Maildir/\n|echo one >>log\n|test -e ready\n&f@x.test\n"})
	out := &sent{err: errors.New("queue is full")}
	a := &local.Agent{Users: only(dir), Programs: &local.Programs{}, Receiver: out}
	m := message("x\n", "s@x.test", "u@h.test")

	o := deliver(t, a, m)
	if o.Class != sqmail.Deferral || o.Text != "did 1+0+1\n" {
		t.Errorf("first: %+v", o)
	}
	os.WriteFile(filepath.Join(dir, "ready"), nil, 0o600)
	want(t, deliver(t, a, m), sqmail.Deferral, "Unable to forward message: temporary failure, try again later. (#4.3.0)\ndid 1+0+2\n")
	out.err = nil
	want(t, deliver(t, a, m), sqmail.Accepted, "did 1+1+2\nqp 4711\n")

	if n := len(mails(t, filepath.Join(dir, "Maildir"))); n != 1 {
		t.Errorf("%d copies in the maildir", n)
	}
	if got := read(t, dir, "log"); got != "one\n" {
		t.Errorf("program ran: %q", got)
	}

	// The same message again, as if the queue had been restored from a backup.
	want(t, deliver(t, a, m), sqmail.Accepted, "did 1+1+2\nqp 4711\n")
	if n := len(mails(t, filepath.Join(dir, "Maildir"))); n != 2 {
		t.Errorf("%d copies in the maildir", n)
	}
}

func TestMessagesWithoutNameAreNotTakenForOneAnother(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "./Maildir/\n|exit 111\n"})
	a := &local.Agent{Users: only(dir), Programs: &local.Programs{}}
	for range 2 {
		m := message("x\n", "s@x.test", "u@h.test")
		m.ID = ""
		deliver(t, a, m)
	}
	if n := len(mails(t, filepath.Join(dir, "Maildir"))); n != 2 {
		t.Errorf("%d copies in the maildir", n)
	}
}

func TestUnreadableMessageIsDeferredEverywhere(t *testing.T) {
	text := "Subject: x\n\n" + strings.Repeat("line\n", 1e5)
	for _, line := range []string{"./Maildir/", "./mbox", "|cat >/dev/null", "&f@x.test"} {
		dir := home(t, map[string]string{".qmail": line, "mbox": "old\n"})
		out := &sent{}
		a := &local.Agent{Users: only(dir), Programs: &local.Programs{}, Receiver: out}
		m := message(text, "s@x.test", "u@h.test")
		m.Content = brokenAt{m.Content, 3e5}
		o := deliver(t, a, m)
		if o.Class != sqmail.Deferral || o.Where != "" {
			t.Errorf("%s: %+v", line, o)
		}
		if left := mails(t, filepath.Join(dir, "Maildir")); len(left) > 0 || read(t, dir, "mbox") != "old\n" || len(out.envs) > 0 {
			t.Errorf("%s: something was delivered", line)
		}
	}
}

func TestLogTellsTheCauseAndTheReportDoesNot(t *testing.T) {
	dir := home(t, map[string]string{".qmail": "#\n./none/\n"})
	var log bytes.Buffer
	a := &local.Agent{Users: only(dir), Log: slog.New(slog.NewTextHandler(&log, nil))}
	o := deliver(t, a, message("x\n", "s@x.test", "u@h.test"))
	want(t, o, sqmail.Deferral, "Unable to chdir to maildir. (#4.2.1)\n")
	for _, attr := range []string{"message=17", "to=u@h.test", "file=.qmail", "line=2", "user=u", dir + "/none/tmp"} {
		if !strings.Contains(log.String(), attr) {
			t.Errorf("no %s in %s", attr, log.String())
		}
	}
}
