package smtpd

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
	"github.com/sqmail/sqmail/internal/serve"
)

// The defaults of Server's fields.
const (
	defaultMaxMessage   = 64 << 20
	defaultMaxRecipient = 1000
	defaultMaxHops      = 100
	defaultMaxBad       = 10
	defaultMaxAuth      = 3
	defaultAuthDelay    = 5 * time.Second
)

// settings is a Server's fields with the defaults filled in: what a session
// runs by. It is made once per Server, and not changed.
type settings struct {
	helloName, greeting string
	receiver            sqmail.Receiver
	policy              *stages
	ownPolicy           bool // the one of a Server without Policy

	tls         *tls.Config
	startTLS    Mode
	certificate func(*tls.ConnectionState) string

	verifier      auth.Verifier
	auth          Mode
	mechanisms    []string
	cleartextAuth bool

	lmtp, loose, traceFor bool
	style                 replyStyle
	hidden                extension
	bareLF                BareLF

	// In these 0 means no limit.
	maxMessage             int64
	maxRecipients, maxHops int
	maxTransactions        int
	maxBad, maxAuth        int
	limits                 string // as EHLO says them

	// What refuses a message that is too big.
	tooBig    sqmail.Reply
	errTooBig error

	xclientFrom []netip.Prefix

	authDelay, greetDelay time.Duration
	timeouts              serve.Timeouts
}

// settings returns s's settings; they are made at the first call.
func (s *Server) settings() *settings {
	s.once.Do(func() {
		greeting := "ESMTP"
		if s.LMTP {
			greeting = "LMTP"
		}
		s.made = &settings{
			helloName: s.HelloName, greeting: orDefault(s.Greeting, greeting),
			receiver: s.Receiver, policy: stagesOf(s.Policy), ownPolicy: s.Policy == nil,
			tls: s.TLSConfig, startTLS: s.StartTLS, certificate: s.Certificate,
			verifier: s.Verifier, auth: s.Authentication, mechanisms: mechanismsOf(s.Mechanisms),
			cleartextAuth: s.CleartextAuth,
			lmtp:          s.LMTP, loose: s.LooseSyntax, traceFor: s.TraceFor,
			style: replyStyle{classic: s.ClassicReplies}, hidden: hiddenOf(s.Hide), bareLF: s.BareLF,
			maxMessage:    limit(s.MaxMessageBytes, defaultMaxMessage),
			maxRecipients: limit(s.MaxRecipients, defaultMaxRecipient), maxTransactions: max(0, s.MaxTransactions),
			limits:  limitsOf(s),
			maxHops: limit(s.MaxHops, defaultMaxHops), maxBad: limit(s.MaxBadCommands, defaultMaxBad),
			maxAuth: limit(s.MaxAuthFailures, defaultMaxAuth), authDelay: limit(s.AuthFailureDelay, defaultAuthDelay),
			greetDelay: s.GreetDelay, xclientFrom: s.XCLIENTFrom,
			tooBig:   replyTooBig,
			timeouts: serve.Timeouts{Idle: s.IdleTimeout, Body: s.BodyTimeout, MinRate: s.MinRate, Write: s.WriteTimeout},
		}
		if s.TooBigText != "" {
			s.made.tooBig.Text += "; " + s.TooBigText
		}
		s.made.errTooBig = &sqmail.Error{Op: "body", Class: sqmail.Rejection, Reply: s.made.tooBig}
	})
	return s.made
}

// limitsOf is what EHLO says of limits that a client would not expect (RFC
// 9422).
func limitsOf(s *Server) (text string) {
	if s.MaxRecipients > 0 {
		text += " RCPTMAX=" + strconv.Itoa(s.MaxRecipients)
	}
	if s.MaxTransactions > 0 {
		text += " MAILMAX=" + strconv.Itoa(s.MaxTransactions)
	}
	return text
}

func orDefault[T comparable](value, def T) T {
	var zero T
	if value == zero {
		return def
	}
	return value
}

// limit is a limit's field with its default filled in: 0 means none.
func limit[T int | int64 | time.Duration](value, def T) T { return max(0, orDefault(value, def)) }

// stages are the methods of a Policy; nil are those that it does not have.
type stages struct {
	recipient   Policy
	session     SessionPolicy
	connect     ConnectPolicy
	hello       HelloPolicy
	auth        AuthPolicy
	reversePath ReversePathPolicy
	data        DataPolicy
	body        BodyPolicy
	end         EndPolicy
}

func stagesOf(p Policy) *stages {
	if p == nil {
		p = PolicyFunc(localOnly)
	}
	st := &stages{recipient: p}
	st.session, _ = p.(SessionPolicy)
	st.connect, _ = p.(ConnectPolicy)
	st.hello, _ = p.(HelloPolicy)
	st.reversePath, _ = p.(ReversePathPolicy)
	st.data, _ = p.(DataPolicy)
	st.body, _ = p.(BodyPolicy)
	st.auth, _ = p.(AuthPolicy)
	st.end, _ = p.(EndPolicy)
	return st
}

// localOnly is the Policy of a Server that has none: no open relay by accident.
func localOnly(_ context.Context, peer *sqmail.Peer, _ *sqmail.Envelope, _ *sqmail.Recipient) error {
	if peer.User != "" || isLocal(peer) {
		return nil
	}
	return &sqmail.Error{Op: "recipient", Class: sqmail.Rejection, Reply: replyNoRelay}
}

// isLocal reports whether the client is on this host for certain.
func isLocal(peer *sqmail.Peer) bool { return peer.Remote.Addr().IsLoopback() }

func mechanismsOf(names []string) []string {
	if names == nil {
		return []string{"LOGIN", "PLAIN"}
	}
	return upperAll(names)
}

func upperAll(names []string) []string {
	upper := make([]string, len(names))
	for i, name := range names {
		upper[i] = strings.ToUpper(name)
	}
	return upper
}

// extension is a set of EHLO keywords that can be hidden.
type extension uint16

const (
	ext8BitMIME extension = 1 << iota
	extEnhanced
	extChunking
	extUTF8
	extDSN
	extRequireTLS
	extLimits
)

// extensionKeywords is the order in which EHLO tells them.
var extensionKeywords = []struct {
	bit     extension
	keyword string
}{
	{ext8BitMIME, "8BITMIME"},
	{extEnhanced, "ENHANCEDSTATUSCODES"},
	{extChunking, "CHUNKING"},
	{extUTF8, "SMTPUTF8"},
	{extDSN, "DSN"},
	{extRequireTLS, "REQUIRETLS"},
	{extLimits, "LIMITS"},
}

func hiddenOf(keywords []string) (hidden extension) {
	for _, keyword := range keywords {
		for _, e := range extensionKeywords {
			if strings.EqualFold(keyword, e.keyword) {
				hidden |= e.bit
			}
		}
	}
	return hidden
}

// offers reports whether the session's state offers an extension.
func (s *session) offers(e extension) bool {
	switch {
	case s.set.hidden&e != 0:
		return false
	case e == extEnhanced:
		return !s.set.style.classic
	case e == extRequireTLS: // RFC 8689, 2
		return s.peer.TLS != nil
	case e == extLimits:
		return s.set.limits != ""
	}
	return true
}
