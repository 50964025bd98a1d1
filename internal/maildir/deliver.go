package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Writer delivers messages into maildirs. The zero Writer is ready; its fields
// are not changed after the first Deliver, which any number of goroutines may
// call.
type Writer struct {
	// Host is this host's name in the names of files. "" means os.Hostname.
	Host string

	// FS is where the maildirs are. Nil means the machine's own file system.
	FS FS

	count atomic.Uint64
	once  sync.Once
	host  string // Host as it stands in names
}

// tries is how many names are tried before a delivery gives up. A clash means
// that somebody else works with our pid and host name.
const tries = 3

// Deliver puts the message that it reads from r into the maildir dir, and
// returns the file's name relative to dir: "new/…". With a nil error the
// message is durable. With any other nothing is left in tmp; the message is in
// new only if the last step, making its directory entry durable, failed and
// the file could not be taken back either.
//
// An error that is fs.ErrNotExist or fs.ErrPermission usually says that dir is
// no maildir: Deliver creates none. The end of ctx stops the delivery between
// two writes.
func (w *Writer) Deliver(ctx context.Context, dir string, r io.Reader) (name string, err error) {
	w.once.Do(func() { w.host = hostName(w.Host) })
	d := &delivery{fs: w.FS, dir: dir, stamp: stamp{pid: os.Getpid(), host: w.host}}
	if d.fs == nil {
		d.fs = Disk{}
	}
	if err := d.create(ctx, &w.count); err != nil {
		return "", fmt.Errorf("maildir: %w", err)
	}
	if err := d.write(ctx, r); err != nil {
		return "", fmt.Errorf("maildir: %w", errors.Join(err, d.fs.Remove(d.tmp)))
	}
	name, err = d.publish()
	if err != nil {
		return "", fmt.Errorf("maildir: %w", err)
	}
	return name, nil
}

// delivery is one message on its way through tmp.
type delivery struct {
	fs    FS
	dir   string
	stamp stamp
	tmp   string // path of the file in tmp
	file  File
	lines lineCounter
}

// create makes the file in tmp under a name that nobody has.
func (d *delivery) create(ctx context.Context, count *atomic.Uint64) (err error) {
	for range tries {
		if err := ctx.Err(); err != nil {
			return err
		}
		d.stamp.at, d.stamp.count = time.Now(), count.Add(1)
		d.tmp = filepath.Join(d.dir, "tmp", d.stamp.temporary())
		d.file, err = d.fs.Create(d.tmp)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return err
}

// write fills the file, makes its content durable and closes it.
func (d *delivery) write(ctx context.Context, r io.Reader) error {
	err := d.copy(ctx, r)
	if err == nil {
		err = d.file.Sync()
	}
	if closed := d.file.Close(); err == nil {
		err = closed
	}
	return err
}

// copyBuffer is how much is read and written at a time.
const copyBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

func (d *delivery) copy(ctx context.Context, r io.Reader) error {
	buf := buffers.Get().(*[copyBuffer]byte)
	defer buffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := readFull(r, buf[:])
		d.lines.Write(buf[:n])
		if n > 0 {
			if _, err := d.file.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readFull fills buf from r. Unlike io.ReadFull it tells the end of r only by
// io.EOF, so that an io.ErrUnexpectedEOF is always r's own: a message cut short.
func readFull(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// publish moves the file into new and makes its entry there durable.
func (d *delivery) publish() (name string, err error) {
	inode, device, err := d.fs.Inode(d.tmp)
	if err != nil {
		return "", errors.Join(err, d.fs.Remove(d.tmp))
	}
	name = d.stamp.final(inode, device) + fmt.Sprintf(",S=%d", d.lines.size)
	if d.lines.plain() {
		name += fmt.Sprintf(",W=%d", d.lines.wire())
	}
	name = filepath.Join("new", name)
	path := filepath.Join(d.dir, name)
	if err := d.fs.Rename(d.tmp, path); err != nil {
		return "", errors.Join(err, d.fs.Remove(d.tmp))
	}
	if err := d.fs.SyncDir(filepath.Dir(path)); err != nil {
		return "", errors.Join(err, d.fs.Remove(path))
	}
	return name, nil
}
