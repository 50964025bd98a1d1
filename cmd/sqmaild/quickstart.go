package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/sqmail/sqmail/auth/userfile"
	"github.com/sqmail/sqmail/control"
)

// The ports of quickstart: nobody needs to be root for them.
const quickServices = `# made by sqmaild quickstart: loopback alone, high ports
smtpd  smtp       127.0.0.1:2525 UCSPITLS=""
sub    submission 127.0.0.1:2587 UCSPITLS="" SMTPAUTH="!"
smtpsd smtps      127.0.0.1:2465 SMTPAUTH="!"
pop3d  pop3       127.0.0.1:2110 UCSPITLS=""
pop3sd pop3s      127.0.0.1:2995
`

const (
	quickMe   = "mx.example.org"
	quickUser = "demo"
)

func quickstart(ctx context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	homeDir := fs.String("home", "", "the home `DIR`ectory (default sqmail-quickstart in the directory for temporary files)")
	logger := logFlags(fs, std)
	if _, err := parse(fs, args, 0, 0); err != nil {
		return err
	}
	if *homeDir == "" {
		*homeDir = filepath.Join(os.TempDir(), "sqmail-quickstart")
	}
	home, err := filepath.Abs(*homeDir)
	if err != nil {
		return err
	}
	log, err := logger()
	if err != nil {
		return err
	}
	if err := quickHome(home); err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(home, "demo-password"))
	if err != nil {
		return permanentError{fmt.Errorf("%s is a home that quickstart did not make; use sqmaild serve: %w", home, err)}
	}
	// Unlike serve, it ends with the terminal.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	explained := &onReady{w: std.out, then: func(w io.Writer) { explain(w, home, string(password)) }}
	return serveHome(ctx, home, explained, log, nil)
}

// quickHome makes a home with the demo user, unless there is one.
func quickHome(home string) error {
	if _, err := os.Stat(filepath.Join(home, "control", "me")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := control.Init(home, quickMe, control.InitOptions{}); err != nil {
		return permanentError{err}
	}
	if err := os.WriteFile(filepath.Join(home, "control", "services"), []byte(quickServices), 0o644); err != nil {
		return err
	}
	// Nobody relays here, so there are no rules for the services to name.
	if err := os.Remove(filepath.Join(home, "control", "rules.smtpd")); err != nil {
		return err
	}
	password := rand.Text()[:12]
	secret, err := userfile.Hash(password)
	if err != nil {
		return err
	}
	if err := control.UsersOf(home).Add(quickUser, secret); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(home, "demo-password"), []byte(password), 0o600)
}

// onReady does something when the line "ready" was written.
type onReady struct {
	w    io.Writer
	then func(io.Writer)
}

func (o *onReady) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if string(p) == "ready\n" {
		o.then(o.w)
	}
	return n, err
}

func explain(w io.Writer, home, password string) {
	fmt.Fprintf(w, `
The home is %[1]s. Mail for %[2]s@%[3]s is delivered there.
Nothing leaves this machine unless you send it elsewhere.

Send a mail, and fetch it (paste into another terminal):

  python3 - <<'END'
import smtplib, poplib, time
with smtplib.SMTP("127.0.0.1", 2525) as s:
    s.sendmail("you@example.net", ["%[2]s@%[3]s"], "Subject: hello\r\n\r\nIt works.\r\n")
    print("accepted")
count = 0
while count == 0:
    time.sleep(0.1)
    p = poplib.POP3("127.0.0.1", 2110)
    p.user("%[2]s"); p.pass_("%[4]s")
    count = p.stat()[0]
for n in range(1, count + 1):
    print(*(line.decode() for line in p.retr(n)[1]), sep="\n")
p.quit()
END

or with swaks, as the user, over TLS:

  swaks --server 127.0.0.1:2587 -tls --auth-user %[2]s --auth-password %[4]s --from %[2]s@%[3]s --to %[2]s@%[3]s

End it with Ctrl-C. To start afresh, remove the home.
`, home, quickUser, quickMe, password)
}
