package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sqmail/sqmail/control"
)

// services are all listeners that the attacks know.
const services = `
smtpd  smtp  127.0.0.1:0 UCSPITLS="" SMTPAUTH=""
smtps  smtps 127.0.0.1:0 SMTPAUTH=""
pop3d  pop3  127.0.0.1:0
pop3sd pop3s 127.0.0.1:0
`

// daemon is sqmaild in a process of its own.
type daemon struct {
	cmd   *exec.Cmd
	addrs map[string]string // of the services, by name
	log   bytes.Buffer
}

// start makes a home, and a daemon in it that is ready.
func start(program, home string) (*daemon, error) {
	if err := control.Init(home, "mx.bench.test", control.InitOptions{}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(home, "control/services"), []byte(services), 0o644); err != nil {
		return nil, err
	}
	d := &daemon{cmd: exec.Command(program, "serve", "-home", home), addrs: map[string]string{}}
	d.cmd.Stderr = &tail{buf: &d.log}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	for r := bufio.NewScanner(out); r.Scan(); {
		switch words := strings.Fields(r.Text()); {
		case len(words) == 4 && words[0] == "listening":
			d.addrs[words[1]] = words[3]
		case len(words) == 1 && words[0] == "ready":
			return d, nil
		}
	}
	d.stop()
	return nil, errors.New("sqmaild does not become ready: " + d.log.String())
}

func (d *daemon) stop() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
}

// memory is the resident memory of the process.
func (d *daemon) memory() int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	_, rest, _ := bytes.Cut(text, []byte("VmRSS:"))
	kib, _ := strconv.ParseInt(string(bytes.Fields(append(rest, " 0"...))[0]), 10, 64)
	return kib << 10
}

// cpu is the time that the process has run. The clock of /proc ticks a hundred
// times a second.
func (d *daemon) cpu() time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	words := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(words) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(words[11], 10, 64)
	system, _ := strconv.ParseInt(words[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// tail keeps the beginning of a log, and lets the rest go.
type tail struct{ buf *bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if t.buf.Len() < 64<<10 {
		t.buf.Write(p)
	}
	return len(p), nil
}
