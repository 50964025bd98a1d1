package milter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-milter"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/internal/field"
)

// stage is how much of a session a milter has been told.
type stage int

const (
	nothing stage = iota
	connected
	greeted
	mailed // and of the recipients so far
)

// link is a session's connection to the milter. It belongs to the session's
// goroutine.
type link struct {
	f *Filter
	s *filter.Session

	conn *conn // nil: none yet
	ms   *milter.ClientSession
	told stage

	// forget keeps the end of the context from closing conn.
	forget func() bool

	inMessage bool           // the milter is in a message
	accepted  bool           // the whole session
	refused   sqmail.Verdict // of the session
	refusedAt stage
	pass      bool  // the present message
	failed    error // of the present message
}

// link returns that of a session. It is forgotten, and its connection closed,
// when ctx ends.
func (f *Filter) link(ctx context.Context, s *filter.Session) *link {
	if l, ok := f.links.Load(s); ok {
		return l.(*link)
	}
	l := &link{f: f, s: s}
	f.links.Store(s, l)
	context.AfterFunc(ctx, func() { f.links.CompareAndDelete(s, l) })
	return l
}

// What we let milters do, and leave out: bits that all versions of the protocol
// have, as go-milter comes to terms with old ones for no others.
const (
	offered = milter.OptAddHeader | milter.OptChangeHeader
	ignored = milter.OptChangeBody | milter.OptAddRcpt | milter.OptRemoveRcpt
	spared  = milter.OptNoConnect | milter.OptNoHelo | milter.OptNoMailFrom | milter.OptNoRcptTo |
		milter.OptNoBody | milter.OptNoHeaders | milter.OptNoEOH
)

// open connects, if there is no connection or it is lost.
func (l *link) open(ctx context.Context) error {
	if l.conn != nil && !l.conn.lost() {
		return nil
	}
	c, err := l.f.dial(ctx)
	if err != nil {
		return err
	}
	opts := milter.ClientOptions{Dialer: c, ActionMask: offered, ProtocolMask: spared}
	if l.f.IgnoreChanges {
		opts.ActionMask |= ignored
	}
	err = c.do(ctx, l.f.timeout(), func() (err error) {
		l.ms, err = milter.NewClientWithOptions("", "", opts).Session()
		if err == nil && l.ms.ActionOpts&^opts.ActionMask != 0 {
			err = fmt.Errorf("milter: it wants actions %#x, and can have %#x", uint32(l.ms.ActionOpts), uint32(opts.ActionMask))
		}
		return err
	})
	if err != nil {
		return err
	}
	if l.forget != nil {
		l.forget()
	}
	l.forget = context.AfterFunc(ctx, c.quit)
	l.conn, l.told, l.inMessage = c, nothing, false
	l.refused, l.refusedAt = sqmail.Verdict{}, nothing
	return nil
}

// reach tells the milter what it has not been told yet, up to a stage. It ends
// early if the milter refuses, or accepts.
func (l *link) reach(ctx context.Context, to stage) (v sqmail.Verdict, err error) {
	if l.accepted {
		return v, nil
	}
	if err := l.open(ctx); err != nil {
		return v, err
	}
	if l.refusedAt != nothing && min(l.told, to) >= l.refusedAt {
		return l.refused, nil
	}
	for l.told < to && !l.accepted && !l.pass {
		switch l.told {
		case nothing:
			v, err = l.connect(ctx)
		case connected:
			v, err = l.hello(ctx)
		case greeted:
			v, err = l.mail(ctx)
		}
		if err != nil {
			return v, err
		}
		l.told++
		if v.Action >= sqmail.ActionDefer {
			if l.told < mailed {
				l.refused, l.refusedAt = v, l.told
			}
			return v, nil
		}
	}
	return v, nil
}

// command has a command done that the milter answers with an action.
func (l *link) command(ctx context.Context, f func() (*milter.Action, error)) (act *milter.Action, err error) {
	err = l.conn.do(ctx, l.f.timeout(), func() (err error) {
		act, err = f()
		return err
	})
	return act, err
}

// connect tells of the connection.
func (l *link) connect(ctx context.Context) (sqmail.Verdict, error) {
	peer := l.s.Peer
	ip := peer.Remote.Addr()
	family, address := milter.FamilyUnknown, ""
	if ip.IsValid() {
		family, address = milter.FamilyInet6, ip.WithZone("").String()
		if ip.Is4() {
			family = milter.FamilyInet
		}
	}
	name := peer.Name
	if name == "" {
		name = "[" + address + "]"
	}
	act, err := l.command(ctx, func() (*milter.Action, error) {
		err := l.ms.Macros(milter.CodeConn, macros(
			"j", l.f.HostName, "v", "sqmail", "{daemon_name}", peer.Listener, "{client_addr}", address, "{client_name}", peer.Name)...)
		if err != nil {
			return nil, err
		}
		return l.ms.Conn(cString(name), family, peer.Remote.Port(), address)
	})
	if err != nil {
		return sqmail.Verdict{}, err
	}
	v, err := l.session(act)
	if v.Reply == rejected {
		v.Reply.Code = 554 // a greeting cannot be 550 (RFC 5321, 4.3.2)
	}
	return v, err
}

