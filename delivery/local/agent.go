package local

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/maildir"
)

// Agent delivers to mailboxes of this host. It fits queue.Deliverer. The zero
// Agent has no users: it rejects every recipient. The fields must not change
// after the first Deliver.
type Agent struct {
	// Users knows who controls an address. Nil: nobody does.
	Users Users

	// Alias is the home of the alias user, an absolute path: its file
	// .qmail-local controls the address local that no user has. "": such
	// addresses are rejected.
	Alias string

	// Default are the instructions for users without a .qmail file or with
	// an empty one, in the syntax of such a file. "" means "./Maildir/".
	Default string

	// Receiver takes forwards. Nil: mail that is to be forwarded is deferred.
	Receiver sqmail.Receiver

	// Programs runs programs. Nil: mail for a program is deferred.
	Programs *Programs

	// Mask holds the mode bits that neither a home directory nor a .qmail
	// file may have. 0 means 0002, write permission for the world; 0022 also
	// forbids it to the group.
	Mask fs.FileMode

	// LockTimeout is how long a delivery waits for another to leave an mbox.
	// 0 means 30 seconds.
	LockTimeout time.Duration

	// Host is this host's name in the names of maildir files. "" means
	// os.Hostname.
	Host string

	// Log gets an event for each recipient. Nil discards them.
	Log *slog.Logger

	once     sync.Once
	maildirs *maildir.Writer
	progress progress
}

func (a *Agent) mask() fs.FileMode { return cmp.Or(a.Mask, 0o002) }

func (a *Agent) log() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

// Deliver carries out the instructions of each recipient of m in turn, and
// returns its outcome: Accepted when all of them are done and durable;
// Rejection when there is no mailbox, on a loop, or by the word of a program or
// of the Receiver; else Deferral. Its error is ctx's.
func (a *Agent) Deliver(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	a.once.Do(func() { a.maildirs = &maildir.Writer{Host: a.Host} })
	var outcomes []sqmail.Outcome
	for i, to := range m.Envelope.Recipients {
		if err := ctx.Err(); err != nil {
			return outcomes, err
		}
		o := a.deliverTo(ctx, m, to)
		o.Recipient = i
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// deliverTo attempts one recipient.
func (a *Agent) deliverTo(ctx context.Context, m *sqmail.Message, to sqmail.Recipient) sqmail.Outcome {
	j := &job{agent: a, message: m, to: to, now: time.Now()}
	defer j.close()
	err := j.run(ctx)
	o := sqmail.Outcome{Class: sqmail.Accepted, Text: j.report(err), Where: j.where}
	log := a.log().With("message", m.ID, "to", to.Path.String(), "attempt", m.Attempt)
	if j.plan != nil {
		log = log.With("user", j.plan.User.Name, "home", j.plan.User.Home, "file", j.plan.File)
	}
	if err == nil {
		log.InfoContext(ctx, "local delivery", "class", o.Class.String(), "did", strings.TrimSpace(j.done.String()))
		return o
	}
	o.Class, o.Where = sqmail.Deferral, ""
	if f, ok := errors.AsType[*failure](err); ok {
		o.Class, o.Reply = f.class, f.reply()
	}
	log.WarnContext(ctx, "local delivery", "class", o.Class.String(), "line", j.line, "err", err)
	return o
}
