package pop3_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/pop3"
)

// TestDialogues plays the dialogues of testdata/dialog. Each begins with "== "
// and the rule that it shows; its lines are:
//
//	# a comment
//	O: an option of the server, by the table below
//	F: new/name "a message in joe's maildir, as a Go string"
//	C: what the client sends, CRLF is added
//	C: "or in quotes, as a Go string, sent as it is"
//	S: +OK what the server says
//	S: +OK that, or anything that begins so*
//	TLS        the client's handshake
//	REMOVE new/name, as another program would
//	MOVE new/name cur/name
//	END        the server closes, and has said nothing more
//	D: new/a cur/b:2,    what is in the maildir afterwards
//
// Lines of the client that follow each other go out in one piece. Without END
// the client hangs up.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialog/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, all, _ := strings.Cut("\n"+string(text), "\n== ")
		for script := range strings.SplitSeq(all, "\n== ") {
			name, script, _ := strings.Cut(script, "\n")
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.play(script)
					w.quiet()
				})
			})
		}
	}
}

// options are what dialogues can ask for.
var options = map[string]func(*pop3.Server){
	"TLS":              func(s *pop3.Server) { s.TLSConfig = &tls.Config{} },
	"STLS off":         func(s *pop3.Server) { s.STLS = pop3.Off },
	"STLS first":       func(s *pop3.Server) { s.STLS = pop3.Required },
	"APOP":             func(s *pop3.Server) { s.APOP = true; s.HostName = "mx.test" },
	"no passwords":     func(s *pop3.Server) { s.NoPassword = true },
	"cleartext":        func(s *pop3.Server) { s.CleartextAuth = true },
	"no verifier":      func(s *pop3.Server) { s.Verifier = nil },
	"2 bad commands":   func(s *pop3.Server) { s.MaxBadCommands = 2 },
	"any bad commands": func(s *pop3.Server) { s.MaxBadCommands = -1 },
	"broken verifier":  func(s *pop3.Server) { s.Verifier = failing(errors.New("store is down: secret detail")) },
	"broken maildrop":  func(s *pop3.Server) { s.Open = opening(nil, errors.New("disk is gone: secret detail")) },
	"no maildrop":      func(s *pop3.Server) { s.Verifier = failing(nil) },
	"broken messages":  func(s *pop3.Server) { s.Open = opening(broken{}, nil) },
	"sees one message": func(s *pop3.Server) { s.Open = (&pop3.Maildirs{MaxMessages: 1}).Open },
	"holds no files":   func(s *pop3.Server) { s.Open = (&pop3.Maildirs{MaxHeld: -1}).Open },
	"from afar":        nil, // see play
}

func failing(err error) auth.Verifier {
	return auth.VerifierFunc(func(context.Context, *auth.Credentials) (auth.Identity, error) {
		return auth.Identity{}, err
	})
}

func opening(d pop3.Maildrop, err error) func(context.Context, auth.Identity) (pop3.Maildrop, error) {
	return func(context.Context, auth.Identity) (pop3.Maildrop, error) { return d, err }
}

// world is a server with one user, joe, whose password is "secret word".
type world struct {
	t       *testing.T
	dir     string // joe's maildir
	server  *pop3.Server
	net     mailtest.Network
	from    string // the client's address
	ca      *mailtest.CA
	conn    net.Conn
	reader  *bufio.Reader
	pending string
	ended   bool
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "Maildir"), from: "127.0.0.2", ca: mailtest.NewCA(t)}
	for _, sub := range []string{"", "tmp", "new", "cur"} {
		if err := os.Mkdir(filepath.Join(w.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.server = &pop3.Server{Verifier: auth.VerifierFunc(w.verify)}
	return w
}

func (w *world) verify(_ context.Context, c *auth.Credentials) (auth.Identity, error) {
	if c.User != "joe" || !c.Match("secret word") {
		return auth.Identity{}, auth.Rejected("no")
	}
	return auth.Identity{Maildir: w.dir}, nil
}

// connect starts the server and connects to it.
func (w *world) connect() {
	w.t.Helper()
	if w.conn != nil {
		return
	}
	if w.server.TLSConfig != nil {
		w.server.TLSConfig = w.ca.Server("mx.test")
	}
	ln, err := w.net.Listen("tcp", "192.0.2.1:110")
	if err != nil {
		w.t.Fatal(err)
	}
	go w.server.Serve(ln)
	w.t.Cleanup(func() { w.server.Close() })
	if w.conn, err = w.net.From(w.from).DialContext(w.t.Context(), "tcp", "192.0.2.1:110"); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.conn.Close() })
	w.reader = bufio.NewReader(w.conn)
}

