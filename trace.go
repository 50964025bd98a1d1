package sqmail

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf16"
)

// Trace is the story of one transaction: who came, what was wanted, what was
// decided at each step and by which rule, and what others answered when they
// were asked. A server that has a log gives each session a Trace ([Peer].Trace)
// and writes it as one event when a transaction is over, or when a client is
// turned away before one. It holds what is needed to decide again under other
// rules; package filter does that.
//
// As JSON it is an object with the fields named here; as text, in a
// slog.TextHandler for instance, that object in one line.
//
// Its methods may be called on a nil Trace, which keeps nothing. They are for
// the goroutine of the session. A Trace is bounded: whatever a client does, it
// is no longer than 256 KiB as JSON, and mostly about one.
type Trace struct {
	// Time is when the transaction began, Took how long it lasted. A client
	// that was turned away before has had its time since it connected.
	Time time.Time     `json:"time,omitzero"`
	Took time.Duration `json:"took,omitempty"`

	// The client, as Peer tells it.
	Session   string         `json:"session,omitempty"`
	Listener  string         `json:"listener,omitempty"`
	Remote    netip.AddrPort `json:"remote,omitzero"`
	Local     netip.AddrPort `json:"local,omitzero"`
	Name      string         `json:"name,omitempty"`
	Hello     string         `json:"hello,omitempty"`
	Protocol  string         `json:"protocol,omitempty"`
	User      string         `json:"user,omitempty"`
	Mechanism string         `json:"mechanism,omitempty"`

	// TLS is the version of TLS, as crypto/tls names it; "": cleartext.
	// Verified says that the client has shown a certificate which was
	// verified, Emails are the e-mail addresses in it.
	TLS      string   `json:"tls,omitempty"`
	Verified bool     `json:"verified,omitempty"`
	Emails   []string `json:"emails,omitempty"`

	// Size and SMTPUTF8 are parameters of MAIL, Octets is how much of the
	// message was read.
	Size     int64 `json:"size,omitempty"`
	SMTPUTF8 bool  `json:"smtputf8,omitempty"`
	Octets   int64 `json:"octets,omitempty"`

	// Unknown is how many recipients of the session had been refused before
	// the transaction because they do not exist.
	Unknown int `json:"unknown,omitempty"`

	// Steps are what was decided, in order: "connect", "hello",
	// "reverse-path", "recipient" for each of them, "data", "body", and "end"
	// if the Receiver has refused. Left counts recipients, and verdicts on
	// them, for which there was no room.
	Steps []Step `json:"steps"`
	Left  int    `json:"left,omitempty"`

	// Answers are those of others: of the DNS, of daemons, of programs.
	// AnswersLeft counts those for which there was no room.
	Answers     []Answer `json:"answers,omitempty"`
	AnswersLeft int      `json:"answersLeft,omitempty"`

	// Outcome is what became of the transaction, Reply what the client heard
	// last of it, Err the cause of a refusal that is not a verdict's, and ID
	// the message's at the Receiver.
	Outcome Ending `json:"outcome,omitempty"`
	Reply   Reply  `json:"reply,omitzero"`
	Err     string `json:"err,omitempty"`
	ID      string `json:"id,omitempty"`

	open    Step // the present one
	began   time.Time
	lasting []Answer // those that hold for the session
	octets  int      // of the recipients' steps
	step    int      // of the verdicts of the present step
	answers int      // octets of Answers and lasting
}

// Ending is what became of a transaction.
type Ending string

// The endings. EndedLeft is the client's doing: it broke off.
const (
	EndedAccepted Ending = "accepted"
	EndedRefused  Ending = "refused"
	EndedDropped  Ending = "dropped"
	EndedLeft     Ending = "left"
)

// Ended returns the Trace as it is to be logged: a copy with the facts about
// peer and env, which may be nil, that does not change any more.
func (t *Trace) Ended(peer *Peer, env *Envelope) *Trace {
	if t == nil {
		return nil
	}
	c := *t
	c.Steps, c.Answers = slices.Clone(t.Steps), slices.Concat(t.lasting, t.Answers)
	c.open, c.lasting, c.began, c.octets, c.step, c.answers = Step{}, nil, time.Time{}, 0, 0, 0
	c.Took = time.Since(t.Time)
	c.know(peer)
	if env != nil {
		c.Size, c.SMTPUTF8 = env.Size, env.SMTPUTF8
	}
	c.Err, c.ID = clip(c.Err, traceText), clip(c.ID, traceText)
	return &c
}

// know enters the facts about a client.
func (t *Trace) know(p *Peer) {
	t.Session = p.Session
	t.Listener, t.Remote, t.Local, t.Protocol, t.Mechanism = p.Listener, p.Remote, p.Local, p.Protocol, p.Mechanism
	t.Name, t.Hello, t.User = clip(p.Name, traceText), clip(p.Hello, 2*traceText), clip(p.User, traceText)
	if p.TLS == nil {
		return
	}
	t.TLS = tls.VersionName(p.TLS.Version)
	if t.Verified = len(p.TLS.VerifiedChains) > 0; t.Verified {
		emails := p.TLS.VerifiedChains[0][0].EmailAddresses
		for _, e := range emails[:min(len(emails), 8)] {
			t.Emails = append(t.Emails, clip(e, traceText))
		}
	}
}

// Peer returns the client that the Trace tells of. Its encryption has a
// certificate, if there was one that was verified, of which nothing but the
// e-mail addresses is known. That of a nil Trace is nobody: the zero Peer.
func (t *Trace) Peer() *Peer {
	if t == nil {
		return new(Peer)
	}
	p := &Peer{
		Session: t.Session, Listener: t.Listener, Remote: t.Remote, Local: t.Local, Protocol: t.Protocol,
		Name: t.Name, Hello: t.Hello, User: t.User, Mechanism: t.Mechanism,
	}
	if t.TLS == "" {
		return p
	}
	p.TLS = &tls.ConnectionState{HandshakeComplete: true}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		if tls.VersionName(version) == t.TLS {
			p.TLS.Version = version
		}
	}
	if t.Verified {
		cert := &x509.Certificate{EmailAddresses: t.Emails}
		p.TLS.PeerCertificates, p.TLS.VerifiedChains = []*x509.Certificate{cert}, [][]*x509.Certificate{{cert}}
	}
	return p
}

// MarshalJSON returns the object, in printable ASCII: what clients have chosen
// cannot upset whoever looks at a log.
func (t *Trace) MarshalJSON() ([]byte, error) {
	type plain Trace
	text, err := json.Marshal((*plain)(t))
	if err != nil || !slices.ContainsFunc(text, func(c byte) bool { return c >= 0x7f }) {
		return text, err
	}
	ascii := make([]byte, 0, len(text)+64)
	for _, r := range string(text) {
		switch {
		case r < 0x7f:
			ascii = append(ascii, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			ascii = fmt.Appendf(ascii, `\u%04x\u%04x`, high, low)
		default:
			ascii = fmt.Appendf(ascii, `\u%04x`, r)
		}
	}
	return ascii, nil
}

// String returns what MarshalJSON does.
func (t *Trace) String() string {
	text, err := t.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// MarshalText returns what MarshalJSON does.
func (t *Trace) MarshalText() ([]byte, error) { return t.MarshalJSON() }
