package gosmtp

import (
	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail/smtpd"
)

// NewServer returns a server that runs a backend, with smtpd's defaults.
// SMTPUTF8, DSN and REQUIRETLS are hidden, as a backend may not know what they
// ask for; for one that does, change Hide. The server's fields may be changed
// before it serves, other than Policy and Receiver.
func NewServer(b smtp.Backend) *smtpd.Server { return From(smtp.NewServer(b)) }

// From returns a server that runs the backend of s with the settings of s. It
// does not use s itself, nor Network, MaxLineLength, Debug, ErrorLog and the
// extensions that smtpd does not have; set Log for events. ReadTimeout bounds
// the wait for a command, and pauses within a message. What is 0 in s is
// smtpd's default. The server's fields may be changed before it serves, other
// than Policy and Receiver.
func From(s *smtp.Server) *smtpd.Server {
	a := &Adapter{settings: s}
	return &smtpd.Server{
		Addr: s.Addr, HelloName: s.Domain, TLSConfig: s.TLSConfig, LMTP: s.LMTP,
		Policy: a, Receiver: a, CleartextAuth: s.AllowInsecureAuth,
		MaxRecipients: max(0, s.MaxRecipients), MaxMessageBytes: max(0, s.MaxMessageBytes),
		IdleTimeout: max(0, s.ReadTimeout), BodyTimeout: max(0, s.ReadTimeout), WriteTimeout: max(0, s.WriteTimeout),
		Hide: hidden(s),
	}
}

// hidden lists the extensions that s does not offer and smtpd would.
func hidden(s *smtp.Server) (keywords []string) {
	for _, e := range []struct {
		keyword string
		offered bool
	}{
		{"SMTPUTF8", s.EnableSMTPUTF8},
		{"DSN", s.EnableDSN},
		{"REQUIRETLS", s.EnableREQUIRETLS},
	} {
		if !e.offered {
			keywords = append(keywords, e.keyword)
		}
	}
	return keywords
}

// likeness returns a Server of go-smtp with the settings of s, and a backend
// of ours.
func likeness(s *smtp.Server, b smtp.Backend) *smtp.Server {
	c := smtp.NewServer(b)
	c.Network, c.Addr, c.TLSConfig, c.LMTP, c.Domain = s.Network, s.Addr, s.TLSConfig, s.LMTP, s.Domain
	c.MaxRecipients, c.MaxMessageBytes, c.MaxLineLength = s.MaxRecipients, s.MaxMessageBytes, s.MaxLineLength
	c.AllowInsecureAuth, c.ErrorLog = s.AllowInsecureAuth, s.ErrorLog
	c.EnableSMTPUTF8, c.EnableREQUIRETLS, c.EnableDSN = s.EnableSMTPUTF8, s.EnableREQUIRETLS, s.EnableDSN
	return c
}
