package filter

import (
	"github.com/sqmail/sqmail"
)

// Session is what the filters of a [Chain] know about one connection.
type Session struct {
	// Peer is the other end.
	Peer *sqmail.Peer

	// Envelope is the transaction's; nil outside one.
	Envelope *sqmail.Envelope

	// Vars are the variables that the connection rules set, such as SPF or
	// MAXRECIPIENTS; see control.md. A name that is absent is not set.
	Vars map[string]string

	// Relayed says that the connection rules make this a relay client.
	Relayed bool

	// CertRelayed makes this a relay client once it has shown a certificate
	// that the server verified: one that demands such from certain authorities,
	// not from those that anybody gets one of (UCSPITLS "?" and "@").
	CertRelayed bool

	// Recipients counts the RCPT commands of the transaction, the present one
	// and refused ones included.
	Recipients int

	// Unknown counts the recipients of the session that were refused because
	// they do not exist. A filter that refuses so adds to it.
	Unknown int

	paths   [2]unquotedPath // the last ones; see unquoted
	memo    []memo
	lasting []memo
	greeted bool
	dry     bool      // see DryRun
	rec     *recorder // the Policy's
	chain   *Chain
}

// RelayClient reports whether the session may send to any domain: because its
// user has authenticated, its certificate says so, or the connection rules do.
func (s *Session) RelayClient() bool {
	return s.Relayed || s.Peer.User != "" || s.CertRelayed && s.Peer.TLS != nil && len(s.Peer.TLS.VerifiedChains) > 0
}

// unquotedPath is a path with its Unquoted.
type unquotedPath struct {
	path sqmail.Path
	text string
}

// unquoted returns p.Unquoted(), which several filters want of the same two
// paths.
func (s *Session) unquoted(p sqmail.Path) string {
	if s == nil {
		return p.Unquoted()
	}
	for i := range s.paths {
		if known := &s.paths[i]; known.text != "" && known.path == p {
			return known.text
		}
	}
	s.paths[0], s.paths[1] = unquotedPath{p, p.Unquoted()}, s.paths[0]
	return s.paths[0].text
}

// memo is an answer that is kept.
type memo struct {
	key     any
	verdict sqmail.Verdict
	err     error
}

// Once returns what f returned when Once was first called with key in this
// transaction. A filter that decides at the first recipient, and says the same
// at all others, does its work once. Keys are compared with ==; a filter uses
// itself, or a type of its own.
func (s *Session) Once(key any, f func() (sqmail.Verdict, error)) (sqmail.Verdict, error) {
	return once(&s.memo, key, f)
}

// OnceInSession is Once for what does not change while the session lasts, such
// as what is known of the client's address.
func (s *Session) OnceInSession(key any, f func() (sqmail.Verdict, error)) (sqmail.Verdict, error) {
	if s.rec == nil {
		return once(&s.lasting, key, f)
	}
	return once(&s.lasting, key, func() (sqmail.Verdict, error) {
		s.rec.flush(s.Peer.Trace, false)
		defer func() { s.rec.flush(s.Peer.Trace, true) }()
		return f()
	})
}

// OnceInChain returns what f returned when it was first called with key in the
// life of the Chain: for what an [OutsideFilter] says of rules that do not
// change.
func (s *Session) OnceInChain(key any, f func() string) string {
	if s.chain == nil {
		return f()
	}
	text, known := s.chain.texts.Load(key)
	if !known {
		text, _ = s.chain.texts.LoadOrStore(key, f())
	}
	return text.(string)
}

// once looks among the few that there are: one for a filter.
func once(kept *[]memo, key any, f func() (sqmail.Verdict, error)) (sqmail.Verdict, error) {
	for i := range *kept {
		if m := &(*kept)[i]; m.key == key {
			return m.verdict, m.err
		}
	}
	verdict, err := f()
	*kept = append(*kept, memo{key, verdict, err})
	return verdict, err
}

// begin starts a transaction.
func (s *Session) begin(env *sqmail.Envelope) {
	s.Envelope = env
	s.Recipients = 0
	clear(s.memo)
	s.memo = s.memo[:0]
}
