package pop3_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/pop3"
)

// FuzzDialogue says anything to a server, before and after a login. Whatever
// it is: each line of the answer is a line of POP3, the session ends, and no
// message goes without QUIT.
func FuzzDialogue(f *testing.F) {
	f.Add("USER joe\r\nPASS x\r\nCAPA\r\nQUIT\r\n", false)
	f.Add("STAT\r\nLIST\r\nLIST 1\r\nUIDL\r\nRETR 1\r\nTOP 1 1\r\nDELE 1\r\nLAST\r\nRSET\r\nQUIT\r\n", true)
	f.Add("AUTH PLAIN\r\nAGpvZQBzZWNyZXQ=\r\nRETR 99999999999999999999\r\nDELE 1\r\nQUIT\r\n", true)
	f.Add("STLS\r\nNOOP\n\r\nAPOP joe x\r\n", false)
	id := newMaildir(f, 2)
	f.Fuzz(func(t *testing.T, said string, loggedIn bool) {
		s := &pop3.Server{
			Verifier: failing(auth.Rejected("no")), APOP: true, AuthFailureDelay: -1, IdleTimeout: time.Second,
		}
		if loggedIn {
			s.Verifier = auth.VerifierFunc(verifyAll(id))
			said = "USER joe\r\nPASS x\r\n" + said
		}
		heard := speak(t, s, said)
		for line := range strings.SplitAfterSeq(heard, "\r\n") {
			if strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\n") {
				t.Errorf("heard %q", line)
			}
		}
		if !strings.HasPrefix(heard, "+OK <") {
			t.Errorf("heard %q", heard)
		}
		restock(t, id, strings.Contains(strings.ToUpper(said), "QUIT"))
	})
}

// speak says it all and hangs up; it returns what the server said.
func speak(t *testing.T, s *pop3.Server, said string) string {
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(far)
	}()
	go func() {
		io.WriteString(near, said)
		io.WriteString(near, "\r\nQUI") // and no more
		near.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	}()
	heard, _ := io.ReadAll(near)
	near.Close()
	<-done
	return string(heard)
}

// restock fails if messages are missing though nobody said QUIT.
func restock(t *testing.T, id auth.Identity, quit bool) {
	for _, name := range []string{"00000", "00001"} {
		path := filepath.Join(id.Maildir, "new", name)
		_, err := os.Stat(path)
		if err == nil {
			continue
		}
		if !quit {
			t.Errorf("%s is gone: %v", name, err)
		}
		os.Remove(filepath.Join(id.Maildir, "cur", name+":2,"))
		if err := os.WriteFile(path, []byte("x\ny\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func verifyAll(id auth.Identity) func(context.Context, *auth.Credentials) (auth.Identity, error) {
	return func(context.Context, *auth.Credentials) (auth.Identity, error) { return id, nil }
}
