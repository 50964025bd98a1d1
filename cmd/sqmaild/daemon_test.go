package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// binary builds the daemon once for all tests, and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sqmaild-test")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "sqmaild")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", &buildError{out, err}
	}
	return path, nil
})

type buildError struct {
	out []byte
	err error
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + string(e.out) }

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// home is a home directory for a real daemon.
type home struct {
	t   *testing.T
	dir string
	bin string
}

// newHome makes a home whose listeners are on loopback ports that the system
// chooses, with the users given; everybody's password is "secret".
func newHome(t *testing.T, users ...string) *home {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, dir: filepath.Join(t.TempDir(), "home"), bin: bin}
	h.run("", "init", "-home", h.dir, "-me", "mx.example.org")
	h.write("control/services", `
smtpd smtp       127.0.0.1:0 UCSPITLS=""
sub   submission 127.0.0.1:0 UCSPITLS="" SMTPAUTH="!"
pop3d pop3       127.0.0.1:0 UCSPITLS=""
`)
	for _, name := range users {
		h.run("secret", "user", "add", "-home", h.dir, name)
	}
	return h
}

func (h *home) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// run runs a subcommand that must succeed, and returns what it printed.
func (h *home) run(stdin string, args ...string) string {
	h.t.Helper()
	out, code := h.try(stdin, args...)
	if code != 0 {
		h.t.Fatalf("sqmaild %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// try runs a subcommand and returns what it printed, and its exit code.
func (h *home) try(stdin string, args ...string) (string, int) {
	h.t.Helper()
	cmd := exec.Command(h.bin, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// running is a sqmaild that runs.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	addrs map[string]string // by service name
	log   *lockedBuffer
	gone  chan struct{}
}

// start starts the daemon and waits until it says that it is ready.
func (h *home) start(configure ...func(*exec.Cmd)) *running {
	h.t.Helper()
	d := &running{t: h.t, addrs: map[string]string{}, log: &lockedBuffer{}, gone: make(chan struct{})}
	d.cmd = exec.Command(h.bin, "serve", "-home", h.dir)
	for _, f := range configure {
		f(d.cmd)
	}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(d.kill)
	ready := make(chan bool, 1)
	go d.watch(stdout, ready)
	timeout, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	select {
	case ok := <-ready:
		if ok {
			return d
		}
	case <-timeout.Done():
	}
	d.kill()
	h.t.Fatalf("the daemon did not get ready:\n%s", d.log)
	return nil
}

// watch reads the daemon's standard output: a line for each listener, and a
// line with the word ready behind them.
func (d *running) watch(stdout io.Reader, ready chan<- bool) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 4 && words[0] == "listening" {
			d.addrs[words[1]] = words[3]
		}
		if strings.Contains(lines.Text(), "ready") {
			ready <- true
		}
	}
	close(ready)
	d.cmd.Wait()
	close(d.gone)
}

// kill ends the daemon as a power cut would, as far as a process can tell.
func (d *running) kill() {
	d.cmd.Process.Kill()
	<-d.gone
}

// stop ends the daemon in good order.
func (d *running) stop() {
	d.t.Helper()
	d.cmd.Process.Signal(os.Interrupt)
	<-d.gone
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("the daemon's exit code is %d:\n%s", code, d.log)
	}
}

// lockedBuffer is a buffer that a process may write to while a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
