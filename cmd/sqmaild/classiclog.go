package main

import (
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/sqmail/sqmail/smtpd"
)

// smtpLog is the log of SMTP sessions: that of the daemon, and the classic
// lines if they are wanted.
func (d *daemon) smtpLog() *slog.Logger {
	if d.classic == nil {
		return d.log
	}
	return slog.New(smtpd.ClassicLog(d.classic, d.log.Handler()))
}

// appendFile is a file that lines are appended to. Reopen goes on with the file
// that has its name now: the old one may have been moved away.
type appendFile struct {
	name string

	mu   sync.Mutex
	file io.Writer
}

// openAppend opens or makes a file; "-" is standard output.
func openAppend(name string, stdout io.Writer) (*appendFile, error) {
	if name == "-" {
		return &appendFile{file: stdout}, nil
	}
	a := &appendFile{name: name}
	return a, a.Reopen()
}

// Write appends.
func (a *appendFile) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Write(p)
}

// Close closes the file.
func (a *appendFile) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.file.(io.Closer); ok && a.name != "" {
		return c.Close()
	}
	return nil
}

// Reopen opens the file again. If that fails the old one stays.
func (a *appendFile) Reopen() error {
	if a.name == "" {
		return nil
	}
	file, err := os.OpenFile(a.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, ok := a.file.(io.Closer); ok {
		old.Close()
	}
	a.file = file
	return nil
}
