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
smtpd  smtp       127.0.0.1:2525 UCSPITLS="" UTF8=""
sub    submission 127.0.0.1:2587 UCSPITLS="" SMTPAUTH="!" UTF8=""
smtpsd smtps      127.0.0.1:2465 SMTPAUTH="!" UTF8=""
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
	password, err := quickHome(home)
	if err != nil {
		return err
	}
	// Unlike serve, it ends with the terminal.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	explained := &onReady{w: std.out, then: func(w io.Writer) { explain(w, home, password) }}
	return serveHome(ctx, &daemon{home: home, out: explained, log: log}, nil)
}

// quickHome makes a home with the demo user, or what is missing of one that it
// was cut off from, and returns the user's password. The file demo-password comes
// first: it tells a home of quickstart from others.
func quickHome(home string) (password string, err error) {
	file := filepath.Join(home, "demo-password")
	text, err := os.ReadFile(file)
	_, meErr := os.Lstat(filepath.Join(home, "control", "me"))
	switch {
	case err == nil:
		password = string(text)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	case meErr == nil:
		return "", permanentError{fmt.Errorf("%s is a home that quickstart did not make; use sqmaild serve", home)}
	default:
		password = rand.Text()[:12]
		if err := writeWhole(file, password); err != nil {
			return "", err
		}
	}
	if errors.Is(meErr, fs.ErrNotExist) {
		if err := control.Init(home, quickMe, control.InitOptions{Services: quickServices}); err != nil {
			return "", permanentError{err}
		}
	}
	return password, quickDemo(home, password)
}

// quickDemo makes the demo user, unless there is one.
func quickDemo(home, password string) error {
	users := control.UsersOf(home)
	table, err := users.File.Table()
	if err != nil {
		return err
	}
	if _, found := table.Lookup(quickUser); found {
		return nil
	}
	secret, err := userfile.Hash(password)
	if err != nil {
		return err
	}
	return users.Add(quickUser, secret)
}

// writeWhole writes a secret file that is there whole, or not at all.
func writeWhole(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file+".tmp", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
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
