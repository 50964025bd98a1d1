package qmailspool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Message is a message in qmail's queue.
type Message struct {
	// ID is its number.
	ID uint64

	// Preprocessed says that qmail-send has sorted its recipients (state S5).
	// Else they are as they were given (S4).
	Preprocessed bool

	// Born is when qmail-send took it: its age counts from then.
	Born time.Time

	// Sender is the envelope's sender. "" is the null path; one that ends in
	// "-@[]" is to be expanded for each recipient.
	Sender string

	// Recipients in the order of the files, local before remote; those that
	// stand in the bounce alone come last.
	Recipients []Recipient

	// Stray is what the bounce file says of nobody in particular: it should
	// be "".
	Stray string

	// Size is the length of the message in octets.
	Size int64

	file string
	path string // of the mess file, below the queue directory
}

// Recipient is a recipient of a message.
type Recipient struct {
	// Address is what the recipient was before qmail-send rewrote it: without
	// the prefix of a virtual domain.
	Address string

	// Channel is "local" or "remote"; "" if it has not been told, or is not
	// known any more.
	Channel string

	Status Status

	// Due is when a Pending recipient is to be tried next.
	Due time.Time

	// Report is why it Failed: lines that end in LF.
	Report string
}

// Open opens the message itself, as qmail-queue has written it.
func (m *Message) Open() (io.ReadCloser, error) {
	f, err := openRegular(m.file)
	if err != nil {
		return nil, &EntryError{ID: m.ID, File: m.path, Err: err}
	}
	return f, nil
}

// files are those of one message, by kind.
type files struct {
	s    *Spool
	id   uint64
	path [kinds]string // "": there is none
}

var (
	errTwice     = errors.New("is there twice")
	errNoMessage = errors.New("the message itself is missing: there is none of this number in mess")
	errOrphan    = errors.New("the message has neither todo nor info, so qmail-send does not know it")
)

// message reads one message. It returns nil if it was never accepted, or is
// finished.
func (s *Spool) message(refs []ref) (*Message, error) {
	f := &files{s: s, id: refs[0].id}
	for _, r := range refs {
		if f.path[r.kind] != "" {
			return nil, f.fault(r.kind, errTwice)
		}
		f.path[r.kind] = r.path()
	}
	if f.has(mess) && !f.has(todo) && !f.has(info) {
		return nil, f.orphan()
	}
	if !f.has(mess) {
		return nil, f.without()
	}
	m := &Message{ID: f.id, path: f.path[mess], file: filepath.Join(s.dir, f.path[mess])}
	if err := f.read(m); err != nil {
		return nil, err
	}
	return m, nil
}

func (f *files) has(k kind) bool { return f.path[k] != "" }

func (f *files) fault(k kind, err error) error {
	return &EntryError{ID: f.id, File: f.path[k], Err: err}
}

// orphan looks at a message that was not accepted, or whose files are gone.
func (f *files) orphan() error {
	for _, k := range []kind{local, remote, bounce} {
		if f.has(k) {
			return f.fault(k, errOrphan)
		}
	}
	return nil // S2 or S3
}

// without looks at files of which the message is missing.
func (f *files) without() error {
	for _, k := range []kind{todo, info, local, remote, bounce} {
		if f.has(k) {
			return f.fault(k, errNoMessage)
		}
	}
	return nil
}

// read reads what the files say.
func (f *files) read(m *Message) error {
	body, err := openRegular(m.file)
	if err != nil {
		return f.fault(mess, err)
	}
	defer body.Close()
	st, err := body.Stat()
	if err != nil {
		return f.fault(mess, err)
	}
	m.Size = st.Size()
	if f.has(todo) { // whatever else there is: qmail-send begins afresh
		return f.readTodo(m)
	}
	return f.readSorted(m)
}

func (f *files) readTodo(m *Message) error {
	b, born, err := f.load(todo)
	if err != nil {
		return err
	}
	sender, recipients, err := parseTodo(b)
	if err != nil {
		return f.fault(todo, err)
	}
	m.Sender, m.Born = sender, born
	for _, address := range recipients {
		m.Recipients = append(m.Recipients, Recipient{Address: address, Due: born})
	}
	return nil
}

func (f *files) readSorted(m *Message) error {
	b, born, err := f.load(info)
	if err != nil {
		return err
	}
	m.Preprocessed, m.Born = true, born
	if m.Sender, err = parseInfo(b); err != nil {
		return f.fault(info, err)
	}
	for _, k := range []kind{local, remote} {
		if err := f.readChannel(m, k); err != nil {
			return err
		}
	}
	if f.has(bounce) {
		b, _, err := f.load(bounce)
		if err != nil {
			return err
		}
		var found []paragraph
		found, m.Stray = parseBounce(b)
		m.fail(found, f.s.rewriter)
	}
	return f.original(m)
}

func (f *files) readChannel(m *Message, k kind) error {
	if !f.has(k) {
		return nil // all are done there
	}
	b, due, err := f.load(k)
	if err != nil {
		return err
	}
	recipients, err := parseChannel(b)
	if err != nil {
		return f.fault(k, err)
	}
	for i := range recipients {
		recipients[i].Channel = kindNames[k]
		if recipients[i].Status == Pending {
			recipients[i].Due = due
		}
	}
	m.Recipients = append(m.Recipients, recipients...)
	return nil
}

// original undoes what qmail-send made of the local recipients. It fails for
// one that is still to be tried and cannot be explained: the router would send
// it astray.
func (f *files) original(m *Message) error {
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if r.Channel != kindNames[local] {
			continue
		}
		address, err := f.s.rewriter.undo(r.Address)
		switch {
		case err == nil:
			r.Address = address
		case r.Status == Pending:
			return f.fault(local, err)
		}
	}
	return nil
}

// load returns the content of a file, and when it was last changed: in info
// the message's time of birth, in local and remote when it is due.
func (f *files) load(k kind) ([]byte, time.Time, error) {
	file, err := openRegular(filepath.Join(f.s.dir, f.path[k]))
	if err != nil {
		return nil, time.Time{}, f.fault(k, err)
	}
	defer file.Close()
	b, t, err := readAll(file)
	if err != nil {
		return nil, t, f.fault(k, err)
	}
	return b, t, nil
}

func readAll(file *os.File) ([]byte, time.Time, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	b, err := io.ReadAll(io.LimitReader(file, maxRecords+1))
	if err == nil && len(b) > maxRecords {
		err = errTooLarge
	}
	return b, st.ModTime(), err
}

// fail gives each report of the bounce to the recipient that it is about: to
// one that is done, or else to one that qmail-send did not come to mark any
// more. A recipient whose file is gone already is known by its report alone.
func (m *Message) fail(found []paragraph, c *rewriter) {
	names := make(map[string][]int) // the recipients by what a bounce calls them, those that are done first
	for _, status := range []Status{Delivered, Pending} {
		for i, r := range m.Recipients {
			if r.Status == status {
				name := c.display(r.Address)
				names[name] = append(names[name], i)
			}
		}
	}
	for _, p := range found {
		if same := names[p.address]; len(same) > 0 {
			r := &m.Recipients[same[0]]
			r.Status, r.Report, r.Due = Failed, p.report, time.Time{}
			names[p.address] = same[1:]
			continue
		}
		m.Recipients = append(m.Recipients, Recipient{Address: p.address, Status: Failed, Report: p.report})
	}
}
