package queue

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/sqmail/sqmail"
)

// Bounces says how the reports look that the queue sends, and where double
// bounces go. The zero value is usable, but Host should be set.
//
// A message is reported when all its recipients are settled and some of them
// failed. What NOTIFY, RET, ENVID and ORCPT say is kept to (RFC 3461): who
// wants to know of deliveries hears of them when the attempt has ended that
// made them.
type Bounces struct {
	// Host is the name by which this host signs its reports: control/bouncehost
	// of qmail. "" means the word bouncehost.
	Host string

	// From is the local part of their author's address, without quotes. ""
	// means MAILER-DAEMON.
	From string

	// Format is what reports of failure look like. Reports of delay or of
	// success are always in the format DSN.
	Format Format

	// MaxBytes is how much of a message a report returns, in octets; 0 means
	// all of it.
	MaxBytes int64

	// DoubleTo gets the bounces that bounce. The zero Path means postmaster at
	// Host. DropDouble drops them instead.
	DoubleTo   sqmail.Path
	DropDouble bool

	// Delay is how old a message is when its sender hears that recipients are
	// still waiting, if it asked for that with NOTIFY=DELAY. 0 means four
	// hours; a negative duration means never.
	Delay time.Duration

	// Receiver gets the reports, instead of the Queue's Store. If the process
	// dies between its success and the removal of the message there is a
	// second report; in the Store that cannot happen. It has two minutes; what
	// it defers is tried again, and what it rejects goes to the Store.
	Receiver sqmail.Receiver
}

// SetBounces changes how reports look and where they go, from the next one on.
func (q *Queue) SetBounces(b Bounces) {
	q.init()
	q.bounces.Store(&b)
}

// Format is the format of reports of failure.
type Format uint8

// The formats.
const (
	// QSBMF is qmail's own: plain text that people and programs read.
	QSBMF Format = iota

	// DSN is the multipart/report of RFC 3464, or that of RFC 6533 for a
	// message with addresses in UTF-8.
	DSN
)

func (b *Bounces) host() string { return orDefault(b.Host, "bouncehost") }

func (b *Bounces) from() string {
	return headerPath(sqmail.PathOf(orDefault(b.From, "MAILER-DAEMON") + "@" + b.host()))
}

func (b *Bounces) doubleTo() sqmail.Path {
	return orDefault(b.DoubleTo, sqmail.Path{Local: "postmaster", Domain: b.host()})
}

// doubleSender is the reverse-path of a double bounce, "#@[]". What bounces
// back to it is dropped.
func doubleSender() sqmail.Path { return sqmail.PathOf("#@[]") }

// report is a message to the sender of another one.
type report struct {
	bounces *Bounces
	kind    reportKind
	format  Format
	about   *Entry
	from    sqmail.Path // reverse-path
	to      sqmail.Path
	sender  sqmail.Path // whom the reported message is from
	lines   []reportLine
	content io.ReaderAt
	routing func(i int) sqmail.Routing
	expiry  time.Time
	now     time.Time
}

type reportKind uint8

const (
	failureReport reportKind = iota
	doubleReport             // a bounce has bounced
	successReport
	delayReport
)

var reportKinds = [...]string{"bounce", "double bounce", "success", "delay"}

// reportLine is what is reported of one recipient.
type reportLine struct {
	recipient int
	status    Status
	outcome   *sqmail.Outcome
	at        time.Time
	expired   bool
}

// report returns what is to be reported of a message whose recipients are all
// settled, or nil.
func (q *Queue) report(j *job) *report {
	r := q.newReport(j)
	failed := 0
	for i := range j.recipients {
		switch j.recipients[i].Status {
		case Failed:
			if wantsFailure(j.entry.Envelope.Recipients[i].Notify) {
				failed++
				r.add(j, i)
			}
		case Delivered:
			if j.recipients[i].success == successOwed {
				r.add(j, i)
			}
		}
	}
	sender := j.entry.Envelope.ReversePath
	switch {
	case len(r.lines) == 0:
		return nil
	case sender == doubleSender():
		q.logDiscard("triple bounce: discarding", j.entry)
		return nil
	case sender.IsNull() && r.bounces.DropDouble:
		q.logDiscard("double bounce: discarding", j.entry)
		return nil
	case sender.IsNull():
		r.kind, r.from, r.to = doubleReport, doubleSender(), r.bounces.doubleTo()
	case failed == 0:
		r.kind = successReport
	}
	if failed < len(r.lines) {
		r.format = DSN
	}
	return r
}

