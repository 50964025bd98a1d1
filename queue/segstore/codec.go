package segstore

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/internal/agenda"
)

var errCorrupt = errors.New("segstore: damaged record")

// encoder appends values to a record's meta. Numbers are varints, strings are
// preceded by their length.
type encoder struct{ b []byte }

func (e *encoder) uint(n uint64)      { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)        { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) string(s string)    { e.uint(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) bytes(p []byte)     { e.uint(uint64(len(p))); e.b = append(e.b, p...) }
func (e *encoder) time(t time.Time)   { e.int(agenda.Nanos(t)) }
func (e *encoder) path(p sqmail.Path) { e.string(p.Local); e.string(p.Domain) }

func (e *encoder) bool(v bool) {
	if v {
		e.uint(1)
	} else {
		e.uint(0)
	}
}

// bools appends values as bits, the first as the lowest.
func (e *encoder) bools(values ...bool) {
	bits := uint64(0)
	for i, v := range values {
		if v {
			bits |= 1 << i
		}
	}
	e.uint(bits)
}

func (e *encoder) reply(r sqmail.Reply) {
	set := r != (sqmail.Reply{})
	e.bool(set)
	if !set {
		return
	}
	e.int(int64(r.Code))
	for _, n := range r.Enhanced {
		e.int(int64(n))
	}
	e.string(r.Text)
}

// decoder takes values from a record's meta. After the first that is not
// there, all are zero and err is set. Lengths and counts are checked against
// what is left before anything is allocated.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) fail() { d.b, d.err = nil, errCorrupt }

func (d *decoder) take() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

// count reads the number of elements that follow, each of one octet at least.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) string() string    { return string(d.take()) }
func (d *decoder) bool() bool        { return d.uint() != 0 }
func (d *decoder) time() time.Time   { return agenda.Time(d.int()) }
func (d *decoder) path() sqmail.Path { return sqmail.Path{Local: d.string(), Domain: d.string()} }

func (d *decoder) bytes() []byte {
	if p := d.take(); len(p) > 0 {
		return append([]byte(nil), p...)
	}
	return nil
}

func (d *decoder) reply() (r sqmail.Reply) {
	if !d.bool() {
		return r
	}
	r.Code = int(d.int())
	for i := range r.Enhanced {
		r.Enhanced[i] = int(d.int())
	}
	r.Text = d.string()
	return r
}

// envelope appends all of an envelope but its Peer.
func (e *encoder) envelope(env *sqmail.Envelope) {
	e.path(env.ReversePath)
	e.int(env.Size)
	e.string(string(env.Body))
	e.bool(env.SMTPUTF8)
	e.bool(env.RequireTLS)
	e.string(string(env.Return))
	e.string(env.EnvelopeID)
	e.bytes(env.Header)
	e.uint(uint64(len(env.Recipients)))
	for i := range env.Recipients {
		r := &env.Recipients[i]
		e.path(r.Path)
		e.uint(uint64(r.Notify))
		e.string(r.Original)
	}
	e.uint(uint64(len(env.Verdicts)))
	for i := range env.Verdicts {
		e.verdict(&env.Verdicts[i])
	}
}

func (d *decoder) envelope() (env sqmail.Envelope) {
	env.ReversePath = d.path()
	env.Size = d.int()
	env.Body = sqmail.BodyKind(d.string())
	env.SMTPUTF8 = d.bool()
	env.RequireTLS = d.bool()
	env.Return = sqmail.Return(d.string())
	env.EnvelopeID = d.string()
	env.Header = d.bytes()
	for n := d.count(); n > 0 && d.err == nil; n-- {
		env.Recipients = append(env.Recipients, sqmail.Recipient{
			Path: d.path(), Notify: sqmail.Notify(d.uint()), Original: d.string()})
	}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		env.Verdicts = append(env.Verdicts, d.verdict())
	}
	return env
}

func (e *encoder) verdict(v *sqmail.Verdict) {
	e.string(v.Stage)
	e.string(v.Filter)
	e.uint(uint64(v.Action))
	e.reply(v.Reply)
	e.int(int64(v.Delay))
	e.string(v.Header)
	e.string(v.Rule)
	e.string(v.Input)
	e.string(v.File)
	e.int(int64(v.Line))
	e.int(int64(v.Took))
}

func (d *decoder) verdict() sqmail.Verdict {
	return sqmail.Verdict{
		Stage: d.string(), Filter: d.string(), Action: sqmail.Action(d.uint()), Reply: d.reply(),
		Delay: time.Duration(d.int()), Header: d.string(), Rule: d.string(), Input: d.string(),
		File: d.string(), Line: int(d.int()), Took: time.Duration(d.int()),
	}
}

