package segstore

import (
	"context"
	"errors"
	"hash/crc32"
	"path/filepath"
	"sync"
	"time"

	"github.com/sqmail/sqmail/internal/spoolfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/journal"
)

// draft is a message that is being written. Its body is in memory, behind
// room for the header of its record, until it is too large or memory is short;
// then it is in a file.
type draft struct {
	s    *Store
	stop func() bool // forgets the context

	mu   sync.Mutex // the context may end during a call
	err  error      // why the draft is finished
	buf  []byte
	mem  *buffer // buf is in it, if that fits; nil: none
	held int64   // octets of the memory budget

	f     spoolfs.File
	file  bodyFile
	since int64 // failed syncs of the directory when the file was made
}

var errFinished = errors.New("segstore: draft is finished")

// The sizes of a draft's buffer: at first, and as write buffer of a file.
const (
	firstBuffer = 4 << 10
	fileBuffer  = 64 << 10
)

// Begin implements [queue.Store].
func (s *Store) Begin(ctx context.Context) (queue.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.index.Lock()
	err := s.index.Err()
	s.index.Unlock()
	if err != nil {
		return nil, err
	}
	d := &draft{s: s}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stop = context.AfterFunc(ctx, func() { d.finish(ctx.Err()) })
	return d, nil
}

func (d *draft) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	if d.f == nil && d.fits(len(p)) {
		d.buf = append(d.buf, p...)
		return len(p), nil
	}
	if err := d.spill(p); err != nil {
		return 0, storageError("write", err)
	}
	return len(p), nil
}

// fits makes room in the buffer, if that is allowed.
func (d *draft) fits(n int) bool {
	need, have := max(len(d.buf)-headerLen, 0)+n, 0
	if int64(need) > d.s.opt.bodyMax {
		return false
	}
	if d.mem != nil {
		have = d.mem.room
	}
	if d.mem != nil && need <= have {
		return true
	}
	mem := borrow(need)
	if !d.charge(int64(mem.room - have)) {
		mem.release()
		return false
	}
	d.buf = append(mem.mem[:headerLen], d.buf[min(headerLen, len(d.buf)):]...)
	d.mem.release()
	d.mem = mem
	return true
}

func (d *draft) charge(n int64) bool {
	if d.s.memory.Add(n) > d.s.opt.Memory {
		d.s.memory.Add(-n)
		return false
	}
	d.held += n
	return true
}

// spill writes to the file, which it makes if need be.
func (d *draft) spill(p []byte) error {
	if d.f == nil {
		number := d.s.nextNumber.Add(1) - 1
		d.since = d.s.badSyncs.Load()
		f, err := d.s.fs.Create(d.s.bodyPath(number), 0o600)
		if err != nil {
			return err
		}
		d.f, d.file.number = f, number
		if len(d.buf) > headerLen {
			d.buf = d.buf[headerLen:]
		} else {
			d.buf = nil
		}
		if err := d.flush(); err != nil {
			return err
		}
		d.shrink()
	}
	if len(d.buf)+len(p) > cap(d.buf) {
		if err := d.flush(); err != nil {
			return err
		}
		if len(p) >= cap(d.buf) {
			return d.put(p)
		}
	}
	d.buf = append(d.buf, p...)
	return nil
}

// shrink replaces the buffer by a small one.
func (d *draft) shrink() {
	d.s.memory.Add(-d.held)
	d.held = 0
	d.mem.release()
	if d.charge(fileBuffer) {
		d.mem = borrow(fileBuffer)
	} else {
		d.mem = borrow(firstBuffer)
	}
	d.buf = d.mem.mem[:0:d.mem.room]
}

func (d *draft) flush() error {
	err := d.put(d.buf)
	d.buf = d.buf[:0]
	return err
}

func (d *draft) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if _, err := d.f.WriteAt(p, d.file.size); err != nil {
		return err
	}
	d.file.size += int64(len(p))
	d.file.crc = crc32.Update(d.file.crc, castagnoli, p)
	return nil
}

func (d *draft) Abort() { d.finish(errFinished) }

func (d *draft) finish(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end(err)
}

// end drops what the draft holds; d.mu is held.
func (d *draft) end(err error) {
	if d.err != nil {
		return
	}
	d.err = err
	d.stop()
	d.s.memory.Add(-d.held)
	d.mem.release()
	d.buf, d.mem = nil, nil
	if d.f != nil {
		d.f.Close()
		d.s.removeBody(d.file)
	}
}

func (d *draft) Commit(ctx context.Context, sub queue.Submission) (queue.ID, error) {
	return d.commit(ctx, sub, nil)
}