// hello tells the hello name, if there is one.
func (l *link) hello(ctx context.Context) (sqmail.Verdict, error) {
	if err := l.abort(ctx); err != nil || l.s.Peer.Hello == "" {
		return sqmail.Verdict{}, err
	}
	act, err := l.command(ctx, func() (*milter.Action, error) {
		var version, cipher string
		if t := l.s.Peer.TLS; t != nil {
			version, cipher = strings.Replace(tls.VersionName(t.Version), "TLS ", "TLSv", 1), tls.CipherSuiteName(t.CipherSuite)
		}
		if err := l.ms.Macros(milter.CodeHelo, macros("{tls_version}", version, "{cipher}", cipher)...); err != nil {
			return nil, err
		}
		return l.ms.Helo(cString(l.s.Peer.Hello))
	})
	if err != nil {
		return sqmail.Verdict{}, err
	}
	return l.session(act)
}

// session is the verdict on an answer to what concerns the session.
func (l *link) session(act *milter.Action) (sqmail.Verdict, error) {
	if act.Code == milter.ActAccept {
		l.accepted = true
	}
	return verdict(act)
}

// abort tells the milter that a message has come to nothing.
func (l *link) abort(ctx context.Context) error {
	if !l.inMessage {
		return nil
	}
	l.inMessage = false
	return l.conn.do(ctx, l.f.timeout(), l.ms.Abort)
}

// mail tells of the reverse-path, and of the recipients that there are.
func (l *link) mail(ctx context.Context) (sqmail.Verdict, error) {
	if err := l.abort(ctx); err != nil {
		return sqmail.Verdict{}, err
	}
	env, peer := l.envelope(), l.s.Peer
	l.inMessage = true
	act, err := l.command(ctx, func() (*milter.Action, error) {
		set := macros("i", peer.Session, "{mail_addr}", env.ReversePath.String())
		if peer.User != "" {
			set = append(set, macros("{auth_authen}", peer.User, "{auth_type}", peer.Mechanism)...)
		}
		err := l.ms.Macros(milter.CodeMail, set...)
		if err != nil {
			return nil, err
		}
		return l.ms.Mail(cString(env.ReversePath.String()), parameters(env))
	})
	if err != nil {
		return sqmail.Verdict{}, err
	}
	v, err := l.message(act)
	for i := range env.Recipients {
		if err != nil || v.Action >= sqmail.ActionDefer || l.pass {
			break
		}
		v, err = l.recipient(ctx, &env.Recipients[i])
	}
	return v, err
}

// parameters returns those of MAIL that milters know what to do with.
func parameters(env *sqmail.Envelope) (params []string) {
	if env.Size > 0 {
		params = append(params, "SIZE="+strconv.FormatInt(env.Size, 10))
	}
	if env.Body != "" {
		params = append(params, "BODY="+cString(string(env.Body)))
	}
	if env.SMTPUTF8 {
		params = append(params, "SMTPUTF8")
	}
	return params
}

func (l *link) envelope() *sqmail.Envelope {
	if l.s.Envelope == nil {
		return new(sqmail.Envelope)
	}
	return l.s.Envelope
}

// recipient tells of a recipient.
func (l *link) recipient(ctx context.Context, to *sqmail.Recipient) (sqmail.Verdict, error) {
	path := cString(to.Path.String())
	act, err := l.command(ctx, func() (*milter.Action, error) {
		if err := l.ms.Macros(milter.CodeRcpt, macros("{rcpt_addr}", path)...); err != nil {
			return nil, err
		}
		return l.ms.Rcpt(path, nil)
	})
	if err != nil {
		return sqmail.Verdict{}, err
	}
	return l.message(act)
}

// message is the verdict on an answer to what concerns the message.
func (l *link) message(act *milter.Action) (sqmail.Verdict, error) {
	if act.Code == milter.ActAccept {
		l.pass = true
	}
	return verdict(act)
}

// unasked is the verdict when the milter could not be asked.
func (l *link) unasked(ctx context.Context, err error) (sqmail.Verdict, error) {
	l.failed = fmt.Errorf("milter: %w", err)
	if !l.f.Pass || ctx.Err() != nil {
		return sqmail.Verdict{}, l.failed
	}
	l.pass = true
	if l.f.Log != nil {
		l.f.Log.WarnContext(ctx, "message passes unseen", "filter", l.f.Name(), "session", l.s.Peer.Session, "err", err)
	}
	return sqmail.Verdict{Rule: "not asked", Input: field.ASCII(err.Error(), 200)}, nil
}

// macros returns those of a list of names and values that have a value.
func macros(pairs ...string) (set []string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			set = append(set, pairs[i], cString(pairs[i+1]))
		}
	}
	return set
}

// cString makes s a string that goes in a packet: NUL would end it.
func cString(s string) string { return field.Printable(s, 4096) }

var errAnswer = errors.New("answer out of place")
