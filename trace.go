package sqmail

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
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

// Step is what came of one stage, or of one recipient.
type Step struct {
	Stage string `json:"stage"`

	// Input is what was looked at: an address, a hello name, a path.
	Input string `json:"input,omitempty"`

	// Verdicts in the order in which they were given. A Trace has those that
	// rest on a rule or do something; what nobody had an opinion on is not
	// told.
	Verdicts []Verdict `json:"verdicts,omitempty"`

	// Reply is what the client hears; 250 goes on.
	Reply Reply `json:"reply"`

	// Took is the time that the step took.
	Took time.Duration `json:"took,omitempty"`
}

// Refused reports whether the step is a refusal.
func (s *Step) Refused() bool { return s.Reply.Class() != Accepted }

// Decided returns the verdict that refused, or else the last one that rests on
// a rule or does something; the zero Verdict if there is none.
func (s *Step) Decided() Verdict {
	for _, v := range s.Verdicts {
		if v.Action >= ActionDefer {
			return v
		}
	}
	for _, v := range slices.Backward(s.Verdicts) {
		if v.Action != ActionPass || v.Rule != "" {
			return v
		}
	}
	return Verdict{}
}

// Answer is what somebody else said to a question: to one for the DNS, "MX
// example.org", in Data, or to a filter that asks a daemon, in Verdict.
type Answer struct {
	Question string   `json:"question"`
	Data     []string `json:"data,omitempty"`
	Verdict  *Verdict `json:"verdict,omitempty"`

	// Err says why there is no answer: "not found", or else a temporary
	// error.
	Err string `json:"err,omitempty"`
}

// The bounds of a Trace, in octets but for the first two.
const (
	traceRecipients = 100
	traceVerdicts   = 16      // of a step
	traceStep       = 4 << 10 // of its verdicts
	traceText       = 256
	traceRoom       = 24 << 10 // of the recipients' steps
	traceAnswer     = 2 << 10
	traceAnswers    = 16 << 10
)

// Begin begins a step. "connect" begins the story anew, "hello" what follows it,
// and "reverse-path" the transaction.
func (t *Trace) Begin(stage, input string) {
	if t == nil {
		return
	}
	now := time.Now()
	switch stage {
	case "connect":
		*t = Trace{Time: now}
	case "hello":
		t.forget("connect")
		t.Time = now
	case "reverse-path":
		t.forget("connect", "hello")
		t.Time = now
	}
	t.open, t.began, t.step = Step{Stage: stage, Input: clip(input, 4*traceText)}, now, 0
}

// forget drops all but the steps of some stages.
func (t *Trace) forget(stages ...string) {
	var kept []Step // not in place: who logs may still hold the old ones
	for _, s := range t.Steps {
		if slices.Contains(stages, s.Stage) {
			kept = append(kept, s)
		}
	}
	*t = Trace{Steps: kept, lasting: t.lasting}
	for _, a := range t.lasting {
		t.answers += a.size()
	}
}

// Add adds a verdict to the present step.
func (t *Trace) Add(v Verdict) {
	if t == nil {
		return
	}
	if v.Action < ActionDefer && (len(t.open.Verdicts) >= traceVerdicts || t.step > traceStep) {
		t.Left++
		return
	}
	v.Rule, v.Input, v.File = clip(v.Rule, traceText), clip(v.Input, traceText), clip(v.File, traceText)
	v.Filter, v.Header, v.Reply.Text = clip(v.Filter, traceText), clip(v.Header, traceText), clip(v.Reply.Text, traceText)
	t.open.Verdicts = append(t.open.Verdicts, v)
	t.step += sizeOf(&v)
}

// sizeOf is about how long a verdict is.
func sizeOf(v *Verdict) int {
	return 128 + len(v.Rule) + len(v.Input) + len(v.File) + len(v.Filter) + len(v.Header) + len(v.Reply.Text)
}

// Present returns the step that was begun last.
func (t *Trace) Present() Step {
	if t == nil {
		return Step{}
	}
	return t.open
}

// End ends the present step with what the client hears; the zero Reply stands
// for 250. A step that is not begun is not ended.
func (t *Trace) End(r Reply) {
	if t == nil || t.open.Stage == "" || t.began.IsZero() {
		return
	}
	if r.Code == 0 {
		r.Code = 250
	}
	r.Text = clip(r.Text, traceText)
	t.open.Reply, t.open.Took, t.began = r, time.Since(t.began), time.Time{}
	if t.open.Stage == "recipient" && !t.room() {
		return
	}
	t.Steps = append(t.Steps, t.open)
}

// room makes sure that recipients leave room for what follows them.
func (t *Trace) room() bool {
	size := 128 + len(t.open.Input) + len(t.open.Reply.Text) + t.step
	n := 0
	for _, s := range t.Steps {
		if s.Stage == "recipient" {
			n++
		}
	}
	if n >= traceRecipients || t.octets+size > traceRoom {
		t.Left++
		return false
	}
	t.octets += size
	return true
}

// Answered keeps an answer: for the transaction, or, if it is lasting, for
// all that follow in the session too. Of two answers to a question the first
// counts.
func (t *Trace) Answered(a Answer, lasting bool) {
	if t == nil {
		return
	}
	known := func(b Answer) bool { return b.Question == a.Question }
	if slices.ContainsFunc(t.Answers, known) || slices.ContainsFunc(t.lasting, known) {
		return
	}
	a.Err = clip(a.Err, traceText)
	size := a.size()
	if size > traceAnswer || t.answers+size > traceAnswers {
		t.AnswersLeft++
		return
	}
	t.answers += size
	if lasting {
		t.lasting = append(t.lasting, a)
	} else {
		t.Answers = append(t.Answers, a)
	}
}

func (a *Answer) size() int {
	n := 32 + len(a.Question) + len(a.Err)
	for _, d := range a.Data {
		n += 4 + len(d)
	}
	if a.Verdict != nil {
		n += sizeOf(a.Verdict)
	}
	return n
}

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
// e-mail addresses is known.
func (t *Trace) Peer() *Peer {
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

// clip returns the beginning of s. It is not shorter than it must be, and of
// whole characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.Clone(s[:most])
}