func (w *world) play(script string) {
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\r\n")
		kind, text, _ := strings.Cut(line, ": ")
		if kind != "C" {
			w.flush()
		}
		switch words := strings.Fields(line); {
		case line == "" || line[0] == '#':
		case kind == "O":
			w.option(text)
		case kind == "F":
			w.file(text)
		case kind == "C" || line == "C:":
			w.pending += unquote(w.t, text)
		case kind == "S":
			w.connect()
			w.expect(text)
		case line == "TLS":
			w.conn = tls.Client(w.conn, &tls.Config{ServerName: "mx.test", RootCAs: w.ca.Pool})
			w.reader = bufio.NewReader(w.conn)
		case words[0] == "REMOVE":
			os.Remove(filepath.Join(w.dir, words[1]))
		case words[0] == "MOVE":
			os.Rename(filepath.Join(w.dir, words[1]), filepath.Join(w.dir, words[2]))
		case line == "END":
			w.expectEnd()
		case kind == "D" || line == "D:":
			w.conn.Close()
			w.server.Close()
			if got := w.files(); !slices.Equal(got, strings.Fields(text)) {
				w.t.Errorf("afterwards %q, want %q", got, strings.Fields(text))
			}
		default:
			w.t.Fatalf("not a line of a dialogue: %q", line)
		}
	}
	w.flush()
}

func (w *world) option(name string) {
	f, known := options[name]
	switch {
	case !known:
		w.t.Fatalf("no option %q", name)
	case f == nil:
		w.from = "198.51.100.7"
	default:
		f(w.server)
	}
}

// file writes a message; each is a second younger than the one before.
func (w *world) file(text string) {
	name, quoted, _ := strings.Cut(text, " ")
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(unquote(w.t, quoted)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	age := time.Unix(1_000_000_000+int64(len(w.files())), 0)
	if err := os.Chtimes(path, age, age); err != nil {
		w.t.Fatal(err)
	}
}

// files returns the names of all messages.
func (w *world) files() (names []string) {
	for _, sub := range []string{"tmp", "new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(w.dir, sub))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, sub+"/"+e.Name())
		}
	}
	return names
}

func unquote(t *testing.T, text string) string {
	if !strings.HasPrefix(text, `"`) {
		return text + "\r\n"
	}
	raw, err := strconv.Unquote(text)
	if err != nil {
		t.Fatalf("not a Go string: %s", text)
	}
	return raw
}

func (w *world) flush() {
	w.t.Helper()
	if w.pending == "" {
		return
	}
	if _, err := w.conn.Write([]byte(w.pending)); err != nil {
		w.t.Errorf("C: %q: %v", w.pending, err)
	}
	w.pending = ""
}

func (w *world) expect(want string) {
	w.t.Helper()
	got, err := w.reader.ReadString('\n')
	if err != nil {
		w.t.Fatalf("S: %q and %v\nwant: %s", got, err, want)
	}
	got = strings.TrimSuffix(got, "\r\n")
	prefix, open := strings.CutSuffix(want, "*")
	if got != want && !(open && strings.HasPrefix(got, prefix)) {
		w.t.Fatalf("S: %s\nwant: %s", got, want)
	}
}

func (w *world) expectEnd() {
	w.t.Helper()
	w.ended = true
	if rest, err := w.reader.ReadString('\n'); err == nil || rest != "" {
		w.t.Errorf("S: %q, %v; want the end", rest, err)
	}
}

// quiet fails if the server has said more than the script.
func (w *world) quiet() {
	w.t.Helper()
	if w.ended {
		return
	}
	w.conn.SetReadDeadline(time.Now().Add(time.Minute))
	if b, err := w.reader.ReadByte(); err == nil {
		rest, _ := w.reader.ReadString('\n')
		w.t.Errorf("S: %c%s, which the script does not expect", b, rest)
	}
}

// broken is a maildrop that can do nothing.
type broken struct{}

var errBroken = errors.New("disk is gone: secret detail")

func (broken) Len() int                                 { return 3 }
func (broken) UniqueID(n int) string                    { return "id" + strconv.Itoa(n) }
func (broken) Size(context.Context, int) (int64, error) { return 0, errBroken }
func (broken) Open(_ context.Context, n int) (io.ReadCloser, error) {
	if n == 2 { // breaks in the middle
		return io.NopCloser(io.MultiReader(strings.NewReader("A: 1\n"), iotest.ErrReader(errBroken))), nil
	}
	return nil, errBroken
}
func (broken) Update(context.Context, []bool) error { return errBroken }
func (broken) Close() error                         { return errBroken }