// maxText is how much of an agent's report is kept.
const maxText = 64 << 10

func clip(s string) string { return s[:min(len(s), maxText)] }

func (e *encoder) attempt(a *queue.Attempt) {
	e.uint(uint64(a.Recipient))
	e.int(int64(a.Number))
	e.time(a.At)
	e.uint(uint64(a.Status))
	e.time(a.Due)
	o := &a.Outcome
	e.int(int64(o.Recipient))
	e.uint(uint64(o.Class))
	e.bools(o.InDoubt, o.Notifies)
	e.reply(sqmail.Reply{Code: o.Reply.Code, Enhanced: o.Reply.Enhanced, Text: clip(o.Reply.Text)})
	e.string(clip(o.Text))
	e.string(clip(o.Where))
}

func (d *decoder) attempt() queue.Attempt {
	a := queue.Attempt{Recipient: int(d.uint()), Number: int(d.int()), At: d.time(), Status: queue.Status(d.uint()), Due: d.time()}
	o := &a.Outcome
	o.Recipient, o.Class = int(d.int()), sqmail.Class(d.uint())
	flags := d.uint()
	o.InDoubt, o.Notifies = flags&1 != 0, flags&2 != 0
	o.Reply, o.Text, o.Where = d.reply(), d.string(), d.string()
	return a
}

func (e *encoder) journal(attempts []queue.Attempt) {
	e.uint(uint64(len(attempts)))
	for i := range attempts {
		e.attempt(&attempts[i])
	}
}

func (d *decoder) journal() (attempts []queue.Attempt) {
	for n := d.count(); n > 0 && d.err == nil; n-- {
		attempts = append(attempts, d.attempt())
	}
	return attempts
}

// message is the meta of a message record.
type message struct {
	arrived, due time.Time
	replaces     queue.ID
	token        [16]byte // with flagUnique
	file         bodyFile // with flagFile
	env          sqmail.Envelope
	journal      []queue.Attempt // with flagFull
}

// bodyFile is the file that holds a body, and with flagMeta the rest of the
// meta behind it.
type bodyFile struct {
	number  uint64
	size    int64 // of the body
	crc     uint32
	metaLen int64
	metaCRC uint32
}

// encodeMessage returns the meta of a message. With flagMeta in flags it comes
// in two parts: what stands in the record, and what stands in the file.
func encodeMessage(m *message, flags uint8) (meta, rest []byte) {
	e := encoder{make([]byte, 0, 512+len(m.env.Header)+150*len(m.env.Verdicts))} // enough for most
	if flags&flagMeta != 0 {
		e.tail(m, flags)
		rest, e.b = e.b, nil
		m.file.metaLen, m.file.metaCRC = int64(len(rest)), checksum(rest)
	}
	e.time(m.arrived)
	e.time(m.due)
	e.uint(uint64(m.replaces))
	if flags&flagUnique != 0 {
		e.b = append(e.b, m.token[:]...)
	}
	if flags&flagFile != 0 {
		e.uint(m.file.number)
		e.int(m.file.size)
		e.uint(uint64(m.file.crc))
		e.int(m.file.metaLen)
		e.uint(uint64(m.file.metaCRC))
	}
	if flags&flagMeta == 0 {
		e.tail(m, flags)
	}
	return e.b, rest
}

// tail appends what flagMeta moves to the file.
func (e *encoder) tail(m *message, flags uint8) {
	e.envelope(&m.env)
	if flags&flagFull != 0 {
		e.journal(m.journal)
	}
}

// head reads the meta of a message up to the envelope.
func (d *decoder) head(flags uint8) (m message) {
	m.arrived, m.due, m.replaces = d.time(), d.time(), queue.ID(d.uint())
	if flags&flagUnique != 0 && len(d.b) >= len(m.token) {
		d.b = d.b[copy(m.token[:], d.b):]
	}
	if flags&flagFile != 0 {
		m.file = bodyFile{number: d.uint(), size: d.int(), crc: uint32(d.uint()), metaLen: d.int(), metaCRC: uint32(d.uint())}
	}
	return m
}

// state is the meta of a state record.
type state struct {
	due      time.Time
	retry    time.Time // with flagRetry
	attempts []queue.Attempt
}

func encodeState(st *state, flags uint8) []byte {
	e := encoder{make([]byte, 0, 32+160*len(st.attempts))}
	e.time(st.due)
	if flags&flagRetry != 0 {
		e.time(st.retry)
	}
	e.journal(st.attempts)
	return e.b
}

func decodeState(meta []byte, flags uint8) (st state, err error) {
	d := decoder{b: meta}
	st.due = d.time()
	if flags&flagRetry != 0 {
		st.retry = d.time()
	}
	st.attempts = d.journal()
	return st, d.err
}
