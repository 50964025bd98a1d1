package local

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sqmail/sqmail/internal/maildir"
)

// toMbox appends the message to an mbox, which is locked meanwhile. If that
// fails the file is cut to what it was.
func (j *job) toMbox(ctx context.Context, arg string) error {
	path := j.path(arg)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return fail(err, "Unable to open %s: %s. (#4.2.1)", arg, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return fail(err, "Unable to open %s: not a regular file. (#4.2.1)", arg)
	}
	if err := lock(ctx, f, j.agent.LockTimeout); err != nil {
		return lockFailure(err, arg)
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fail(err, "Unable to write %s: %s. (#4.3.0)", arg, reason(err))
	}
	if err := j.appendTo(ctx, f, end); err != nil {
		return mboxFailure(errors.Join(err, f.Truncate(end), f.Sync()), arg)
	}
	j.wrote(path)
	return nil
}

func mboxFailure(err error, arg string) error {
	if _, source := errors.AsType[sourceError](err); source {
		return fail(err, "Unable to read message: %s. (#4.3.0)", reason(err))
	}
	return fail(err, "Unable to write %s: %s. (#4.3.0)", arg, reason(err))
}

// appendTo writes the message behind end and makes it durable, with the file's
// entry in its directory if it is new.
func (j *job) appendTo(ctx context.Context, f *os.File, end int64) error {
	gap, err := gapAt(f, end)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	w.WriteString(gap + j.fromLine() + j.returnPath() + j.deliveredTo())
	if err := quoteFrom(ctx, w, j.body()); err != nil {
		return err
	}
	w.WriteByte('\n')
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if end == 0 {
		return maildir.Disk{}.SyncDir(filepath.Dir(f.Name()))
	}
	return nil
}

// gapAt returns what is missing behind the last message: a crash may have cut
// it, and then the next one would become a part of it.
func gapAt(f *os.File, end int64) (string, error) {
	tail := make([]byte, min(end, 2))
	if _, err := f.ReadAt(tail, end-int64(len(tail))); err != nil && err != io.EOF {
		return "", err
	}
	switch {
	case end == 0 || string(tail) == "\n\n":
		return "", nil
	case tail[len(tail)-1] == '\n':
		return "\n", nil
	}
	return "\n\n", nil
}

// quoteFrom copies a message, with a ">" before each line that could be taken
// for the start of another one, or for such a line quoted. The last line gets
// its end if it has none.
func quoteFrom(ctx context.Context, w *bufio.Writer, r io.Reader) error {
	br := bufio.NewReaderSize(r, 64<<10)
	atStart := true
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := br.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if atStart && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			w.WriteByte('>')
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		if len(line) > 0 {
			atStart = line[len(line)-1] == '\n'
		}
		if err == io.EOF {
			if !atStart {
				return w.WriteByte('\n')
			}
			return nil
		}
	}
}

const defaultLockTimeout = 30 * time.Second

var errLocked = errors.New("locked by another process")

// lock takes the file's lock; closing the file gives it back. It asks again
// and again, since a thread that waits in the kernel could not be called back.
func lock(ctx context.Context, f *os.File, timeout time.Duration) error {
	if timeout <= 0 {
		timeout = defaultLockTimeout
	}
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		err := tryLock(f)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return errLocked
		case <-time.After(pause):
		}
	}
}

func tryLock(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		return err
	}
	return failed
}

func lockFailure(err error, arg string) error {
	if errors.Is(err, errLocked) {
		return fail(err, "File has been locked for 30 seconds straight. (#4.3.0)")
	}
	return fail(err, "Unable to lock %s: %s. (#4.3.0)", arg, reason(err))
}