// commit commits the draft; token, if not nil, is that of the drop file.
func (d *draft) commit(ctx context.Context, sub queue.Submission, token *[16]byte) (queue.ID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	defer d.end(errFinished)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if sub.Envelope == nil || len(sub.Envelope.Recipients) == 0 {
		return 0, errNoRecipient
	}
	if err := journal.Check(sub.Journal, len(sub.Envelope.Recipients)); err != nil {
		return 0, err
	}
	now := time.Now()
	if sub.Arrived.IsZero() {
		sub.Arrived = now
	}
	if sub.Due.IsZero() {
		sub.Due = now
	}
	m := &message{arrived: sub.Arrived, due: sub.Due, replaces: sub.Replaces, env: *sub.Envelope, journal: sub.Journal}
	var flags uint8
	if token != nil {
		flags |= flagUnique
		m.token = *token
	}
	if sub.Held {
		flags |= flagHeld
	}
	if len(sub.Journal) > 0 {
		flags |= flagFull | flagTried
	}
	if sub.Replaces == 0 {
		return d.write(m, flags, 0)
	}
	if err := d.s.known(ctx, sub.Replaces); err != nil {
		return 0, err
	}
	if err := d.s.own(ctx, sub.Replaces); err != nil {
		return 0, err
	}
	defer d.s.disown(sub.Replaces)
	d.s.index.Lock()
	slot, ok := d.s.index.Find(sub.Replaces)
	if !ok {
		d.s.index.Unlock()
		return 0, queue.ErrNotFound
	}
	target := d.s.index.Item(slot).Data.msg.seq
	d.s.index.Unlock()
	return d.write(m, flags, target)
}

// write makes the message durable. target is the segment that has the message
// that it replaces.
func (d *draft) write(m *message, flags uint8, target uint32) (queue.ID, error) {
	if d.f == nil && d.buf == nil {
		d.buf = make([]byte, headerLen)
	}
	record, _ := encodeMessage(m, flags)
	if len(record) > d.s.maxRecord() && d.f == nil { // so large an envelope goes to a file
		if err := d.spill(nil); err != nil {
			return 0, storageError("commit", err)
		}
	}
	if d.f != nil {
		flags |= flagFile
		if len(record) > d.s.maxRecord() {
			flags |= flagMeta
		}
		if err := d.flush(); err != nil {
			return 0, storageError("commit", err)
		}
		m.file = d.file
		var rest []byte
		record, rest = encodeMessage(m, flags)
		if err := d.syncFile(rest); err != nil {
			return 0, storageError("commit", err)
		}
		d.buf = make([]byte, headerLen)
	}
	return d.submit(m, header{kind: kindMessage, flags: flags, arg: target}, record)
}

// syncFile makes the body file durable, with the rest of the meta behind the
// body, and its name.
func (d *draft) syncFile(rest []byte) error {
	if len(rest) > 0 {
		if _, err := d.f.WriteAt(rest, d.file.size); err != nil {
			return err
		}
	}
	if err := d.f.Datasync(); err != nil {
		return err
	}
	return d.s.syncBodies(d.since)
}

// submit appends the message's record: the instant of acceptance.
func (d *draft) submit(m *message, h header, record []byte) (queue.ID, error) {
	s := d.s
	buf := seal(d.buf, &h, record)
	e := &entry{header: h, buf: buf, fresh: true}
	var replaced bodyFile
	e.apply = func(p place) {
		s.addMessage(e.header.id, p, uint32(len(buf)), m, h.flags)
		if h.flags&flagUnique != 0 {
			s.tokens[m.token] = true
		}
		if m.replaces != 0 {
			s.addTomb(s.segments[p.seq], h.arg)
			if slot, ok := s.index.Find(m.replaces); ok {
				replaced = s.forget(slot)
			}
		}
	}
	if err := s.front.commit(e); err != nil {
		return 0, err
	}
	if d.f != nil {
		d.f.Close()
		d.f = nil // it is the message's from now on
	}
	s.removeBody(replaced)
	return e.header.id, nil
}

var errDirSync = errors.New("segstore: the directory of bodies could not be synced")

// syncBodies makes the names of body files durable that were made when so many
// syncs had failed. If one has failed since, maybe another's, the name may be
// lost.
func (s *Store) syncBodies(since int64) error {
	err := s.fs.SyncDir(filepath.Join(s.dir, "bodies"))
	if err != nil {
		s.badSyncs.Add(1)
	} else if s.badSyncs.Load() != since {
		err = errDirSync
	}
	return err
}