// wantsFailure says whether a failure is reported (RFC 3461, 4.1).
func wantsFailure(n sqmail.Notify) bool { return n == 0 || n&sqmail.NotifyFailure != 0 }

func (q *Queue) newReport(j *job) *report {
	b := q.bounces.Load()
	r := &report{
		bounces: b,
		format:  b.Format,
		about:   j.entry,
		content: j.lease.Content(),
		expiry:  j.expiry,
		now:     time.Now(),
		routing: func(i int) sqmail.Routing { return q.routing(&j.entry.Envelope, i) },
	}
	r.sender, _ = j.entry.Envelope.ReversePath.VERPBase()
	r.to = r.sender
	return r
}

func (r *report) add(j *job, i int) {
	rc := &j.recipients[i]
	expired := rc.Status == Failed && rc.Last.Outcome.Class == sqmail.Deferral
	r.lines = append(r.lines, reportLine{i, rc.Status, &rc.Last.Outcome, rc.told, expired})
}

// routing returns how a recipient is reached and displayed now.
func (q *Queue) routing(env *sqmail.Envelope, i int) sqmail.Routing {
	to := env.Recipients[i].Path
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	routing, err := q.route(ctx, env, to)
	if err != nil {
		return sqmail.Routing{Deliver: to, Display: to}
	}
	return routing
}

// envelope is the report's own.
func (r *report) envelope() *sqmail.Envelope {
	old := &r.about.Envelope
	received := "Received: (qmail " + r.about.ID.String() + " invoked for bounce); " + mailDate(r.now) + "\n"
	body := old.Body
	if body == sqmail.Body7Bit && r.eightBit() {
		body = sqmail.Body8Bit
	}
	return &sqmail.Envelope{
		ReversePath: r.from,
		Recipients:  []sqmail.Recipient{{Path: r.to}},
		Body:        body,
		SMTPUTF8:    old.SMTPUTF8 || r.to.NeedsUTF8(),
		RequireTLS:  old.RequireTLS, // RFC 8689, 5
		Header:      []byte(received),
	}
}

// mailDate is a date as qmail writes it.
func mailDate(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05 -0000") }

// inject sends the final report of a message. Where it goes to the Store it
// takes the message's place in one step: then the message is removed.
func (q *Queue) inject(r *report) (removed bool, err error) {
	id, err := q.pass(r)
	if err == errToStore {
		var n ID
		n, err = q.commitReport(r, r.about.ID)
		if errors.Is(err, ErrNotFound) {
			return true, nil // an administrator was faster
		}
		id, removed = n.String(), true
	}
	if err == nil {
		q.logBounce(r, id)
	}
	return removed, err
}

// injectReport sends a report of delay or success of some recipients.
func (q *Queue) injectReport(j *job, kind reportKind, recipients []int) error {
	if j.extend(time.Now()); j.lost {
		return ErrLeaseLost
	}
	r := q.newReport(j)
	r.kind, r.format = kind, DSN
	for _, i := range recipients {
		r.add(j, i)
	}
	id, err := q.pass(r)
	if err == errToStore {
		var n ID
		n, err = q.commitReport(r, 0)
		id = n.String()
	}
	if err == nil {
		q.logBounce(r, id)
	}
	return err
}

var errToStore = errors.New("queue: the report goes to the store")

// pass gives a report to the Receiver; errToStore if there is none, or it
// does not want it.
func (q *Queue) pass(r *report) (id string, err error) {
	if r.bounces.Receiver == nil {
		return "", errToStore
	}
	ctx, cancel := context.WithTimeout(q.life.attempts, reportTime)
	defer cancel()
	defer q.recoverTo(&err, "receiver of bounces")
	receipt, err := r.bounces.Receiver.Receive(ctx, r.envelope(), r.reader())
	if sqmail.ClassOf(err) == sqmail.Rejection {
		return "", errToStore
	}
	return receipt.ID, err
}

func (q *Queue) commitReport(r *report, replaces ID) (ID, error) {
	ctx := context.Background()
	draft, err := q.Store.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer draft.Abort()
	if _, err := io.Copy(draft, r.reader()); err != nil {
		return 0, err
	}
	env := r.envelope()
	id, err := draft.Commit(ctx, Submission{Envelope: env, Replaces: replaces})
	if err == nil {
		q.logNew(id, env, 0)
	}
	return id, err
}

func (r *report) reader() io.Reader {
	if r.format == DSN {
		return r.dsn()
	}
	return r.qsbmf()
}
